/* What the programs in C and C++ share: the exported function, random numbers that are the same everywhere, and a checksum. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Most of the programs have no C library. Compilers turn these into instructions, or calls of their own runtime. */
#define memcpy __builtin_memcpy
#define memmove __builtin_memmove
#define memset __builtin_memset
#define memcmp __builtin_memcmp

#ifdef __cplusplus
extern "C" {
#endif

/* Does all of the work, as much as `n` says, from the start at each call. Returns a checksum, or a negative number if a check of the
 * program's own fails. */
EXPORT int64_t run(int32_t n);

#ifdef __cplusplus
}
#endif

static uint64_t random_state;

static inline void random_seed(uint64_t seed) { random_state = seed * 0x9e3779b97f4a7c15u + 1; }

/* A linear congruential generator, whose high bits are good. */
static inline uint32_t random_u32(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

/* Below `limit`. */
static inline uint32_t random_below(uint32_t limit) { return (uint32_t)((uint64_t)random_u32() * limit >> 32); }

/* In [0, 1). */
static inline double random_unit(void) { return random_u32() * 0x1p-32; }

static inline uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0xff51afd7ed558ccdu;
  return hash ^ hash >> 32;
}

static inline uint64_t mix_f64(uint64_t hash, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return mix(hash, bits);
}

static inline uint64_t mix_bytes(uint64_t hash, const void *data, size_t size) {
  const unsigned char *bytes = (const unsigned char *)data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return mix(hash, size);
}

/* What `run` returns: never negative. */
static inline int64_t checksum(uint64_t hash) { return (int64_t)(hash >> 1); }
