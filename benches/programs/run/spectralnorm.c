/* The spectral norm of an infinite matrix, from its first rows and columns, which are computed where they are needed: divisions. */
#include "program.h"

enum { MAX_SIZE = 4096 };

static double u[MAX_SIZE], v[MAX_SIZE], scratch[MAX_SIZE];

static inline double element(int row, int column) { return 1.0 / ((row + column) * (row + column + 1) / 2 + row + 1); }

static void multiply(double *to, const double *from, int size, bool transposed) {
  for (int i = 0; i < size; i++) {
    double sum = 0;
    for (int j = 0; j < size; j++) sum += (transposed ? element(j, i) : element(i, j)) * from[j];
    to[i] = sum;
  }
}

static void multiply_both(double *to, const double *from, int size) {
  multiply(scratch, from, size, false);
  multiply(to, scratch, size, true);
}

int64_t run(int32_t n) {
  if (n > MAX_SIZE) return -1;
  for (int i = 0; i < n; i++) u[i] = 1;
  for (int i = 0; i < 10; i++) {
    multiply_both(v, u, n);
    multiply_both(u, v, n);
  }
  double uv = 0, vv = 0;
  for (int i = 0; i < n; i++) uv += u[i] * v[i], vv += v[i] * v[i];
  double norm = __builtin_sqrt(uv / vv);
  if (n >= 100 && (norm < 1.274219 || norm > 1.274225)) return -2;
  return checksum(mix_f64(0, norm));
}
