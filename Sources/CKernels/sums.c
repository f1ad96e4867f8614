#include "lanes.h"

CK_INLINE double dot(size_t n, const float *x, const float *y) {
  f64x8 s0 = {}, s1 = {}, s2 = {}, s3 = {};
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    f64x8 a0, a1, a2, a3, b0, b1, b2, b3;
    ck_widen(&a0, x + i);
    ck_widen(&a1, x + i + 8);
    ck_widen(&a2, x + i + 16);
    ck_widen(&a3, x + i + 24);
    ck_widen(&b0, y + i);
    ck_widen(&b1, y + i + 8);
    ck_widen(&b2, y + i + 16);
    ck_widen(&b3, y + i + 24);
    s0 += a0 * b0;
    s1 += a1 * b1;
    s2 += a2 * b2;
    s3 += a3 * b3;
  }
  for (; i + 8 <= n; i += 8) {
    f64x8 a, b;
    ck_widen(&a, x + i);
    ck_widen(&b, y + i);
    s0 += a * b;
  }
  double rest = 0;
  for (; i < n; i++) rest += (double)x[i] * (double)y[i];
  s0 = (s0 + s1) + (s2 + s3);
  return rest + ck_sum_of_lanes64(&s0);
}

CK_KERNEL double ck_squared_norm(size_t n, const float *x) { return dot(n, x, x); }

CK_KERNEL double ck_dot(size_t n, const float *x, const float *y) { return dot(n, x, y); }

CK_KERNEL double ck_symmetric_inner_product(size_t n, const float *a, size_t lda, const float *g, size_t ldg) {
  double below = 0, diagonal = 0;
  for (size_t t = 0; t < n; t++) {
    below += dot(t, a + t * lda, g + t * ldg);
    diagonal += (double)a[t * lda + t] * (double)g[t * ldg + t];
  }
  return 2 * below + diagonal;
}

CK_KERNEL void ck_add_scaled(size_t n, float alpha, const float *x, float *y) {
  CK_VECTOR_LOOP
  for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}
