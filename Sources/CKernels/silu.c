#include "lanes.h"

// silu(g) = g l(g), l the logistic function. With e = exp(-|g|) in [0, 1] nothing overflows: l(g) is 1/(1+e) or e/(1+e), by the sign of
// g, and l (1 - l) = e / (1+e)² for either.
CK_INLINE void logistic_of(const f32x16 *g, f32x16 *logistic, f32x16 *slope) {
  f32x16 e = (f32x16)((i32x16)*g | INT32_MIN);
  ck_exp_of_nonpositive(&e);
  const f32x16 inverse = 1.0f / (1.0f + e), one = CK_SPLAT(1.0f);
  const i32x16 negative = *g < 0.0f;
  f32x16 numerator;
  ck_select(&numerator, &negative, &e, &one);
  *logistic = numerator * inverse;
  *slope = e * inverse * inverse;
}

CK_INLINE void gated(const f32x16 *gate, f32x16 *up) {
  f32x16 logistic, slope;
  logistic_of(gate, &logistic, &slope);
  *up *= *gate * logistic;
}

CK_INLINE void gated_backward(f32x16 *gate, f32x16 *up, const f32x16 *dy) {
  f32x16 logistic, slope;
  logistic_of(gate, &logistic, &slope);
  const f32x16 silu = *gate * logistic;
  *gate = *dy * *up * (logistic + *gate * slope);
  *up = *dy * silu;
}

CK_KERNEL void ck_silu_gate(size_t n, const float *gate, const float *up, float *y) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const f32x16 g = CK_F32X16_IN(gate + i);
    f32x16 u = CK_F32X16_IN(up + i);
    gated(&g, &u);
    CK_F32X16(y + i) = u;
  }
  if (i < n) {
    f32x16 g, u;
    ck_load_part(&g, gate + i, n - i, 0);
    ck_load_part(&u, up + i, n - i, 0);
    gated(&g, &u);
    ck_store_part(y + i, n - i, &u);
  }
}

CK_KERNEL void ck_silu_gate_backward(size_t n, const float *dy, float *gate, float *up) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    f32x16 g = CK_F32X16_IN(gate + i), u = CK_F32X16_IN(up + i);
    const f32x16 d = CK_F32X16_IN(dy + i);
    gated_backward(&g, &u, &d);
    CK_F32X16(gate + i) = g;
    CK_F32X16(up + i) = u;
  }
  if (i < n) {
    f32x16 g, u, d;
    ck_load_part(&g, gate + i, n - i, 0);
    ck_load_part(&u, up + i, n - i, 0);
    ck_load_part(&d, dy + i, n - i, 0);
    gated_backward(&g, &u, &d);
    ck_store_part(gate + i, n - i, &g);
    ck_store_part(up + i, n - i, &u);
  }
}
