#include "lanes.h"

// A row of logits (some 200 KB) comes from memory once, for the maximum; the passes after it find it in the second-level
// cache.

CK_INLINE float largest_of(size_t n, const float *x) {
  f32x16 m0 = CK_SPLAT(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const f32x16 a = CK_F32X16_IN(x + i), b = CK_F32X16_IN(x + i + 16), c = CK_F32X16_IN(x + i + 32),
                 d = CK_F32X16_IN(x + i + 48);
    const i32x16 a_is = a > m0, b_is = b > m1, c_is = c > m2, d_is = d > m3;
    ck_select(&m0, &a_is, &a, &m0);
    ck_select(&m1, &b_is, &b, &m1);
    ck_select(&m2, &c_is, &c, &m2);
    ck_select(&m3, &d_is, &d, &m3);
  }
  const i32x16 one = m1 > m0, three = m3 > m2;
  ck_select(&m0, &one, &m1, &m0);
  ck_select(&m2, &three, &m3, &m2);
  const i32x16 two = m2 > m0;
  ck_select(&m0, &two, &m2, &m0);
  float largest = ck_max_of_lanes(&m0);
  for (; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// sum exp(x - shift), also written to `out` unless it is NULL. Lanes add at most 32 terms in single precision.
CK_INLINE double sum_of_exponentials(size_t n, const float *x, float shift, float *out) {
  double sum = 0;
  size_t i = 0;
  while (i < n) {
    const size_t end = n - i < 1024 ? n : i + 1024;
    f32x16 s0 = {}, s1 = {};
    for (; i + 32 <= end; i += 32) {
      f32x16 a = CK_F32X16_IN(x + i) - shift, b = CK_F32X16_IN(x + i + 16) - shift;
      ck_exp_of_nonpositive(&a);
      ck_exp_of_nonpositive(&b);
      s0 += a;
      s1 += b;
      if (out) {
        CK_F32X16(out + i) = a;
        CK_F32X16(out + i + 16) = b;
      }
    }
    while (i < end) {
      const size_t part = end - i < 16 ? end - i : 16;
      f32x16 a;
      ck_load_part(&a, x + i, part, shift);
      a -= shift;
      ck_exp_of_nonpositive(&a);
      if (out) ck_store_part(out + i, part, &a);
      // Padding would count as exp(0).
      const i32x16 real = ck_lane_index < (int32_t)part;
      s0 += (f32x16)((i32x16)a & real);
      i += part;
    }
    s0 += s1;
    sum += ck_sum_of_lanes(&s0);
  }
  return sum;
}

CK_KERNEL void ck_cross_entropy(size_t rows, size_t vocabulary, float *logits, size_t ldl, const int32_t *targets,
                                const float *row_scale, double *losses) {
  for (size_t r = 0; r < rows; r++) {
    float *row = logits + r * ldl;
    if (targets[r] < 0) {  // No target that counts: nothing of the logits matters, were they no numbers.
      for (size_t i = 0; i < vocabulary; i++) row[i] = 0;
      losses[r] = 0;
      continue;
    }
    const size_t target = (size_t)targets[r];
    const float largest = largest_of(vocabulary, row), at_target = row[target];
    const double sum = sum_of_exponentials(vocabulary, row, largest, row);
    losses[r] = log(sum) + ((double)largest - (double)at_target);

    const double scale = row_scale[r];
    const float factor = (float)(scale / sum), exponential = row[target];
    CK_VECTOR_LOOP
    for (size_t i = 0; i < vocabulary; i++) row[i] *= factor;
    row[target] = (float)(scale * ((double)exponential / sum - 1));
  }
}

CK_KERNEL void ck_cross_entropy_losses(size_t rows, size_t vocabulary, const float *logits, size_t ldl,
                                       const int32_t *targets, double *losses) {
  for (size_t r = 0; r < rows; r++) {
    const float *row = logits + r * ldl;
    if (targets[r] < 0) {
      losses[r] = 0;
      continue;
    }
    const float largest = largest_of(vocabulary, row);
    const double sum = sum_of_exponentials(vocabulary, row, largest, NULL);
    losses[r] = log(sum) + ((double)largest - (double)row[targets[r]]);
  }
}
