/* The hash function XXH64 over 256 KiB, from changing starts. Multiplications and rotations of 64 bits, four at a time. */
#include "program.h"

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x85ebca77c2b2ae63u
#define P5 0x27d4eb2f165667c5u

static inline uint64_t rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline uint64_t load64(const uint8_t *at) {
  uint64_t word;
  memcpy(&word, at, 8);
  return word;
}

static inline uint64_t load32(const uint8_t *at) {
  uint32_t word;
  memcpy(&word, at, 4);
  return word;
}

static inline uint64_t round_of(uint64_t lane, uint64_t input) { return rotate_left(lane + input * P2, 31) * P1; }

static uint64_t xxh64(const uint8_t *at, size_t size, uint64_t seed) {
  const uint8_t *end = at + size;
  uint64_t hash;
  if (size >= 32) {
    uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
    for (; end - at >= 32; at += 32) {
      a = round_of(a, load64(at));
      b = round_of(b, load64(at + 8));
      c = round_of(c, load64(at + 16));
      d = round_of(d, load64(at + 24));
    }
    hash = rotate_left(a, 1) + rotate_left(b, 7) + rotate_left(c, 12) + rotate_left(d, 18);
    hash = (hash ^ round_of(0, a)) * P1 + P4;
    hash = (hash ^ round_of(0, b)) * P1 + P4;
    hash = (hash ^ round_of(0, c)) * P1 + P4;
    hash = (hash ^ round_of(0, d)) * P1 + P4;
  } else {
    hash = seed + P5;
  }
  hash += size;
  for (; end - at >= 8; at += 8) hash = rotate_left(hash ^ round_of(0, load64(at)), 27) * P1 + P4;
  if (end - at >= 4) {
    hash = rotate_left(hash ^ load32(at) * P1, 23) * P2 + P3;
    at += 4;
  }
  for (; at < end; at++) hash = rotate_left(hash ^ *at * P5, 11) * P1;
  hash = (hash ^ hash >> 33) * P2;
  hash = (hash ^ hash >> 29) * P3;
  return hash ^ hash >> 32;
}

static uint8_t data[1 << 18];

int64_t run(int32_t n) {
  if (xxh64(data, 0, 0) != 0xef46db3751d8e999u) return -1;
  random_seed(2);
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)random_u32();
  uint64_t hash = 0;
  for (int i = 0; i < n; i++) {
    size_t start = hash % 4096, size = sizeof data - start - i % 100;
    hash = xxh64(data + start, size, hash);
  }
  return checksum(hash);
}
