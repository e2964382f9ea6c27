/* The game of life on a torus, 64 cells in a word: additions made of `and` and `xor`. */
#include "program.h"

enum { ROWS = 512, WORDS = 8 };

static uint64_t now[ROWS][WORDS], next[ROWS][WORDS];

/* The sum of three bits in each place. */
typedef struct {
  uint64_t low, high;
} Sum;

static inline Sum add(uint64_t a, uint64_t b, uint64_t c) { return (Sum){a ^ b ^ c, (a & b) | (c & (a ^ b))}; }

static inline uint64_t left_of(const uint64_t *row, int word) { return row[word] << 1 | row[(word + WORDS - 1) % WORDS] >> 63; }

static inline uint64_t right_of(const uint64_t *row, int word) { return row[word] >> 1 | row[(word + 1) % WORDS] << 63; }

static void step(void) {
  for (int r = 0; r < ROWS; r++) {
    const uint64_t *above = now[(r + ROWS - 1) % ROWS], *row = now[r], *below = now[(r + 1) % ROWS];
    for (int w = 0; w < WORDS; w++) {
      Sum a = add(left_of(above, w), above[w], right_of(above, w));
      Sum b = add(left_of(below, w), below[w], right_of(below, w));
      Sum c = {left_of(row, w) ^ right_of(row, w), left_of(row, w) & right_of(row, w)};
      Sum ones = add(a.low, b.low, c.low), twos = add(a.high, b.high, c.high);
      /* Two or three neighbours: exactly one of the numbers of weight two, and none of weight four. */
      uint64_t one_two = (twos.low ^ ones.high) & ~(twos.high | (twos.low & ones.high));
      next[r][w] = one_two & (ones.low | row[w]);
    }
  }
  memcpy(now, next, sizeof now);
}

int64_t run(int32_t n) {
  random_seed(23);
  for (int r = 0; r < ROWS; r++)
    for (int w = 0; w < WORDS; w++) now[r][w] = (uint64_t)random_u32() << 32 | random_u32();
  uint64_t hash = 0;
  for (int i = 0; i < n; i++) {
    step();
    hash = mix(hash, now[i % ROWS][0]);
  }
  return checksum(mix_bytes(hash, now, sizeof now));
}
