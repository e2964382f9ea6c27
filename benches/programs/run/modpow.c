/* Powers of numbers of 1024 bits modulo another, as RSA and Diffie-Hellman take them, by Montgomery multiplication with words of 32
 * bits. */
#include "program.h"

enum { WORDS = 32 };

typedef struct {
  uint32_t w[WORDS];
} Number;

static Number modulus;
static uint32_t inverse; /* -1 / modulus, modulo 2^32 */

static bool at_least(const Number *a, const Number *b) {
  for (int i = WORDS - 1; i >= 0; i--)
    if (a->w[i] != b->w[i]) return a->w[i] > b->w[i];
  return true;
}

static void subtract(Number *a, const Number *b) {
  uint64_t borrow = 0;
  for (int i = 0; i < WORDS; i++) {
    uint64_t difference = (uint64_t)a->w[i] - b->w[i] - borrow;
    a->w[i] = (uint32_t)difference;
    borrow = difference >> 63;
  }
}

/* a * b / 2^1024, modulo the modulus. */
static Number multiply(const Number *a, const Number *b) {
  uint32_t t[WORDS + 2] = {0};
  for (int i = 0; i < WORDS; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < WORDS; j++) {
      carry += (uint64_t)a->w[i] * b->w[j] + t[j];
      t[j] = (uint32_t)carry;
      carry >>= 32;
    }
    carry += t[WORDS];
    t[WORDS] = (uint32_t)carry;
    t[WORDS + 1] = (uint32_t)(carry >> 32);
    uint32_t factor = t[0] * inverse;
    carry = ((uint64_t)factor * modulus.w[0] + t[0]) >> 32;
    for (int j = 1; j < WORDS; j++) {
      carry += (uint64_t)factor * modulus.w[j] + t[j];
      t[j - 1] = (uint32_t)carry;
      carry >>= 32;
    }
    carry += t[WORDS];
    t[WORDS - 1] = (uint32_t)carry;
    t[WORDS] = t[WORDS + 1] + (uint32_t)(carry >> 32);
  }
  Number result;
  memcpy(result.w, t, sizeof result.w);
  if (t[WORDS] || at_least(&result, &modulus)) subtract(&result, &modulus);
  return result;
}

/* 2^bits modulo the modulus. */
static Number power_of_two(int bits) {
  Number x = {{1}};
  for (int i = 0; i < bits; i++) {
    uint32_t carry = 0;
    for (int j = 0; j < WORDS; j++) {
      uint32_t word = x.w[j];
      x.w[j] = word << 1 | carry;
      carry = word >> 31;
    }
    if (carry || at_least(&x, &modulus)) subtract(&x, &modulus);
  }
  return x;
}

/* Four bits of the exponent at a time. */
static Number power(const Number *base, const Number *exponent) {
  Number squared = power_of_two(2 * 32 * WORDS), one = {{1}}, powers[16];
  powers[0] = multiply(&one, &squared);
  powers[1] = multiply(base, &squared);
  for (int i = 2; i < 16; i++) powers[i] = multiply(&powers[i - 1], &powers[1]);
  Number result = powers[0];
  for (int bit = 32 * WORDS - 4; bit >= 0; bit -= 4) {
    for (int i = 0; i < 4; i++) result = multiply(&result, &result);
    result = multiply(&result, &powers[exponent->w[bit / 32] >> bit % 32 & 15]);
  }
  return multiply(&result, &one);
}

static Number random_number(void) {
  Number x;
  for (int i = 0; i < WORDS; i++) x.w[i] = random_u32();
  x.w[WORDS - 1] >>= 1;
  return x;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(13);
  for (int round = 0; round < n; round++) {
    modulus = random_number();
    modulus.w[0] |= 1;
    modulus.w[WORDS - 1] |= 1u << 31;
    inverse = 1;
    for (int i = 0; i < 5; i++) inverse *= 2 - modulus.w[0] * inverse;
    inverse = -inverse;
    Number base = random_number(), a = random_number(), b = random_number();
    Number base_a = power(&base, &a), base_b = power(&base, &b);
    Number ab = power(&base_a, &b), ba = power(&base_b, &a);
    if (memcmp(&ab, &ba, sizeof ab)) return -1;
    hash = mix_bytes(hash, &ab, sizeof ab);
  }
  return checksum(hash);
}
