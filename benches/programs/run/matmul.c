/* Products of matrices of f64, in blocks that stay in the cache. */
#include "program.h"

enum { SIZE = 256, BLOCK = 64 };

static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void multiply_block(int row, int column, int inner) {
  for (int i = row; i < row + BLOCK; i++)
    for (int k = inner; k < inner + BLOCK; k += 2) {
      double first = a[i][k], second = a[i][k + 1];
      for (int j = column; j < column + BLOCK; j++) c[i][j] += first * b[k][j] + second * b[k + 1][j];
    }
}

static void multiply(void) {
  memset(c, 0, sizeof c);
  for (int row = 0; row < SIZE; row += BLOCK)
    for (int inner = 0; inner < SIZE; inner += BLOCK)
      for (int column = 0; column < SIZE; column += BLOCK) multiply_block(row, column, inner);
}

int64_t run(int32_t n) {
  random_seed(6);
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) a[i][j] = random_unit() - 0.5, b[i][j] = random_unit() - 0.5;
  for (int round = 0; round < n; round++) {
    multiply();
    /* Keeps the numbers of the size that they have. */
    for (int i = 0; i < SIZE; i++)
      for (int j = 0; j < SIZE; j++) a[i][j] = c[i][j] * 0.2;
  }
  uint64_t hash = 0;
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) hash = mix_f64(hash, c[i][j]);
  return checksum(hash);
}
