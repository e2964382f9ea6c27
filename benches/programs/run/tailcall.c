/* Machines made of tail calls: a recogniser of numbers whose states are functions, and an interpreter whose instructions are, each of
 * which goes on to the next. */
#include "program.h"

#define TAIL __attribute__((musttail)) return

enum { TEXT = 1 << 16 };

static char text[TEXT + 1];

typedef struct {
  uint64_t hash;
  uint32_t integers, decimals, words;
} Counts;

/* The states. `value` is the number so far. The text ends with a zero. */
typedef void State(const char *at, uint64_t value, Counts *counts);

static State between, integer, decimal, word;

static void between(const char *at, uint64_t value, Counts *counts) {
  char c = *at;
  if (c == 0) return;
  if (c >= '0' && c <= '9') TAIL integer(at, 0, counts);
  if (c >= 'a' && c <= 'z') TAIL word(at, 0, counts);
  TAIL between(at + 1, value, counts);
}

static void integer(const char *at, uint64_t value, Counts *counts) {
  char c = *at;
  if (c >= '0' && c <= '9') TAIL integer(at + 1, value * 10 + (uint64_t)(c - '0'), counts);
  if (c == '.') TAIL decimal(at + 1, value, counts);
  counts->integers++;
  counts->hash = mix(counts->hash, value);
  TAIL between(at, 0, counts);
}

static void decimal(const char *at, uint64_t value, Counts *counts) {
  char c = *at;
  if (c >= '0' && c <= '9') TAIL decimal(at + 1, value * 10 + (uint64_t)(c - '0'), counts);
  counts->decimals++;
  counts->hash = mix(counts->hash, value);
  TAIL between(at, 0, counts);
}

static void word(const char *at, uint64_t value, Counts *counts) {
  char c = *at;
  if (c >= 'a' && c <= 'z') TAIL word(at + 1, value * 31 + (uint64_t)c, counts);
  counts->words++;
  counts->hash = mix(counts->hash, value);
  TAIL between(at, 0, counts);
}

static void make_text(void) {
  for (int i = 0; i < TEXT; i++) text[i] = "0123456789.....      ,,abcdefghijklmnopqrstuvwxyz"[random_below(49)];
  text[TEXT] = 0;
}

/* The interpreter: registers are arguments, an instruction holds its function. */
typedef struct Instruction Instruction;
typedef uint64_t Execute(const Instruction *at, uint64_t a, uint64_t b, uint64_t count);

struct Instruction {
  Execute *execute;
  int64_t operand;
};

#define NEXT(target, a, b, count) TAIL (target)->execute((target), a, b, count)

static uint64_t add(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) { NEXT(at + 1, a + b, b, count); }

static uint64_t add_constant(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  NEXT(at + 1, a + (uint64_t)at->operand, b, count);
}

static uint64_t multiply(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  NEXT(at + 1, a * (uint64_t)at->operand, b, count);
}

static uint64_t swap(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) { NEXT(at + 1, b, a, count); }

static uint64_t exclusive_or_shifted(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  NEXT(at + 1, a ^ b >> at->operand, b, count);
}

static uint64_t skip_if_odd(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  const Instruction *next = at + 1 + (a & 1);
  NEXT(next, a, b, count);
}

static uint64_t repeat(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  if (count) NEXT(at + at->operand, a, b, count - 1);
  NEXT(at + 1, a, b, count);
}

static uint64_t halt(const Instruction *at, uint64_t a, uint64_t b, uint64_t count) {
  (void)at;
  return a ^ b ^ count;
}

static const Instruction program[] = {
    {multiply, 0x5851f42d4c957f2d}, {add_constant, 12345}, {swap, 0},  {exclusive_or_shifted, 7}, {skip_if_odd, 0},
    {add_constant, 977},            {add, 0},              {skip_if_odd, 0}, {swap, 0},           {repeat, -9},
    {halt, 0},
};

int64_t run(int32_t n) {
  Counts counts = {0};
  uint64_t hash = 1;
  random_seed(12);
  make_text();
  for (int round = 0; round < n; round++) {
    between(text, 0, &counts);
    hash = mix(hash, program->execute(program, hash, counts.hash, 20000));
    text[random_below(TEXT)] = (char)('0' + random_below(10));
  }
  hash = mix(hash, counts.hash);
  return checksum(mix(mix(mix(hash, counts.integers), counts.decimals), counts.words));
}
