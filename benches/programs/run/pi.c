/* The digits of pi by Machin's formula: long numbers divided by short ones. */
#include "program.h"

enum { MAX_WORDS = 4096 };

/* Fixed point: the first word is whole, the others are the fraction, the highest first. */
typedef uint32_t Number[MAX_WORDS];

static Number pi, term, quotient;
static int words;

/* to = from / divisor; words before `start` are zero. Returns the first word that is not. */
static int divide(uint32_t *to, const uint32_t *from, uint32_t divisor, int start) {
  uint64_t rest = 0;
  int first = words;
  for (int i = start; i < words; i++) {
    rest = rest << 32 | from[i];
    to[i] = (uint32_t)(rest / divisor);
    rest %= divisor;
    if (to[i] && first == words) first = i;
  }
  return first;
}

static void add(uint32_t *to, const uint32_t *from, int start) {
  uint64_t carry = 0;
  for (int i = words - 1; i >= 0 && (i >= start || carry); i--) {
    carry += (uint64_t)to[i] + (i >= start ? from[i] : 0);
    to[i] = (uint32_t)carry;
    carry >>= 32;
  }
}

static void subtract(uint32_t *to, const uint32_t *from, int start) {
  uint64_t borrow = 0;
  for (int i = words - 1; i >= 0 && (i >= start || borrow); i--) {
    uint64_t difference = (uint64_t)to[i] - (i >= start ? from[i] : 0) - borrow;
    to[i] = (uint32_t)difference;
    borrow = difference >> 63;
  }
}

/* pi += sign * factor * arctan(1 / x) = sign * factor * (1/x - 1/3x^3 + 1/5x^5 - ...) */
static void add_arctan(uint32_t factor, uint32_t x, bool negative) {
  memset(term, 0, sizeof term);
  term[0] = factor;
  int start = divide(term, term, x, 0);
  for (uint32_t k = 1; start < words; k += 2) {
    divide(quotient, term, k, start);
    if (negative) subtract(pi, quotient, start);
    else add(pi, quotient, start);
    negative = !negative;
    start = divide(term, term, x * x, start);
  }
}

int64_t run(int32_t n) {
  /* 9 digits need 29.9 bits; some more words take the errors of rounding. */
  words = n / 9 + 4;
  if (words > MAX_WORDS) return -1;
  memset(pi, 0, sizeof pi);
  add_arctan(16, 5, false);
  add_arctan(4, 239, true);
  if (pi[0] != 3) return -2;
  uint64_t hash = 0;
  for (int digits = 0; digits < n; digits += 9) {
    uint64_t carry = 0;
    pi[0] = 0;
    for (int i = words - 1; i >= 0; i--) {
      carry += (uint64_t)pi[i] * 1000000000;
      pi[i] = (uint32_t)carry;
      carry >>= 32;
    }
    if (digits == 0 && pi[0] != 141592653) return -3;
    hash = mix(hash, pi[0]);
  }
  return checksum(hash);
}
