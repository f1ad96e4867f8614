#include "lanes.h"

// A row is a few kilobytes: passes after the first find it in the first-level cache, so that means in double are free
// beside the memory traffic.

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

    low = high = (f64x8){};
    sum = 0;
    for (j = 0; j + 16 <= d; j += 16) {
      f64x8 a, b;
      ck_widen(&a, in + j);
      ck_widen(&b, in + j + 8);
      a -= mean;
      b -= mean;
      low += a * a;
      high += b * b;
    }
    for (; j < d; j++) sum += (in[j] - mean) * (in[j] - mean);
    low += high;
    const double variance = d ? (sum + ck_sum_of_lanes64(&low)) / (double)d : 0;
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

    f64x8 low = {}, high = {}, low_product = {}, high_product = {};
    double sum = 0, sum_product = 0;
    size_t j = 0;
    for (; j + 16 <= d; j += 16) {
      f64x8 g_low, g_high, s_low, s_high, x_low, x_high;
      ck_widen(&g_low, g + j);
      ck_widen(&g_high, g + j + 8);
      ck_widen(&s_low, gain + j);
      ck_widen(&s_high, gain + j + 8);
      ck_widen(&x_low, xhat + j);
      ck_widen(&x_high, xhat + j + 8);
      g_low *= s_low;
      g_high *= s_high;
      low += g_low;
      high += g_high;
      low_product += g_low * x_low;
      high_product += g_high * x_high;
    }
    for (; j < d; j++) {
      const double h = (double)g[j] * gain[j];
      sum += h;
      sum_product += h * xhat[j];
    }
    low += high;
    low_product += high_product;
    const float mean = (float)((sum + ck_sum_of_lanes64(&low)) / (double)d);
    const float mean_product = (float)((sum_product + ck_sum_of_lanes64(&low_product)) / (double)d);
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
