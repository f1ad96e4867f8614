#include "lanes.h"

// gelu(x) = x Phi(x) = x/2 (1 + erf(x/√2)) (Hendrycks & Gimpel 2016), without the approximation that gelu_new is.
// Phi(-u) = exp(-u²/2) t P(t), t = 1/(1 + 0.35 u), for u >= 0: the form of Abramowitz & Stegun 7.1.26. P is a minimax fit of degree 8 for
// u up to where exp is made 0, with a relative error of 3e-8 before rounding.

static const float density_at_zero = 0.3989422804014327f;  // 1/√(2 pi)

// Phi(x), and exp(-x²/2).
CK_INLINE void distribution(const f32x16 *x, f32x16 *phi, f32x16 *e) {
  *e = *x * *x * -0.5f;
  ck_exp_of_nonpositive(e);
  const f32x16 u = (f32x16)((i32x16)*x & INT32_MAX);
  const f32x16 t = 1.0f / (1.0f + 0.35f * u);
  f32x16 p = t * -0.028881780803203583f + 0.14265646040439606f;
  p = p * t - 0.2529268264770508f;
  p = p * t + 0.15589874982833862f;
  p = p * t - 0.02078252099454403f;
  p = p * t + 0.10448722541332245f;
  p = p * t + 0.1201019138097763f;
  p = p * t + 0.1398230344057083f;
  p = p * t + 0.1396237462759018f;
  const f32x16 below = *e * (p * t), above = 1.0f - below;
  const i32x16 negative = *x < 0.0f;
  ck_select(phi, &negative, &below, &above);
}

CK_INLINE void gelu(f32x16 *x) {
  f32x16 phi, e;
  distribution(x, &phi, &e);
  *x *= phi;
}

CK_INLINE void gelu_backward(const f32x16 *x, f32x16 *dy) {
  f32x16 phi, e;
  distribution(x, &phi, &e);
  *dy *= phi + *x * (e * density_at_zero);
}

CK_KERNEL void ck_gelu_erf(size_t n, const float *x, float *y) { ck_map(n, x, y, gelu); }

CK_KERNEL void ck_gelu_erf_backward(size_t n, const float *x, const float *dy, float *dx) { ck_map_backward(n, x, dy, dx, gelu_backward); }
