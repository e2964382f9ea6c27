/* ChaCha20 over 64 KiB, block after block. `chacha20_simd.c` does the same with vectors. */
#include "program.h"

enum { BLOCKS = 1024 };

static uint32_t data[BLOCKS][16];

static inline uint32_t rotate_left(uint32_t x, int by) { return x << by | x >> (32 - by); }

static inline void quarter_round(uint32_t *s, int a, int b, int c, int d) {
  s[a] += s[b], s[d] = rotate_left(s[d] ^ s[a], 16);
  s[c] += s[d], s[b] = rotate_left(s[b] ^ s[c], 12);
  s[a] += s[b], s[d] = rotate_left(s[d] ^ s[a], 8);
  s[c] += s[d], s[b] = rotate_left(s[b] ^ s[c], 7);
}

static void key_stream(const uint32_t state[16], uint32_t out[16]) {
  uint32_t s[16];
  memcpy(s, state, sizeof s);
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
  for (int i = 0; i < 16; i++) out[i] = s[i] + state[i];
}

int64_t run(int32_t n) {
  uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, stream[16];
  for (uint32_t i = 0; i < 8; i++) state[4 + i] = 0x03020100 + 0x04040404 * i;
  state[12] = 1, state[13] = 0x09000000, state[14] = 0x4a000000;
  key_stream(state, stream);
  /* The example of RFC 8439. */
  if (stream[0] != 0xe4e7f110 || stream[15] != 0x4e3c50a2) return -1;
  random_seed(21);
  for (int block = 0; block < BLOCKS; block++)
    for (int i = 0; i < 16; i++) data[block][i] = random_u32();
  for (int round = 0; round < n; round++) {
    state[13] = (uint32_t)round;
    for (uint32_t block = 0; block < BLOCKS; block++) {
      state[12] = block;
      key_stream(state, stream);
      for (int i = 0; i < 16; i++) data[block][i] ^= stream[i];
    }
  }
  return checksum(mix_bytes(0, data, sizeof data));
}
