#include "lanes.h"

// Box & Muller 1958 on eight pairs at a time. Logarithm, sine and cosine: Sun Microsystems, fdlibm (e_log.c, k_sin.c,
// k_cos.c), without its special cases: the arguments are known to be in range.

// z := -2 ln u, u = (w + 1/2) 2^-64.
CK_INLINE void minus_two_log(f64x8 *z, const u64x8 *w) {
  const f64x8 u = (__builtin_convertvector(*w, f64x8) + 0.5) * 0x1p-64;
  const f64x8 complement = (__builtin_convertvector(~*w, f64x8) + 0.5) * 0x1p-64;
  // u = 2^k m, m in [sqrt(1/2), sqrt(2)).
  const i64x8 bits = (i64x8)u;
  const i64x8 k = (bits - 0x3FE6A09E667F3BCD) >> 52;
  const f64x8 m = (f64x8)(bits - (k << 52));
  // Where k is 0, u is close to 1: 1 - u from the words themselves is exact, u - 1 from the rounded u is not.
  const i64x8 near_one = k == 0;
  const f64x8 f = (f64x8)((near_one & (i64x8)-complement) | (~near_one & (i64x8)(m - 1.0)));
  // k is small: its double is made in the low bits of 1.5 * 2^52.
  const f64x8 exponent = (f64x8)(k + 0x4338000000000000) - 0x1.8p52;

  const f64x8 s = f / (2.0 + f), s2 = s * s, s4 = s2 * s2;
  const f64x8 even = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01));
  const f64x8 odd = s2 * (6.666666666666735130e-01 +
                          s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)));
  const f64x8 half_square = 0.5 * f * f;
  const f64x8 log = exponent * 6.93147180369123816490e-01 -
                    ((half_square - (s * (half_square + (even + odd)) + exponent * 1.90821492927058770002e-10)) - f);
  *z = -2.0 * log;
}

// sine and cosine of 2 pi w 2^-64: the two highest bits after rounding are the quarter, the rest an angle in
// [-pi/4, pi/4), exact before its conversion.
CK_INLINE void turn(f64x8 *sine, f64x8 *cosine, const u64x8 *w) {
  const u64x8 quarter = (*w + (1ull << 61)) >> 62;
  const f64x8 x = __builtin_convertvector((i64x8)(*w << 2), f64x8) * 0x1.921fb54442d18p-64;
  const f64x8 x2 = x * x;
  const f64x8 s = x + x * x2 * (-1.66666666666666324348e-01 +
                                x2 * (8.33333333332248946124e-03 +
                                      x2 * (-1.98412698298579493134e-04 +
                                            x2 * (2.75573137070700676789e-06 +
                                                  x2 * (-2.50507602534068634195e-08 + x2 * 1.58969099521155010221e-10)))));
  const f64x8 c = 1.0 - x2 * 0.5 +
                  x2 * x2 * (4.16666666666666019037e-02 +
                             x2 * (-1.38888888888741095749e-03 +
                                   x2 * (2.48015872894767294178e-05 +
                                         x2 * (-2.75573143513906633035e-07 +
                                               x2 * (2.08757232129817482790e-09 + x2 * -1.13596475577881948265e-11)))));
  const i64x8 swapped = -(i64x8)(quarter & 1);
  const u64x8 sine_sign = (quarter & 2) << 62, cosine_sign = ((quarter + 1) & 2) << 62;
  *sine = (f64x8)((u64x8)((swapped & (i64x8)c) | (~swapped & (i64x8)s)) ^ sine_sign);
  *cosine = (f64x8)((u64x8)((swapped & (i64x8)s) | (~swapped & (i64x8)c)) ^ cosine_sign);
}

// Sixteen standard normals from sixteen words.
CK_INLINE void sixteen_normals(const uint64_t *words, f64x8 *low, f64x8 *high) {
  const u64x8 a = *(const u64x8_memory *)words, b = *(const u64x8_memory *)(words + 8);
  const u64x8 radial = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  const u64x8 angular = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  f64x8 square, sine, cosine;
  minus_two_log(&square, &radial);
  turn(&sine, &cosine, &angular);
  const f64x8 radius = __builtin_elementwise_sqrt(square);
  const f64x8 x = radius * cosine, y = radius * sine;
  *low = __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
  *high = __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
}

// The last fewer than sixteen: the words that there are (an even number), in a buffer of sixteen.
CK_INLINE void last_normals(size_t count, const uint64_t *words, double *z) {
  uint64_t buffer[16] = {0};
  f64x8 low, high;
  memcpy(buffer, words, ((count + 1) & ~(size_t)1) * sizeof(uint64_t));
  sixteen_normals(buffer, &low, &high);
  memcpy(z, &low, sizeof low);
  memcpy(z + 8, &high, sizeof high);
}

CK_KERNEL void ck_add_gaussians(size_t n, const uint64_t *words, double scale, float *y) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    f64x8 low, high, y_low, y_high;
    sixteen_normals(words + i, &low, &high);
    ck_widen(&y_low, y + i);
    ck_widen(&y_high, y + i + 8);
    *(f32x8_memory *)(y + i) = __builtin_convertvector(y_low + scale * low, f32x8);
    *(f32x8_memory *)(y + i + 8) = __builtin_convertvector(y_high + scale * high, f32x8);
  }
  if (i < n) {
    double z[16];
    last_normals(n - i, words + i, z);
    for (size_t j = 0; i + j < n; j++) y[i + j] = (float)((double)y[i + j] + scale * z[j]);
  }
}

CK_KERNEL void ck_gaussians(size_t n, const uint64_t *words, double *z) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    f64x8 low, high;
    sixteen_normals(words + i, &low, &high);
    *(f64x8_memory *)(z + i) = low;
    *(f64x8_memory *)(z + i + 8) = high;
  }
  if (i < n) {
    double last[16];
    last_normals(n - i, words + i, last);
    memcpy(z + i, last, (n - i) * sizeof(double));
  }
}
