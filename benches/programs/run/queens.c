/* Counts the ways to place n queens on a board: recursion over bits. */
#include "program.h"

static int64_t place(uint32_t free_columns, uint32_t left, uint32_t right) {
  if (!free_columns) return 1;
  int64_t count = 0;
  for (uint32_t possible = free_columns & ~(left | right); possible; possible &= possible - 1) {
    uint32_t queen = possible & -possible;
    count += place(free_columns ^ queen, (left | queen) << 1, (right | queen) >> 1);
  }
  return count;
}

int64_t run(int32_t n) { return n < 1 || n > 20 ? -1 : place((1u << n) - 1, 0, 0); }
