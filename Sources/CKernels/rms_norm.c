#include "lanes.h"

// Layer normalisation without the mean: see layer_norm.c.

CK_KERNEL void ck_rms_norm(size_t rows, size_t d, const float *x, size_t ldx, float epsilon, float *normalized, float *rstd) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = x + row * ldx;
    float *out = normalized + row * d;
    f64x8 low = {}, high = {};
    double sum = 0;
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
      f64x8 a, b;
      ck_widen(&a, in + j);
      ck_widen(&b, in + j + 8);
      low += a * a;
      high += b * b;
    }
    for (; j < d; j++) sum += (double)in[j] * in[j];
    low += high;
    const double mean_square = d ? (sum + ck_sum_of_lanes64(&low)) / (double)d : 0;
    const float r = (float)(1 / sqrt(mean_square + (double)epsilon));
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
    f64x8 low = {}, high = {};
    double sum = 0;
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
      f64x8 g_low, g_high, s_low, s_high, x_low, x_high;
      ck_widen(&g_low, g + j);
      ck_widen(&g_high, g + j + 8);
      ck_widen(&s_low, gain + j);
      ck_widen(&s_high, gain + j + 8);
      ck_widen(&x_low, xhat + j);
      ck_widen(&x_high, xhat + j + 8);
      low += g_low * s_low * x_low;
      high += g_high * s_high * x_high;
    }
    for (; j < d; j++) sum += (double)g[j] * gain[j] * xhat[j];
    low += high;
    const float mean_product = (float)((sum + ck_sum_of_lanes64(&low)) / (double)d);
    const float scale = rstd[row];
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] = in[i] + scale * (g[i] * gain[i] - xhat[i] * mean_product);
  }
}
