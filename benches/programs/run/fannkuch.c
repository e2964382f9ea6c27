/* Flips the beginnings of all permutations of n numbers until 1 comes first: small arrays, reversed. */
#include "program.h"

enum { MAX_SIZE = 12 };

static int count_flips(const uint8_t *permutation, int size) {
  uint8_t p[MAX_SIZE];
  int flips = 0;
  for (int i = 0; i < size; i++) p[i] = permutation[i];
  for (int first; (first = p[0]) != 0; flips++)
    for (int low = 0, high = first; low < high; low++, high--) {
      uint8_t swapped = p[low];
      p[low] = p[high];
      p[high] = swapped;
    }
  return flips;
}

int64_t run(int32_t n) {
  uint8_t permutation[MAX_SIZE];
  int rotations[MAX_SIZE] = {0}, most = 0;
  int64_t sum = 0;
  if (n < 2 || n > MAX_SIZE) return -1;
  for (int i = 0; i < n; i++) permutation[i] = (uint8_t)i;
  for (int64_t index = 0;; index++) {
    int flips = count_flips(permutation, n);
    if (flips > most) most = flips;
    sum += index % 2 ? -flips : flips;
    /* The next permutation: beginnings are rotated, a longer one each time that a shorter one has been all the way round. */
    int length = 2;
    for (;; length++) {
      if (length > n) return checksum(mix(mix(0, (uint64_t)sum), (uint64_t)most));
      uint8_t first = permutation[0];
      for (int i = 1; i < length; i++) permutation[i - 1] = permutation[i];
      permutation[length - 1] = first;
      if (++rotations[length - 1] < length) break;
      rotations[length - 1] = 0;
    }
  }
}
