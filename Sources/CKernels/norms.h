// What layer_norm.c and rms_norm.c have in common.
//
// A row is a few kilobytes: passes after the first find it in the first-level cache, so that sums in double are free
// beside the memory traffic.
#pragma once
#include "lanes.h"

// The mean of (x - centre)².
CK_INLINE double ck_mean_square(size_t d, const float *x, double centre) {
  f64x8 low = {}, high = {};
  double sum = 0;
  size_t j = 0;
  for (; j + 16 <= d; j += 16) {
    f64x8 a, b;
    ck_widen(&a, x + j);
    ck_widen(&b, x + j + 8);
    a -= centre;
    b -= centre;
    low += a * a;
    high += b * b;
  }
  for (; j < d; j++) sum += (x[j] - centre) * (x[j] - centre);
  low += high;
  return d ? (sum + ck_sum_of_lanes64(&low)) / (double)d : 0;
}

// The means of h = dy gain and of h x̂: what a norm's gradient loses.
CK_INLINE void ck_gradient_means(size_t d, const float *dy, const float *gain, const float *xhat, float *mean, float *mean_product) {
  f64x8 low = {}, high = {}, low_product = {}, high_product = {};
  double sum = 0, sum_product = 0;
  size_t j = 0;
  for (; j + 16 <= d; j += 16) {
    f64x8 h_low, h_high, s_low, s_high, x_low, x_high;
    ck_widen(&h_low, dy + j);
    ck_widen(&h_high, dy + j + 8);
    ck_widen(&s_low, gain + j);
    ck_widen(&s_high, gain + j + 8);
    ck_widen(&x_low, xhat + j);
    ck_widen(&x_high, xhat + j + 8);
    h_low *= s_low;
    h_high *= s_high;
    low += h_low;
    high += h_high;
    low_product += h_low * x_low;
    high_product += h_high * x_high;
  }
  for (; j < d; j++) {
    const double h = (double)dy[j] * gain[j];
    sum += h;
    sum_product += h * xhat[j];
  }
  low += high;
  low_product += high_product;
  *mean = (float)((sum + ck_sum_of_lanes64(&low)) / (double)d);
  *mean_product = (float)((sum_product + ck_sum_of_lanes64(&low_product)) / (double)d);
}
