// Matrix products by oneDNN's public C interface, versions 2 and 3, for Swift. Nothing else belongs here.
#if __has_include(<dnnl.h>)
#include <dlfcn.h>
#include <dnnl.h>
#else
#error "oneDNN is missing: apt-get install libdnnl-dev"
#endif

// c[m,n] = a[m,k] b[k,n]: what is kept of one shape. Of one thread at a time.
typedef struct {
  dnnl_primitive_t primitive;
  dnnl_memory_t a, b, c, scratch;
} one_dnn_product;

// Whether a call stays on the thread that makes it. OpenMP's number of threads is each calling thread's own, so this comes before every call.
static inline int one_dnn_hold_to_one_thread(void) {
  static void (*set_threads)(int) = 0;
  const unsigned runtime = dnnl_version()->cpu_runtime;
  if (runtime == DNNL_RUNTIME_SEQ) return 1;
  if (runtime != DNNL_RUNTIME_OMP) return 0;
  if (!set_threads) set_threads = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (!set_threads) return 0;
  set_threads(1);
  return 1;
}

// Whether the processor itself has products of bfloat16: with AVX-512 alone the library converts, and gains nothing.
static inline int one_dnn_processor_has_bf16(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return 0;
#endif
}

static inline dnnl_status_t one_dnn_make_engine(dnnl_engine_t *engine, dnnl_stream_t *stream) {
  dnnl_status_t status = dnnl_engine_create(engine, dnnl_cpu, 0);
  return status != dnnl_success ? status : dnnl_stream_create(stream, *engine, dnnl_stream_default_flags);
}

// A row or, transposed, a column of b starts ldb elements after the one before it. c is of floats; a and b of `type`.
// `implementation` is told the name of what the library runs: static memory of its own.
static inline dnnl_status_t one_dnn_make_product(
    one_dnn_product *product, dnnl_engine_t engine, int is_bf16, int64_t m, int64_t n, int64_t k, int64_t lda, int transposed, int64_t ldb, int64_t ldc,
    const char **implementation) {
  const dnnl_data_type_t type = is_bf16 ? dnnl_bf16 : dnnl_f32;
  const dnnl_dims_t a_dims = {m, k}, b_dims = {k, n}, c_dims = {m, n};
  const dnnl_dims_t a_strides = {lda, 1}, b_strides = {transposed ? 1 : ldb, transposed ? ldb : 1}, c_strides = {ldc, 1};
  dnnl_primitive_attr_t attributes;
  dnnl_primitive_desc_t description = 0;
  dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
  if (status != dnnl_success) return status;
  status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
#if DNNL_VERSION_MAJOR >= 3
  dnnl_memory_desc_t a = 0, b = 0, c = 0;
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&a, 2, a_dims, type, a_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&b, 2, b_dims, type, b_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_create_with_strides(&c, 2, c_dims, dnnl_f32, c_strides);
  if (status == dnnl_success) status = dnnl_matmul_primitive_desc_create(&description, engine, a, b, 0, c, attributes);
  const_dnnl_memory_desc_t a_md = a, b_md = b, c_md = c;
#else
  dnnl_memory_desc_t a, b, c;
  dnnl_matmul_desc_t operation;
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&a, 2, a_dims, type, a_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&b, 2, b_dims, type, b_strides);
  if (status == dnnl_success) status = dnnl_memory_desc_init_by_strides(&c, 2, c_dims, dnnl_f32, c_strides);
  if (status == dnnl_success) status = dnnl_matmul_desc_init(&operation, &a, &b, 0, &c);
  if (status == dnnl_success) status = dnnl_primitive_desc_create(&description, &operation, attributes, engine, 0);
  const dnnl_memory_desc_t *a_md = &a, *b_md = &b, *c_md = &c;
#endif
  if (status == dnnl_success) status = dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, (void *)implementation);
  if (status == dnnl_success) status = dnnl_primitive_create(&product->primitive, description);
  if (status == dnnl_success) status = dnnl_memory_create(&product->a, a_md, engine, DNNL_MEMORY_NONE);
  if (status == dnnl_success) status = dnnl_memory_create(&product->b, b_md, engine, DNNL_MEMORY_NONE);
  if (status == dnnl_success) status = dnnl_memory_create(&product->c, c_md, engine, DNNL_MEMORY_NONE);
  if (status == dnnl_success)
    status = dnnl_memory_create(
        &product->scratch, dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0), engine, DNNL_MEMORY_ALLOCATE);
#if DNNL_VERSION_MAJOR >= 3
  if (a) dnnl_memory_desc_destroy(a);
  if (b) dnnl_memory_desc_destroy(b);
  if (c) dnnl_memory_desc_destroy(c);
#endif
  if (description) dnnl_primitive_desc_destroy(description);
  dnnl_primitive_attr_destroy(attributes);
  return status;
}

static inline dnnl_status_t one_dnn_run_product(one_dnn_product product, dnnl_stream_t stream, const void *a, const void *b, float *c) {
  dnnl_status_t status = dnnl_memory_set_data_handle(product.a, (void *)a);
  if (status == dnnl_success) status = dnnl_memory_set_data_handle(product.b, (void *)b);
  if (status == dnnl_success) status = dnnl_memory_set_data_handle(product.c, c);
  const dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}, {DNNL_ARG_SCRATCHPAD, product.scratch}};
  if (status == dnnl_success) status = dnnl_primitive_execute(product.primitive, stream, 4, arguments);
  return status == dnnl_success ? dnnl_stream_wait(stream) : status;
}

static inline void one_dnn_free_product(one_dnn_product product) {
  dnnl_memory_destroy(product.a);
  dnnl_memory_destroy(product.b);
  dnnl_memory_destroy(product.c);
  dnnl_memory_destroy(product.scratch);
  dnnl_primitive_destroy(product.primitive);
}
