// Row kernels: the vectorised loops that Swift's compiler leaves scalar.
//
// Shapes (the legend of docs/architecture.md):
//   R rows (the packed positions of all records of a microbatch), d width, p output width,
//   V vocabulary, T positions of one record, H heads, D = d/H width of a head.
// All matrices are row-major. `ld*` is the distance in floats between rows. No kernel allocates, none keeps
// state, none checks its arguments: the typed face in DistEngine/Kernels does that, once per call.
// "writes" overwrites its output, "adds" accumulates into it.
// Sizes of 0 are allowed everywhere and do nothing (sums are 0). Nothing need be aligned.
// A row whose weight or scale is 0 counts as a row of zeros, whatever it holds (0 * NaN would be NaN): this is how an
// example that isn't finite is left out. (The one exception is ck_cross_entropy, which is where such a row is noticed.)
// An output overlaps no input unless it is said that it may be the very same array.
#pragma once
#include <stddef.h>
#include <stdint.h>

// ---- Layer normalisation (biased variance, as in PyTorch and GPT-2) -----------------------------------------
// normalized[R,d] = (x - mean) * rstd, rstd[R] = 1/sqrt(var + epsilon). Writes both.
// mean and variance are accumulated in at least two passes or in double: no E[x²]-E[x]² cancellation.
void ck_layer_norm(size_t rows, size_t d, const float *x, size_t ldx, float epsilon,
                   float *normalized, float *rstd);
// y[R,d] = row_scale[r] * (gain[d] * normalized[R,d] + bias[d]); row_scale may be NULL (1), and bias (0). Writes y.
void ck_scale_shift(size_t rows, size_t d, const float *normalized, const float *gain, const float *bias,
                    const float *row_scale, float *y);
// residual_out[R,d] = residual_in[R,d] + rstd * (h - mean(h) - normalized * mean(h * normalized)), h = dy * gain.
// residual_in may be NULL (0). residual_out may be residual_in or dy (in place). Writes residual_out. Means over d accumulate in double or in >= 16 lanes.
void ck_layer_norm_backward(size_t rows, size_t d, const float *dy, const float *normalized, const float *rstd,
                            const float *gain, const float *residual_in, float *residual_out);
// dgain[d] += sum_r w_r * dy[r,:] * normalized[r,:]; dbias[d] += sum_r w_r * dy[r,:]. Weights may be NULL (1);
// gain and bias have weights of their own because per-layer clipping groups them apart. Rows of dy and normalized are ld apart,
// so that a thread can take some of the columns. Adds.
void ck_layer_norm_gradient(size_t rows, size_t d, const float *dy, const float *normalized, size_t ld,
                            const float *gain_weights, const float *bias_weights, float *dgain, float *dbias);

// ---- Root mean square normalisation (Zhang & Sennrich 2019), as in Llama --------------------------------------
// normalized[R,d] = x * rstd, rstd[R] = 1/sqrt(mean(x²) + epsilon), the mean in double. Writes both.
void ck_rms_norm(size_t rows, size_t d, const float *x, size_t ldx, float epsilon, float *normalized, float *rstd);
// residual_out[R,d] = residual_in[R,d] + rstd * (h - normalized * mean(h * normalized)), h = dy * gain.
// residual_out may be residual_in (in place). Writes residual_out. The mean over d accumulates in double.
void ck_rms_norm_backward(size_t rows, size_t d, const float *dy, const float *normalized, const float *rstd,
                          const float *gain, const float *residual_in, float *residual_out);

// ---- Rotary positions (Su et al. 2021) in the layout of Llama: the halves of a head are the pairs' parts --------
// x[R, H*D] in place, D even: of each head (a, b) = (x[i], x[i + D/2]) -> (a cos - b s, b cos + a s), s = direction * sin, for i < D/2.
// table[T, D]: a position's D/2 cosines, then its D/2 sines. direction 1 rotates, -1 is the transpose: the gradient's way back.
void ck_rotate(size_t rows, size_t heads, size_t head_width, const int32_t *positions, const float *table, float direction,
               float *x, size_t ldx);

// ---- Elementwise and rows -----------------------------------------------------------------------------------
// y[r,:] = bias (writes), y[r,:] += bias (adds).
void ck_fill_rows(size_t rows, size_t p, const float *bias, float *y, size_t ldy);
void ck_add_rows(size_t rows, size_t p, const float *bias, float *y, size_t ldy);
// y[r,:] = w_r * x[r,:]. Writes; y may be x.
void ck_scale_rows(size_t rows, size_t p, const float *weights, const float *x, size_t ldx, float *y, size_t ldy);
// sums[p] += sum_r w_r * g[r,:]; weights may be NULL (1). Adds.
void ck_column_sums(size_t rows, size_t p, const float *g, size_t ldg, const float *weights, float *sums);
// gelu_new (tanh approximation, GPT-2): y = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Writes y; y may be x.
// Relative error of tanh/exp <= a few ulp; 0 and x at large -x and x. NaN stays NaN; -infinity becomes it, as in PyTorch.
void ck_gelu(size_t n, const float *x, float *y);
// dx[n] = dy[n] * gelu'(x[n]). Writes dx; dx may be x or dy.
void ck_gelu_backward(size_t n, const float *x, const float *dy, float *dx);
// gelu (BERT): y = x Phi(x), Phi the standard normal distribution function. Writes y; y may be x. The relative error of Phi is below 1e-6
// down to where it is made 0 (x < -11.3). NaN stays NaN; -infinity becomes it, as in PyTorch.
void ck_gelu_erf(size_t n, const float *x, float *y);
// dx[n] = dy[n] * (Phi(x[n]) + x[n] phi(x[n])). Writes dx; dx may be x or dy.
void ck_gelu_erf_backward(size_t n, const float *x, const float *dy, float *dx);
// y = tanh(x). Writes y; y may be x. For a few rows: one element at a time, by the library's function.
void ck_tanh(size_t n, const float *x, float *y);
// dx[n] = dy[n] * (1 - y[n]^2), y the result. Writes dx; dx may be y or dy.
void ck_tanh_backward(size_t n, const float *y, const float *dy, float *dx);
// y = max(x, 0); NaN stays NaN. Writes y; y may be x.
void ck_relu(size_t n, const float *x, float *y);
// dx[n] = y[n] > 0 ? dy[n] : 0, y the result; dy[n] where y is NaN. Writes dx; dx may be y or dy.
void ck_relu_backward(size_t n, const float *y, const float *dy, float *dx);
// SwiGLU (Shazeer 2020): y = silu(gate) * up, silu(x) = x / (1 + exp(-x)). Writes y; y may be gate or up.
void ck_silu_gate(size_t n, const float *gate, const float *up, float *y);
// In place: gate and up become their own gradients, dy * up * silu'(gate) and dy * silu(gate). Writes both.
void ck_silu_gate_backward(size_t n, const float *dy, float *gate, float *up);

// ---- Sums of squares and products, accumulated in double ----------------------------------------------------
double ck_squared_norm(size_t n, const float *x);
double ck_dot(size_t n, const float *x, const float *y);
// <A, G> of two symmetric n x n matrices of which only the lower triangles are read:
// 2 * sum_{s<t} A[t,s] G[t,s] + sum_t A[t,t] G[t,t].
double ck_symmetric_inner_product(size_t n, const float *a, size_t lda, const float *g, size_t ldg);
// y[n] += alpha * x[n]. Adds.
void ck_add_scaled(size_t n, float alpha, const float *x, float *y);

// ---- Products with a short side: of sixteen at most ---------------------------------------------------------------
// In all of them element (i, j) of a matrix M with strides is M[i*M_row + j*M_column]. With beta 0, c is overwritten whatever it held (also NaN).
#define CK_SHORT_SIDE 16
// c[R,n] = alpha * a[R,k] * b[k,n] + beta * c, n <= 16; a's rows are lda apart. Sums of 256 terms, added up.
void ck_few_columns(size_t rows, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t b_row, size_t b_column,
                    float beta, float *c, size_t c_row, size_t c_column);
// c[m,n] = alpha * sum_r a[r,:] b[r,:]^T + beta * c, that is aᵀ b, of a[R,m] and b[R,n], m <= 16; b's rows are ldb apart. Sums of 256 terms, added up.
void ck_few_rows(size_t m, size_t n, size_t rows, float alpha, const float *a, size_t a_row, size_t a_column, const float *b, size_t ldb,
                 float beta, float *c, size_t c_row, size_t c_column);

// ---- Embeddings ---------------------------------------------------------------------------------------------
// x[r,:] = token_table[tokens[r],:] + position_table[positions[r],:]. The table of positions may be NULL (0). Writes.
void ck_embed(size_t rows, size_t d, const int32_t *tokens, const int32_t *positions,
              const float *token_table, const float *position_table, float *x);
// x[r,:] += table[index[r],:]. Adds.
void ck_add_gathered_rows(size_t rows, size_t d, const int32_t *index, const float *table, float *x);
// table[index[r] - first_row,:] += w_r * g[r,:] where that is one of the table's rows; weights may be NULL (1). Rows of g and of table
// are ld apart, so that a thread can take some of the columns. Adds.
void ck_scatter_add(size_t rows, size_t d, const int32_t *index, const float *weights, const float *g, size_t first_row,
                    size_t table_rows, float *table, size_t ld);

// ---- Attention, one head, one block of queries ------------------------------------------------------------------
// Query m (0 <= m < rows) of the block sees keys 0 ... first + m of the `columns` in the block's score matrix, at most all of them:
// attention without a mask has first >= columns.
// Masked entries are never used, they may hold NaN. A NaN in a visible one makes its row NaN, and no other.
// Probabilities below exp(-64) = 1.6e-28 of the row's largest are 0 (subnormal numbers would slow down the products that follow).
// In place on scores[rows, columns]: s -> softmax(scale * s) over the visible keys, 0 where masked.
// log_sum_exp[m*ldl] = log sum exp(scale * s) over the visible keys. Writes both.
void ck_causal_softmax(size_t rows, size_t columns, size_t first, float scale, float *scores, size_t lds,
                       float *log_sum_exp, size_t ldl);
// In place on scores: p = exp(scale * s - log_sum_exp[m*ldl]) where visible, 0 where masked. Writes.
void ck_causal_probabilities(size_t rows, size_t columns, size_t first, float scale, float *scores, size_t lds,
                             const float *log_sum_exp, size_t ldl);
// In place on dprob[rows, columns]: ds = p * (dp - delta[m*ldd]) * scale where visible, 0 where masked. Writes.
void ck_causal_softmax_backward(size_t rows, size_t columns, size_t first, float scale, const float *prob, size_t ldp,
                                float *dprob, size_t lddp, const float *delta, size_t ldd);
// delta[r*lddelta + h] = sum_k a[r, h*D + k] * b[r, h*D + k]: row-wise dot products by head. Writes.
void ck_head_dots(size_t rows, size_t heads, size_t head_width, const float *a, size_t lda,
                  const float *b, size_t ldb, float *delta, size_t lddelta);

// ---- Softmax and cross-entropy of a chunk of logits -----------------------------------------------------------
// Probabilities below exp(-64) of the row's largest are 0, as above.
// In place on logits[R,V]: dlogits = row_scale[r] * (softmax(logits[r]) - onehot(target[r])).
// losses[r] = -log softmax(logits[r])[target[r]], in double, from a max-shifted sum. Writes both.
// A row that holds NaN gives a NaN loss and a NaN row; other rows are untouched by it. A row without a target that counts, of which the target is
// below 0, becomes zeros with loss 0, whatever it holds.
void ck_cross_entropy(size_t rows, size_t vocabulary, float *logits, size_t ldl, const int32_t *targets,
                      const float *row_scale, double *losses);
// The losses alone; the logits are read only.
void ck_cross_entropy_losses(size_t rows, size_t vocabulary, const float *logits, size_t ldl,
                             const int32_t *targets, double *losses);

// ---- Optimizers -------------------------------------------------------------------------------------------------
// AdamW (Loshchilov & Hutter 2019, Algorithm 2), one pass: g = gradient_scale * gradient[i];
// m = beta1 m + (1-beta1) g; v = beta2 v + (1-beta2) g²; w -= lr * decay * w; w -= lr * (m*c1) / (sqrt(v*c2) + epsilon),
// c1 = 1/(1-beta1^t), c2 = 1/(1-beta2^t). Writes parameters, m, v.
void ck_adamw(size_t n, float *parameters, const float *gradient, float gradient_scale, float *m, float *v,
              float lr, float beta1, float beta2, float epsilon, float decay, float c1, float c2);
// SGD as in PyTorch (dampening 0, not Nesterov): g = gradient_scale * gradient[i] + decay * w; u = momentum u + g;
// w -= lr * u. velocity may be NULL when momentum is 0 (u = g). Writes parameters, velocity.
void ck_sgd(size_t n, float *parameters, const float *gradient, float gradient_scale, float *velocity,
            float lr, float momentum, float decay);

// ---- Gaussians from 64-bit uniforms -------------------------------------------------------------------------------
// Box-Muller in double: words (2k, 2k+1) give the standard normals of elements (2k, 2k+1):
//   u = (w[2k] + 0.5) * 2^-64 in (0,1) (never 0, full 64-bit resolution near 0), v = w[2k+1] * 2^-64,
//   r = sqrt(-2 ln u), z[2k] = r cos(2 pi v), z[2k+1] = r sin(2 pi v).
// y[i] += scale * z[i] for i < n, rounded to float once per addition (scale*z in double). Adds.
// words has n rounded up to even entries. The absolute error of z is below 1e-13; the bits are the same on every processor.
void ck_add_gaussians(size_t n, const uint64_t *words, double scale, float *y);
// z[i] in double, for tests and for whoever needs the numbers themselves. Writes.
void ck_gaussians(size_t n, const uint64_t *words, double *z);

// ---- Elements of 16 bits, as files have them ------------------------------------------------------------------------
// x begins at any byte; ldx counts elements. Little-endian, as the processors that this is for.
// y[r,:] = x[r,:] in float, of BF16 (the upper half of a float) and of IEEE's F16: exact, also of subnormal numbers. Writes.
void ck_widen_bf16(size_t rows, size_t p, const void *x, size_t ldx, float *y, size_t ldy);
void ck_widen_f16(size_t rows, size_t p, const void *x, size_t ldx, float *y, size_t ldy);
// Whether any of x[n] has all of these bits: those of the exponent (0x7F80 of BF16, 0x7C00 of F16) are infinity's and NaN's.
int ck_has_exponent(size_t n, const void *x, uint16_t exponent);

// ---- Operands of bfloat16 products -----------------------------------------------------------------------------------
// y[r,:] = scale x[r,:], rounded to nearest even: at most 2^-9 of each element, but for subnormal numbers. Writes.
void ck_round_bf16(size_t rows, size_t p, const float *x, size_t ldx, float scale, uint16_t *y, size_t ldy);
// y[r,:] = x[r,:], or with `adds` y[r,:] += x[r,:].
void ck_take_rows(size_t rows, size_t p, const float *x, size_t ldx, int adds, float *y, size_t ldy);

// ---- Mapped files -------------------------------------------------------------------------------------------------
// From now on a read of these bytes where the file no longer has them (SIGBUS) waits `delay` milliseconds, writes `line` to standard error and
// ends the process with `status`. `line` stays where it is until the mapping is forgotten. Called by one thread at a time.
// Returns the mapping's place, -1 where there are more than a thousand.
int ck_guard_mapping(const void *start, size_t length, const char *line, int status, int delay);
void ck_forget_mapping(int place);
