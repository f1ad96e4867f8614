#include "lanes.h"

// Sums over rows run over four rows at a time in single precision and add up in double: the rows stream through as they
// lie in memory, and the sums of a strip of columns stay in the first-level cache.

enum { STRIP = 1024, GROUP = 4 };

typedef struct {
  size_t row[GROUP];
  float weight[GROUP];
} Group;

// The next rows, from *next on, of weight other than 0: rows of weight 0 may hold NaN. Their count.
CK_INLINE int next_group(Group *group, size_t rows, const float *weights, size_t *next) {
  int count = 0;
  size_t row = *next;
  for (; row < rows && count < GROUP; row++) {
    const float w = weights ? weights[row] : 1;
    if (w == 0) continue;
    group->row[count] = row;
    group->weight[count] = w;
    count++;
  }
  *next = row;
  return count;
}

CK_INLINE void add_group(size_t width, const float *g, size_t ldg, const Group *group, int count, double *sums) {
  if (count == GROUP) {
    const float *a = g + group->row[0] * ldg, *b = g + group->row[1] * ldg, *c = g + group->row[2] * ldg,
                *d = g + group->row[3] * ldg;
    const float wa = group->weight[0], wb = group->weight[1], wc = group->weight[2], wd = group->weight[3];
    CK_VECTOR_LOOP
    for (size_t i = 0; i < width; i++) sums[i] += (double)((wa * a[i] + wb * b[i]) + (wc * c[i] + wd * d[i]));
  } else {
    for (int k = 0; k < count; k++) {
      const float *a = g + group->row[k] * ldg;
      const float wa = group->weight[k];
      CK_VECTOR_LOOP
      for (size_t i = 0; i < width; i++) sums[i] += (double)(wa * a[i]);
    }
  }
}

// The same for the products of g and x.
CK_INLINE void add_group_of_products(size_t width, const float *g, const float *x, size_t ld, const Group *group, int count,
                                     double *sums) {
  if (count == GROUP) {
    const float *a = g + group->row[0] * ld, *b = g + group->row[1] * ld, *c = g + group->row[2] * ld,
                *d = g + group->row[3] * ld;
    const float *xa = x + group->row[0] * ld, *xb = x + group->row[1] * ld, *xc = x + group->row[2] * ld,
                *xd = x + group->row[3] * ld;
    const float wa = group->weight[0], wb = group->weight[1], wc = group->weight[2], wd = group->weight[3];
    CK_VECTOR_LOOP
    for (size_t i = 0; i < width; i++)
      sums[i] += (double)((wa * a[i] * xa[i] + wb * b[i] * xb[i]) + (wc * c[i] * xc[i] + wd * d[i] * xd[i]));
  } else {
    for (int k = 0; k < count; k++) {
      const float *a = g + group->row[k] * ld, *xa = x + group->row[k] * ld;
      const float wa = group->weight[k];
      CK_VECTOR_LOOP
      for (size_t i = 0; i < width; i++) sums[i] += (double)(wa * a[i] * xa[i]);
    }
  }
}

CK_INLINE void add_to_floats(size_t width, const double *sums, float *out) {
  CK_VECTOR_LOOP
  for (size_t i = 0; i < width; i++) out[i] = (float)((double)out[i] + sums[i]);
}

CK_KERNEL void ck_column_sums(size_t rows, size_t p, const float *g, size_t ldg, const float *weights, float *sums) {
  double strip[STRIP];
  for (size_t start = 0; start < p; start += STRIP) {
    const size_t width = p - start < STRIP ? p - start : STRIP;
    memset(strip, 0, width * sizeof(double));
    for (size_t next = 0; next < rows;) {
      Group group;
      const int count = next_group(&group, rows, weights, &next);
      add_group(width, g + start, ldg, &group, count, strip);
    }
    add_to_floats(width, strip, sums + start);
  }
}

CK_KERNEL void ck_layer_norm_gradient(size_t rows, size_t d, const float *dy, const float *normalized, size_t ld,
                                      const float *gain_weights, const float *bias_weights, float *dgain, float *dbias) {
  double gain_strip[STRIP], bias_strip[STRIP];
  for (size_t start = 0; start < d; start += STRIP) {
    const size_t width = d - start < STRIP ? d - start : STRIP;
    memset(gain_strip, 0, width * sizeof(double));
    memset(bias_strip, 0, width * sizeof(double));
    // In chunks of rows, so that the second sum finds in the cache what the first one read.
    for (size_t chunk = 0; chunk < rows; chunk += 16) {
      const size_t end = rows - chunk < 16 ? rows : chunk + 16;
      Group group;
      for (size_t next = chunk; next < end;) {
        const int count = next_group(&group, end, gain_weights, &next);
        add_group_of_products(width, dy + start, normalized + start, ld, &group, count, gain_strip);
      }
      for (size_t next = chunk; next < end;) {
        const int count = next_group(&group, end, bias_weights, &next);
        add_group(width, dy + start, ld, &group, count, bias_strip);
      }
    }
    add_to_floats(width, gain_strip, dgain + start);
    add_to_floats(width, bias_strip, dbias + start);
  }
}
