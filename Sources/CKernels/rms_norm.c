#include "norms.h"

// Layer normalisation without the mean: see layer_norm.c.

CK_KERNEL void ck_rms_norm(size_t rows, size_t d, const float *x, size_t ldx, float epsilon, float *normalized, float *rstd) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = x + row * ldx;
    float *out = normalized + row * d;
    const float r = (float)(1 / sqrt(ck_mean_square(d, in, 0) + (double)epsilon));
    rstd[row] = r;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] = in[i] * r;
  }
}

CK_KERNEL void ck_rms_norm_backward(size_t rows, size_t d, const float *dy, const float *normalized, const float *rstd,
                                    const float *gain, const float *residual_in, float *residual_out) {
  for (size_t row = 0; row < rows; row++) {
    const float *g = dy + row * d, *xhat = normalized + row * d, *in = residual_in + row * d;
    float *out = residual_out + row * d;
    float mean, mean_product;
    ck_gradient_means(d, g, gain, xhat, &mean, &mean_product);
    const float scale = rstd[row];
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] = in[i] + scale * (g[i] * gain[i] - xhat[i] * mean_product);
  }
}
