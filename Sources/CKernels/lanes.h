// Vectors of sixteen floats or eight doubles, in the compiler's portable vector types: one register with AVX-512, two
// with AVX2, four with SSE2 or NEON. Not part of the module: the kernels' public face is include/CKernels.h.
//
// Helpers take vectors by pointer: passing them by value between functions of different target features has no ABI.
// All are inlined, so the pointers vanish.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "CKernels.h"

// A product feeding a sum may be fused: it only gains accuracy. Nothing is reassociated: NaN and infinity keep their meaning.
#pragma STDC FP_CONTRACT ON

// One clone for each level of the processor, chosen when the program is loaded. Elsewhere the one baseline is all there is.
#if defined(__x86_64__) && defined(__linux__)
#define CK_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), min_vector_width(512)))
#else
#define CK_KERNEL
#endif
#define CK_INLINE static inline __attribute__((always_inline))

// For plain loops over elements that the compiler is to vectorise, also where output and input are the same array.
#define CK_VECTOR_LOOP _Pragma("clang loop vectorize(assume_safety) vectorize_width(16) interleave_count(2)")

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef double f64x8 __attribute__((vector_size(64)));
typedef double f64x4 __attribute__((vector_size(32)));
typedef double f64x2 __attribute__((vector_size(16)));
typedef int64_t i64x8 __attribute__((vector_size(64)));
typedef uint64_t u64x8 __attribute__((vector_size(64)));

// The same without alignment, for memory.
typedef float f32x16_memory __attribute__((vector_size(64), aligned(4), may_alias));
typedef float f32x8_memory __attribute__((vector_size(32), aligned(4), may_alias));
typedef double f64x8_memory __attribute__((vector_size(64), aligned(8), may_alias));
typedef uint64_t u64x8_memory __attribute__((vector_size(64), aligned(8), may_alias));
#define CK_F32X16(p) (*(f32x16_memory *)(p))
#define CK_F32X16_IN(p) (*(const f32x16_memory *)(p))
#define CK_F32X8_IN(p) (*(const f32x8_memory *)(p))

#define CK_SPLAT(x) ((f32x16){} + (x))
#define CK_SPLAT64(x) ((f64x8){} + (x))
static const i32x16 ck_lane_index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// mask ? a : b by lane, mask all ones or all zeros as comparisons give it.
CK_INLINE void ck_select(f32x16 *out, const i32x16 *mask, const f32x16 *a, const f32x16 *b) {
  *out = (f32x16)((*mask & (i32x16)*a) | (~*mask & (i32x16)*b));
}

// Eight floats, widened.
CK_INLINE void ck_widen(f64x8 *out, const float *x) { *out = __builtin_convertvector(CK_F32X8_IN(x), f64x8); }

CK_INLINE double ck_sum_of_lanes64(const f64x8 *v) {
  const f64x4 four = __builtin_shufflevector(*v, *v, 0, 1, 2, 3) + __builtin_shufflevector(*v, *v, 4, 5, 6, 7);
  const f64x2 two = __builtin_shufflevector(four, four, 0, 1) + __builtin_shufflevector(four, four, 2, 3);
  return two[0] + two[1];
}

// The lanes' sum in double.
CK_INLINE double ck_sum_of_lanes(const f32x16 *v) {
  const f64x8 low = __builtin_convertvector(__builtin_shufflevector(*v, *v, 0, 1, 2, 3, 4, 5, 6, 7), f64x8);
  const f64x8 high = __builtin_convertvector(__builtin_shufflevector(*v, *v, 8, 9, 10, 11, 12, 13, 14, 15), f64x8);
  const f64x8 sum = low + high;
  return ck_sum_of_lanes64(&sum);
}

CK_INLINE float ck_max_of_lanes(const f32x16 *v) {
  const f32x8 a = __builtin_elementwise_max(__builtin_shufflevector(*v, *v, 0, 1, 2, 3, 4, 5, 6, 7),
                                            __builtin_shufflevector(*v, *v, 8, 9, 10, 11, 12, 13, 14, 15));
  const f32x4 b = __builtin_elementwise_max(__builtin_shufflevector(a, a, 0, 1, 2, 3), __builtin_shufflevector(a, a, 4, 5, 6, 7));
  const f32x4 c = __builtin_elementwise_max(b, __builtin_shufflevector(b, b, 2, 3, 0, 1));
  return c[0] > c[1] ? c[0] : c[1];
}

// x := exp(x) for x <= 0, to 1 ulp; NaN stays NaN. Below -64 (1.6e-28) it is 0: nothing that is added to its row's largest
// notices, and what is made of it stays clear of subnormal numbers, which slow down the matrix products that follow by
// two orders of magnitude. Argument reduction and polynomial: Moshier, Cephes `expf`.
CK_INLINE void ck_exp_of_nonpositive(f32x16 *x) {
  const f32x16 lowest = CK_SPLAT(-64.0f);
  const i32x16 vanishes = *x < lowest;
  // 1.5 * 2^23: adding it rounds to the nearest integer, which then stands in the low bits.
  const f32x16 shifted = *x * 1.44269504f + 12582912.0f;
  const f32x16 n = shifted - 12582912.0f;
  f32x16 r = *x - n * 0.693359375f;  // exact: the constant has nine bits
  r = r + n * 2.12194440e-4f;
  f32x16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const i32x16 power = ((i32x16)shifted - (i32x16)CK_SPLAT(12582912.0f) + 127) << 23;
  *x = (f32x16)((i32x16)(p * (f32x16)power) & ~vanishes);
}

// A vector of which only the first `count` floats exist in memory; the others are `fill`.
CK_INLINE void ck_load_part(f32x16 *v, const float *x, size_t count, float fill) {
  *v = CK_SPLAT(fill);
  memcpy(v, x, count * sizeof(float));
}

CK_INLINE void ck_store_part(float *x, size_t count, const f32x16 *v) { memcpy(x, v, count * sizeof(float)); }

// y := f(x) by element. `f` is a function's name, which is inlined.
CK_INLINE void ck_map(size_t n, const float *x, float *y, void (*f)(f32x16 *)) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    f32x16 a = CK_F32X16_IN(x + i), b = CK_F32X16_IN(x + i + 16);
    f(&a);
    f(&b);
    CK_F32X16(y + i) = a;
    CK_F32X16(y + i + 16) = b;
  }
  while (i < n) {
    const size_t part = n - i < 16 ? n - i : 16;
    f32x16 a;
    ck_load_part(&a, x + i, part, 0);
    f(&a);
    ck_store_part(y + i, part, &a);
    i += part;
  }
}

// dx := dy f'(x) by element: `f_backward`, inlined as well, turns dy into it.
CK_INLINE void ck_map_backward(size_t n, const float *x, const float *dy, float *dx, void (*f_backward)(const f32x16 *, f32x16 *)) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const f32x16 a = CK_F32X16_IN(x + i);
    f32x16 g = CK_F32X16_IN(dy + i);
    f_backward(&a, &g);
    CK_F32X16(dx + i) = g;
  }
  if (i < n) {
    f32x16 a, g;
    ck_load_part(&a, x + i, n - i, 0);
    ck_load_part(&g, dy + i, n - i, 0);
    f_backward(&a, &g);
    ck_store_part(dx + i, n - i, &g);
  }
}
