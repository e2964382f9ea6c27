/* Solves linear equations: LU decomposition with pivots, in f64. */
#include "program.h"

enum { SIZE = 200 };

static double matrix[SIZE][SIZE], lu[SIZE][SIZE], right[SIZE], solution[SIZE];
static int order[SIZE];

static inline double magnitude(double x) { return x < 0 ? -x : x; }

static bool decompose(void) {
  memcpy(lu, matrix, sizeof lu);
  for (int i = 0; i < SIZE; i++) order[i] = i;
  for (int k = 0; k < SIZE; k++) {
    int pivot = k;
    for (int i = k + 1; i < SIZE; i++)
      if (magnitude(lu[i][k]) > magnitude(lu[pivot][k])) pivot = i;
    if (magnitude(lu[pivot][k]) < 1e-12) return false;
    if (pivot != k) {
      int swapped = order[k];
      order[k] = order[pivot];
      order[pivot] = swapped;
      for (int j = 0; j < SIZE; j++) {
        double element = lu[k][j];
        lu[k][j] = lu[pivot][j];
        lu[pivot][j] = element;
      }
    }
    for (int i = k + 1; i < SIZE; i++) {
      double factor = lu[i][k] /= lu[k][k];
      for (int j = k + 1; j < SIZE; j++) lu[i][j] -= factor * lu[k][j];
    }
  }
  return true;
}

static void solve(void) {
  for (int i = 0; i < SIZE; i++) {
    double sum = right[order[i]];
    for (int j = 0; j < i; j++) sum -= lu[i][j] * solution[j];
    solution[i] = sum;
  }
  for (int i = SIZE - 1; i >= 0; i--) {
    double sum = solution[i];
    for (int j = i + 1; j < SIZE; j++) sum -= lu[i][j] * solution[j];
    solution[i] = sum / lu[i][i];
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(22);
  for (int round = 0; round < n; round++) {
    for (int i = 0; i < SIZE; i++) {
      right[i] = random_unit();
      for (int j = 0; j < SIZE; j++) matrix[i][j] = random_unit() - 0.5;
    }
    if (!decompose()) return -1;
    solve();
    for (int i = 0; i < SIZE; i++) {
      double sum = 0;
      for (int j = 0; j < SIZE; j++) sum += matrix[i][j] * solution[j];
      if (magnitude(sum - right[i]) > 1e-6) return -2;
      hash = mix_f64(hash, solution[i]);
    }
  }
  return checksum(hash);
}
