/* Dynamic programming over pairs of sequences: the edit distance, the longest common subsequence, and a local alignment in which gaps
 * cost more to begin than to go on. */
#include "program.h"

enum { SIZE = 1000 };

static uint8_t a[SIZE], b[SIZE];
static int32_t row[SIZE + 1], gaps[SIZE + 1];

static inline int32_t least(int32_t x, int32_t y) { return x < y ? x : y; }

static inline int32_t most(int32_t x, int32_t y) { return x > y ? x : y; }

static int32_t edit_distance(void) {
  for (int j = 0; j <= SIZE; j++) row[j] = j;
  for (int i = 0; i < SIZE; i++) {
    int32_t diagonal = row[0];
    row[0] = i + 1;
    for (int j = 1; j <= SIZE; j++) {
      int32_t replaced = diagonal + (a[i] != b[j - 1]);
      diagonal = row[j];
      row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
    }
  }
  return row[SIZE];
}

static int32_t common_subsequence(void) {
  memset(row, 0, sizeof row);
  for (int i = 0; i < SIZE; i++) {
    int32_t diagonal = 0;
    for (int j = 1; j <= SIZE; j++) {
      int32_t above = row[j];
      row[j] = a[i] == b[j - 1] ? diagonal + 1 : most(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row[SIZE];
}

static int32_t local_alignment(void) {
  int32_t best = 0;
  for (int j = 0; j <= SIZE; j++) row[j] = 0, gaps[j] = -1000000;
  for (int i = 0; i < SIZE; i++) {
    int32_t diagonal = 0, gap = -1000000;
    for (int j = 1; j <= SIZE; j++) {
      gaps[j] = most(gaps[j] - 1, row[j] - 5);
      gap = most(gap - 1, row[j - 1] - 5);
      int32_t matched = diagonal + (a[i] == b[j - 1] ? 3 : -2);
      diagonal = row[j];
      row[j] = most(0, most(matched, most(gap, gaps[j])));
      best = most(best, row[j]);
    }
  }
  return best;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(15);
  for (int i = 0; i < SIZE; i++) a[i] = (uint8_t)random_below(4);
  for (int round = 0; round < n; round++) {
    /* The second is the first with changes. */
    int from = 0;
    for (int i = 0; i < SIZE; i++) {
      uint32_t kind = random_below(10);
      if (kind == 0) from++;
      b[i] = kind == 1 || from >= SIZE ? (uint8_t)random_below(4) : a[from++];
    }
    hash = mix(hash, (uint64_t)edit_distance());
    hash = mix(hash, (uint64_t)common_subsequence());
    hash = mix(hash, (uint64_t)local_alignment());
    a[random_below(SIZE)] = (uint8_t)random_below(4);
  }
  return checksum(hash);
}
