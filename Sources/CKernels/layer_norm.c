#include "norms.h"

CK_KERNEL void ck_layer_norm(size_t rows, size_t d, const float *x, size_t ldx, float epsilon, float *normalized,
                             float *rstd) {
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
      low += a;
      high += b;
    }
    for (; j < d; j++) sum += in[j];
    low += high;
    const double mean = d ? (sum + ck_sum_of_lanes64(&low)) / (double)d : 0;
    const double variance = ck_mean_square(d, in, mean);
    const double scale = 1 / sqrt(variance + (double)epsilon);
    rstd[row] = (float)scale;

    // The mean in two floats: x - mean is then right also where x is large and its spread small.
    const float mean_high = (float)mean, mean_low = (float)(mean - (double)mean_high), r = (float)scale;
    CK_VECTOR_LOOP
    for (size_t i = 0; i < d; i++) out[i] = ((in[i] - mean_high) - mean_low) * r;
  }
}

CK_KERNEL void ck_scale_shift(size_t rows, size_t d, const float *normalized, const float *gain, const float *bias,
                              const float *row_scale, float *y) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = normalized + row * d;
    float *out = y + row * d;
    if (row_scale && row_scale[row] == 0) {
      if (d) memset(out, 0, d * sizeof(float));
    } else if (!bias) {
      const float w = row_scale ? row_scale[row] : 1;
      CK_VECTOR_LOOP
      for (size_t i = 0; i < d; i++) out[i] = w * (gain[i] * in[i]);
    } else if (!row_scale) {
      CK_VECTOR_LOOP
      for (size_t i = 0; i < d; i++) out[i] = gain[i] * in[i] + bias[i];
    } else {
      const float w = row_scale[row];
      CK_VECTOR_LOOP
      for (size_t i = 0; i < d; i++) out[i] = w * (gain[i] * in[i] + bias[i]);
    }
  }
}

CK_KERNEL void ck_layer_norm_backward(size_t rows, size_t d, const float *dy, const float *normalized, const float *rstd,
                                      const float *gain, const float *residual_in, float *residual_out) {
  for (size_t row = 0; row < rows; row++) {
    const float *g = dy + row * d, *xhat = normalized + row * d;
    const float *in = residual_in ? residual_in + row * d : NULL;
    float *out = residual_out + row * d;
    float mean, mean_product;
    ck_gradient_means(d, g, gain, xhat, &mean, &mean_product);
    const float scale = rstd[row];
    if (in) {
      CK_VECTOR_LOOP
      for (size_t i = 0; i < d; i++) out[i] = in[i] + scale * (g[i] * gain[i] - mean - xhat[i] * mean_product);
    } else {
      CK_VECTOR_LOOP
      for (size_t i = 0; i < d; i++) out[i] = scale * (g[i] * gain[i] - mean - xhat[i] * mean_product);
    }
  }
}
