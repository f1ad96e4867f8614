#include "lanes.h"

typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x16_memory __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64)));

// To the nearest, of two as near the even one. What is beyond the largest becomes infinity, as in any rounding; NaN stays NaN: the sum with its
// carry could make it another number, so its quiet bit is set instead.
CK_INLINE void to_bf16(u16x16 *out, const f32x16 *x, float scale) {
  const f32x16 scaled = *x * scale;
  const u32x16 bits = (u32x16)scaled, rounded = bits + 0x7FFF + ((bits >> 16) & 1), quiet = bits | 0x400000;
  const u32x16 is_nan = (u32x16)(scaled != scaled);
  *out = __builtin_convertvector(((is_nan & quiet) | (~is_nan & rounded)) >> 16, u16x16);
}

CK_KERNEL void ck_round_bf16(size_t rows, size_t p, const float *x, size_t ldx, float scale, uint16_t *y, size_t ldy) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = x + row * ldx;
    uint16_t *out = y + row * ldy;
    size_t i = 0;
    u16x16 narrow;
    for (; i + 16 <= p; i += 16) {
      const f32x16 wide = CK_F32X16_IN(in + i);
      to_bf16(&narrow, &wide, scale);
      *(u16x16_memory *)(out + i) = narrow;
    }
    if (i < p) {
      f32x16 wide;
      ck_load_part(&wide, in + i, p - i, 0);
      to_bf16(&narrow, &wide, scale);
      memcpy(out + i, &narrow, (p - i) * sizeof(uint16_t));
    }
  }
}

CK_KERNEL void ck_take_rows(size_t rows, size_t p, const float *x, size_t ldx, int adds, float *y, size_t ldy) {
  for (size_t row = 0; row < rows; row++) {
    const float *in = x + row * ldx;
    float *out = y + row * ldy;
    if (!adds) {
      memcpy(out, in, p * sizeof(float));
      continue;
    }
    CK_VECTOR_LOOP
    for (size_t i = 0; i < p; i++) out[i] += in[i];
  }
}
