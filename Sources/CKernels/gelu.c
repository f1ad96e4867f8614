#include "lanes.h"

// gelu_new(x) = 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x³) (Hendrycks & Gimpel 2016).
// With e = exp(-2|u|) in [0, 1] nothing overflows: the logistic function of 2u is 1/(1+e) or e/(1+e), by the sign of u.

static const float two_root_two_over_pi = 1.5957691216057308f;
static const float cubic = 0.044715f;

// Beyond this the logistic function is 0 or 1 in single precision; x³ of a huge x would be infinite.
CK_INLINE void clamped(f32x16 *out, const f32x16 *x) {
  const f32x16 limit = CK_SPLAT(16.0f), minus = -limit;
  const i32x16 above = *x > limit, below = *x < minus;
  ck_select(out, &above, &limit, x);
  ck_select(out, &below, &minus, out);
}

// e = exp(-2|u|), inverse = 1 / (1 + e), logistic = 1 / (1 + exp(-2u)).
CK_INLINE void logistic_of(const f32x16 *x, f32x16 *e, f32x16 *inverse, f32x16 *logistic) {
  const f32x16 two_u = *x * (two_root_two_over_pi + (two_root_two_over_pi * cubic) * (*x * *x));
  *e = (f32x16)((i32x16)two_u | INT32_MIN);
  ck_exp_of_nonpositive(e);
  *inverse = 1.0f / (1.0f + *e);
  const f32x16 one = CK_SPLAT(1.0f);
  const i32x16 negative = two_u < 0.0f;
  f32x16 numerator;
  ck_select(&numerator, &negative, e, &one);
  *logistic = numerator * *inverse;
}

CK_INLINE void gelu(f32x16 *x) {
  f32x16 c, e, inverse, logistic;
  clamped(&c, x);
  logistic_of(&c, &e, &inverse, &logistic);
  *x *= logistic;
}

// dy * d/dx (x l(2u)) = dy * (l + x l (1 - l) 2u'), and l (1 - l) = e / (1+e)² for either sign.
CK_INLINE void gelu_backward(const f32x16 *x, f32x16 *dy) {
  f32x16 c, e, inverse, logistic;
  clamped(&c, x);
  logistic_of(&c, &e, &inverse, &logistic);
  const f32x16 slope = two_root_two_over_pi + (3 * two_root_two_over_pi * cubic) * (c * c);
  *dy *= logistic + (c * slope) * (e * inverse * inverse);
}

CK_KERNEL void ck_gelu(size_t n, const float *x, float *y) { ck_map(n, x, y, gelu); }

CK_KERNEL void ck_gelu_backward(size_t n, const float *x, const float *dy, float *dx) { ck_map_backward(n, x, dy, dx, gelu_backward); }
