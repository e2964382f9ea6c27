/* ChaCha20 over 64 KiB, four blocks at a time, one in each lane of the vectors. It gives what `chacha20.c` gives. */
#include "program.h"

enum { BLOCKS = 1024 };

typedef uint32_t Vector __attribute__((vector_size(16)));

static uint32_t data[BLOCKS][16];

static inline Vector rotate_left(Vector x, int by) { return x << by | x >> (32 - by); }

static inline void quarter_round(Vector *s, int a, int b, int c, int d) {
  s[a] += s[b], s[d] = rotate_left(s[d] ^ s[a], 16);
  s[c] += s[d], s[b] = rotate_left(s[b] ^ s[c], 12);
  s[a] += s[b], s[d] = rotate_left(s[d] ^ s[a], 8);
  s[c] += s[d], s[b] = rotate_left(s[b] ^ s[c], 7);
}

/* The words of four blocks whose counters follow each other; `state` has that of the first. */
static void key_streams(const uint32_t state[16], Vector out[16]) {
  Vector start[16], s[16];
  for (int i = 0; i < 16; i++) start[i] = state[i] - (Vector){0};
  start[12] += (Vector){0, 1, 2, 3};
  memcpy(s, start, sizeof s);
  for (int i = 0; i < 10; i++) {
    quarter_round(s, 0, 4, 8, 12);
    quarter_round(s, 1, 5, 9, 13);
    quarter_round(s, 2, 6, 10, 14);
    quarter_round(s, 3, 7, 11, 15);
    quarter_round(s, 0, 5, 10, 15);
    quarter_round(s, 1, 6, 11, 12);
    quarter_round(s, 2, 7, 8, 13);
    quarter_round(s, 3, 4, 9, 14);
  }
  for (int i = 0; i < 16; i++) out[i] = s[i] + start[i];
}

static inline Vector shuffle_low(Vector a, Vector b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }

static inline Vector shuffle_high(Vector a, Vector b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }

/* Four words of each of the four blocks: turns the lanes back into blocks. */
static void apply(uint32_t (*blocks)[16], const Vector *words, int at) {
  Vector ac_low = shuffle_low(words[0], words[2]), bd_low = shuffle_low(words[1], words[3]);
  Vector ac_high = shuffle_high(words[0], words[2]), bd_high = shuffle_high(words[1], words[3]);
  Vector turned[4] = {shuffle_low(ac_low, bd_low), shuffle_high(ac_low, bd_low), shuffle_low(ac_high, bd_high),
                      shuffle_high(ac_high, bd_high)};
  for (int block = 0; block < 4; block++) {
    Vector there;
    memcpy(&there, blocks[block] + at, sizeof there);
    there ^= turned[block];
    memcpy(blocks[block] + at, &there, sizeof there);
  }
}

int64_t run(int32_t n) {
  uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  Vector stream[16];
  for (uint32_t i = 0; i < 8; i++) state[4 + i] = 0x03020100 + 0x04040404 * i;
  state[12] = 1, state[13] = 0x09000000, state[14] = 0x4a000000;
  key_streams(state, stream);
  /* The example of RFC 8439. */
  if (stream[0][0] != 0xe4e7f110 || stream[15][0] != 0x4e3c50a2) return -1;
  random_seed(21);
  for (int block = 0; block < BLOCKS; block++)
    for (int i = 0; i < 16; i++) data[block][i] = random_u32();
  for (int round = 0; round < n; round++) {
    state[13] = (uint32_t)round;
    for (uint32_t block = 0; block < BLOCKS; block += 4) {
      state[12] = block;
      key_streams(state, stream);
      for (int i = 0; i < 16; i += 4) apply(data + block, stream + i, i);
    }
  }
  return checksum(mix_bytes(0, data, sizeof data));
}
