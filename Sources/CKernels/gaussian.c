#include "lanes.h"

// Nothing is fused: sums, products, quotients and roots are rounded as IEEE 754 says, so that the noise has the same bits on every processor.
#pragma STDC FP_CONTRACT OFF

// Box & Muller 1958 on eight pairs at a time. Polynomials: near-minimax (Chebyshev's nodes) over the reduced range, in Estrin's order: chains
// of dependent operations, not their number, set the pace.

// By lane, mask all ones or all zeros.
CK_INLINE void select64(f64x8 *out, const i64x8 *mask, const f64x8 *a, const f64x8 *b) {
  *out = (f64x8)((*mask & (i64x8)*a) | (~*mask & (i64x8)*b));
}

// x := 2^-64 w, rounded once. The halves of w stand in the low bits of 2^20 and of 2^-12: their differences to these are exact.
CK_INLINE void fraction(f64x8 *x, const u64x8 *w, double origin) {
  const u64x8 high = (*w >> 32) | 0x4130000000000000, low = (*w & 0xFFFFFFFF) | 0x3F30000000000000;
  *x = ((f64x8)high - (0x1p20 + 0x1p-12 + origin)) + (f64x8)low;
}

// z := -2 ln u, u = (w + 1/2) 2^-64.
CK_INLINE void minus_two_log(f64x8 *z, const u64x8 *w) {
  // The smaller of u and 1 - u comes from the word itself. Above 1/2, u is made of it: where u is close to 1 its logarithm needs 1 - u,
  // which a rounded u has lost.
  const i64x8 upper = (i64x8)*w < 0;
  const u64x8 folded = *w ^ (u64x8)upper;
  f64x8 distance, u;
  fraction(&distance, &folded, 0);
  distance += 0x1p-65;
  const f64x8 complement = 1.0 - distance;
  select64(&u, &upper, &complement, &distance);

  // u = 2^k m, m in [sqrt(1/2), sqrt(2)); k + 2048 stands in the twelve highest bits: without them u is -m.
  const u64x8 shifted = (u64x8)u - 0x3FE6A09E667F3BCD + 0x8000000000000000;
  const u64x8 power = shifted & 0xFFF0000000000000;
  const f64x8 k = (f64x8)(shifted >> 52 | 0x4330000000000000) - (0x1p52 + 2048);
  const i64x8 near_one = power == 0x8000000000000000;
  const f64x8 minus_m = (f64x8)((u64x8)u - power);
  const f64x8 one_minus_m = minus_m + 1.0;
  f64x8 f;
  select64(&f, &near_one, &distance, &one_minus_m);

  // -2 ln(1 - f) = 4 artanh s; 4 artanh(s) / s = 4 + x (…) to 2e-16 of it, for |s| up to (sqrt(2) - 1) / (sqrt(2) + 1).
  const f64x8 s = f / (2.0 - f), x = s * s, x2 = x * x;
  const f64x8 series = ((0x1.55555555553b8p+0 + 0x1.9999999b86b7cp-1 * x) + (0x1.2492462aa8c89p-1 + 0x1.c71fcd1ced0aep-2 * x) * x2) + (0x1.7382d06f0c1dep-2 + 0x1.546adfbbda333p-2 * x) * (x2 * x2);
  *z = (s * 4.0 - k * 0x1.62e42fefa39efp+0) + (s * x) * series;
}

// radius times sine and cosine of 2 pi w 2^-64: the two highest bits after rounding are the quarter, the rest a part y of one in [-1/2, 1/2),
// rounded once.
CK_INLINE void turn(f64x8 *sine, f64x8 *cosine, const u64x8 *w, const f64x8 *radius) {
  const u64x8 rounded = *w + (1ull << 61);
  const i64x8 swapped = (i64x8)(rounded << 1) < 0;
  const u64x8 sine_sign = rounded & (1ull << 63), cosine_sign = (rounded + (1ull << 62)) & (1ull << 63);
  const u64x8 part = rounded << 2;
  f64x8 y;
  fraction(&y, &part, 0.5);

  // sin(pi/2 y) / y to 5e-18, (cos(pi/2 y) - 1) / y^2 to 8e-16.
  const f64x8 x = y * y, x2 = x * x, x4 = x2 * x2;
  const f64x8 s_rest = ((-0x1.4abbce625be41p-1 + 0x1.466bc677587f8p-4 * x) + (-0x1.32d2cce2e5b19p-8 + 0x1.50782fda12d96p-13 * x) * x2) +
                       (-0x1.e30071afc3e59p-19 + 0x1.e3f38399551bfp-25 * x) * x4;
  const f64x8 c_rest = ((-0x1.3bd3cc9be45dbp+0 + 0x1.03c1f081b4b74p-2 * x) + (-0x1.55d3c7e10153fp-6 + 0x1.e1f50093e4c8fp-11 * x) * x2) +
                       (-0x1.a6cc32d07dc98p-16 + 0x1.f4b536b457d9ep-22 * x) * x4;
  const f64x8 s = *radius * (y * 0x1.921fb54442d18p+0 + (y * x) * s_rest), c = *radius * (1.0 + x * c_rest);
  f64x8 for_sine, for_cosine;
  select64(&for_sine, &swapped, &c, &s);
  select64(&for_cosine, &swapped, &s, &c);
  *sine = (f64x8)((u64x8)for_sine ^ sine_sign);
  *cosine = (f64x8)((u64x8)for_cosine ^ cosine_sign);
}

// Sixteen standard normals from sixteen words.
CK_INLINE void sixteen_normals(const uint64_t *words, f64x8 *low, f64x8 *high) {
  const u64x8 a = *(const u64x8_memory *)words, b = *(const u64x8_memory *)(words + 8);
  // Within 128 bits, which costs least; the last two shuffles put all back in order.
  const u64x8 radial = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
  const u64x8 angular = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
  f64x8 square, sine, cosine;
  minus_two_log(&square, &radial);
  const f64x8 radius = __builtin_elementwise_sqrt(square);
  turn(&sine, &cosine, &angular, &radius);
  *low = __builtin_shufflevector(cosine, sine, 0, 8, 2, 10, 4, 12, 6, 14);
  *high = __builtin_shufflevector(cosine, sine, 1, 9, 3, 11, 5, 13, 7, 15);
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
