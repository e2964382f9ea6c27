/* SipHash-2-4 of many short keys, as hash tables use it. */
#include "program.h"

static inline uint64_t rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

typedef struct {
  uint64_t a, b, c, d;
} State;

static inline void sip_round(State *s) {
  s->a += s->b, s->b = rotate_left(s->b, 13) ^ s->a, s->a = rotate_left(s->a, 32);
  s->c += s->d, s->d = rotate_left(s->d, 16) ^ s->c;
  s->a += s->d, s->d = rotate_left(s->d, 21) ^ s->a;
  s->c += s->b, s->b = rotate_left(s->b, 17) ^ s->c, s->c = rotate_left(s->c, 32);
}

static inline void absorb(State *s, uint64_t word) {
  s->d ^= word;
  sip_round(s);
  sip_round(s);
  s->a ^= word;
}

static uint64_t siphash(uint64_t key0, uint64_t key1, const uint8_t *data, size_t size) {
  State s = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du, key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
  size_t whole = size / 8 * 8;
  for (size_t at = 0; at < whole; at += 8) {
    uint64_t word;
    memcpy(&word, data + at, 8);
    absorb(&s, word);
  }
  uint64_t last = (uint64_t)size << 56;
  for (size_t i = 0; i < size - whole; i++) last |= (uint64_t)data[whole + i] << (8 * i);
  absorb(&s, last);
  s.c ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(&s);
  return s.a ^ s.b ^ s.c ^ s.d;
}

static uint8_t text[1 << 14];

int64_t run(int32_t n) {
  for (int i = 0; i < 15; i++) text[i] = (uint8_t)i;
  if (siphash(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, text, 15) != 0xa129ca6149be45e5u) return -1;
  random_seed(3);
  for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)random_u32();
  uint64_t hash = 0;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < 1000; j++) {
      size_t start = hash % (sizeof text - 64), size = 1 + (hash >> 32) % 48;
      hash = siphash(hash, (uint64_t)i, text + start, size);
    }
  }
  return checksum(hash);
}
