#include "lanes.h"

// Products with a short side, at most sixteen: those of adapters, and of short records' attention. A library first copies both operands into an order
// of its own, which costs as much as the product where an element is used a few times. Here the long operand is read once, where it is.
//
// No more than a panel's terms are added up in a row before their sum is added to the others'.

enum { LANES = CK_SHORT_SIDE, PANEL = 256, CHUNK = 8, WIDEST_GROUP = 8 };

#define UNROLL _Pragma("clang loop unroll(full)")

// ---- Few columns: a lane for each -------------------------------------------------------------------------------

// out[count,8] = a[count,k] * b[k,8]
CK_INLINE void rows_by_8(const int count, size_t k, const float *a, size_t lda, const float *b, float *out) {
  f32x8 sums[WIDEST_GROUP];
  UNROLL for (int r = 0; r < count; r++) sums[r] = (f32x8){};
  for (size_t j = 0; j < k; j++) {
    const f32x8 terms = CK_F32X8_IN(b + 8 * j);
    UNROLL for (int r = 0; r < count; r++) sums[r] += a[(size_t)r * lda + j] * terms;
  }
  UNROLL for (int r = 0; r < count; r++) memcpy(out + 8 * r, &sums[r], sizeof sums[r]);
}

// out[count,16] = a[count,k] * b[k,16]
CK_INLINE void rows_by_16(const int count, size_t k, const float *a, size_t lda, const float *b, float *out) {
  f32x16 sums[WIDEST_GROUP / 2];
  UNROLL for (int r = 0; r < count; r++) sums[r] = (f32x16){};
  for (size_t j = 0; j < k; j++) {
    const f32x16 terms = CK_F32X16_IN(b + 16 * j);
    UNROLL for (int r = 0; r < count; r++) sums[r] += a[(size_t)r * lda + j] * terms;
  }
  UNROLL for (int r = 0; r < count; r++) memcpy(out + 16 * r, &sums[r], sizeof sums[r]);
}

// The next rows, as many as there are registers for. Their count.
CK_INLINE size_t group_of_rows(size_t left, size_t lanes, size_t k, const float *a, size_t lda, const float *b, float *out) {
  if (lanes == 8 && left >= 8) return rows_by_8(8, k, a, lda, b, out), 8;
  if (lanes == 8 && left >= 4) return rows_by_8(4, k, a, lda, b, out), 4;
  if (lanes == 8) return rows_by_8(1, k, a, lda, b, out), 1;
  if (left >= 4) return rows_by_16(4, k, a, lda, b, out), 4;
  return rows_by_16(1, k, a, lda, b, out), 1;
}

CK_KERNEL void ck_few_columns(size_t rows, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t b_row,
                              size_t b_column, float beta, float *c, size_t c_row, size_t c_column) {
  float packed[PANEL * LANES], out[WIDEST_GROUP * 8];
  const size_t lanes = n <= 8 ? 8 : LANES;
  for (size_t start = 0; start == 0 || start < k; start += PANEL) {  // once also without terms: c becomes beta c
    const size_t width = k - start < PANEL ? k - start : PANEL;
    if (n < lanes) memset(packed, 0, width * lanes * sizeof(float));
    for (size_t i = 0; i < n; i++) {
      const float *from = b + start * b_row + i * b_column;
      for (size_t j = 0; j < width; j++) packed[j * lanes + i] = from[j * b_row];
    }
    const float old = start == 0 ? beta : 1;
    for (size_t row = 0, count; row < rows; row += count) {
      count = group_of_rows(rows - row, lanes, width, a + row * lda + start, lda, packed, out);
      for (size_t r = 0; r < count; r++) {
        float *to = c + (row + r) * c_row;
        if (old == 0)
          for (size_t i = 0; i < n; i++) to[i * c_column] = alpha * out[r * lanes + i];
        else
          for (size_t i = 0; i < n; i++) to[i * c_column] = alpha * out[r * lanes + i] + old * to[i * c_column];
      }
    }
  }
}

// ---- Few rows, each a sum over many ---------------------------------------------------------------------------

// strip[count,PANEL] += a[rows,count]^T * b[rows,16], of which `width` columns are there.
CK_INLINE void tile_of_sums(const int count, size_t rows, const float *a, size_t a_row, size_t a_column, const float *b, size_t ldb,
                            float *strip, size_t width) {
  f32x16 sums[4];
  UNROLL for (int i = 0; i < count; i++) sums[i] = CK_F32X16_IN(strip + i * PANEL);
  for (size_t r = 0; r < rows; r++) {
    f32x16 terms;
    if (width == LANES) terms = CK_F32X16_IN(b + r * ldb);
    else ck_load_part(&terms, b + r * ldb, width, 0);
    UNROLL for (int i = 0; i < count; i++) sums[i] += a[r * a_row + (size_t)i * a_column] * terms;
  }
  UNROLL for (int i = 0; i < count; i++) CK_F32X16(strip + i * PANEL) = sums[i];
}

CK_INLINE void tiles_of_sums(size_t m, size_t rows, const float *a, size_t a_row, size_t a_column, const float *b, size_t ldb, float *strip,
                             size_t width) {
  size_t i = 0;
  for (; i + 4 <= m; i += 4) tile_of_sums(4, rows, a + i * a_column, a_row, a_column, b, ldb, strip + i * PANEL, width);
  for (; i < m; i++) tile_of_sums(1, rows, a + i * a_column, a_row, a_column, b, ldb, strip + i * PANEL, width);
}

CK_KERNEL void ck_few_rows(size_t m, size_t n, size_t rows, float alpha, const float *a, size_t a_row, size_t a_column, const float *b,
                           size_t ldb, float beta, float *c, size_t c_row, size_t c_column) {
  float strip[LANES * PANEL];
  for (size_t start = 0; start < n; start += PANEL) {
    const size_t width = n - start < PANEL ? n - start : PANEL;
    for (size_t block = 0; block == 0 || block < rows; block += PANEL) {
      const size_t end = rows - block < PANEL ? rows : block + PANEL;
      for (size_t i = 0; i < m; i++) memset(strip + i * PANEL, 0, (width + LANES - 1) / LANES * LANES * sizeof(float));
      // A few rows at a time: where rows are multiples of a page apart, more would push each other out of the cache.
      for (size_t row = block; row < end; row += CHUNK) {
        const size_t count = end - row < CHUNK ? end - row : CHUNK;
        const float *x = a + row * a_row, *y = b + row * ldb + start;
        size_t j = 0;
        for (; j + LANES <= width; j += LANES) tiles_of_sums(m, count, x, a_row, a_column, y + j, ldb, strip + j, LANES);
        if (j < width) tiles_of_sums(m, count, x, a_row, a_column, y + j, ldb, strip + j, width - j);
      }
      const float old = block == 0 ? beta : 1;
      for (size_t i = 0; i < m; i++) {
        float *to = c + i * c_row + start * c_column;
        const float *sums = strip + i * PANEL;
        if (old == 0)
          for (size_t j = 0; j < width; j++) to[j * c_column] = alpha * sums[j];
        else
          for (size_t j = 0; j < width; j++) to[j * c_column] = alpha * sums[j] + old * to[j * c_column];
      }
    }
  }
}
