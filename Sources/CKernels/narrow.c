#include "lanes.h"

// Sixteen elements of 16 bits, where a file has them: at any byte.
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x16_memory __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
#define CK_U16X16_IN(p) (*(const u16x16_memory *)(p))

CK_INLINE void from_bf16(f32x16 *out, const u16x16 *x) { *out = (f32x16)(__builtin_convertvector(*x, u32x16) << 16); }

// The bits of magnitude ten places further than they are in float leave the exponent 112 too small, whatever it is: a product with
// 2^112 is exact, of subnormal numbers, too. Infinity and NaN have all bits of the exponent before and behind.
CK_INLINE void from_f16(f32x16 *out, const u16x16 *x) {
  const u32x16 bits = __builtin_convertvector(*x, u32x16), magnitude = (bits & 0x7FFF) << 13;
  const u32x16 scaled = (u32x16)((f32x16)magnitude * 0x1p112f);
  const u32x16 special = (u32x16)(magnitude >= (u32x16){} + (0x7C00u << 13)) & 0x7F800000;
  *out = (f32x16)(scaled | special | (bits & 0x8000) << 16);
}

CK_INLINE void widen(size_t rows, size_t p, const char *x, size_t ldx, float *y, size_t ldy, void (*f)(f32x16 *, const u16x16 *)) {
  for (size_t row = 0; row < rows; row++) {
    const char *in = x + row * ldx * sizeof(uint16_t);
    float *out = y + row * ldy;
    size_t i = 0;
    for (; i + 16 <= p; i += 16) {
      const u16x16 narrow = CK_U16X16_IN(in + i * sizeof(uint16_t));
      f32x16 wide;
      f(&wide, &narrow);
      CK_F32X16(out + i) = wide;
    }
    if (i < p) {
      u16x16 narrow = {};
      f32x16 wide;
      memcpy(&narrow, in + i * sizeof(uint16_t), (p - i) * sizeof(uint16_t));
      f(&wide, &narrow);
      ck_store_part(out + i, p - i, &wide);
    }
  }
}

CK_KERNEL void ck_widen_bf16(size_t rows, size_t p, const void *x, size_t ldx, float *y, size_t ldy) {
  widen(rows, p, x, ldx, y, ldy, from_bf16);
}

CK_KERNEL void ck_widen_f16(size_t rows, size_t p, const void *x, size_t ldx, float *y, size_t ldy) {
  widen(rows, p, x, ldx, y, ldy, from_f16);
}

CK_KERNEL int ck_has_exponent(size_t n, const void *x, uint16_t exponent) {
  const char *in = x;
  u16x16 found = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) found |= (u16x16)((CK_U16X16_IN(in + i * sizeof(uint16_t)) & exponent) == (u16x16){} + exponent);
  u16x16 last = {};
  memcpy(&last, in + i * sizeof(uint16_t), (n - i) * sizeof(uint16_t));
  found |= (u16x16)((last & exponent) == (u16x16){} + exponent);
  int any = 0;
  for (size_t lane = 0; lane < 16; lane++) any |= found[lane] != 0;
  return any;
}
