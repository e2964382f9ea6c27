/* The loop of an interpreter: a stack machine with a `switch`, which runs a sieve, a recursive function and nested loops. */
#include "program.h"

enum { CELLS = 1 << 14, STACK = 1 << 10 };

typedef enum { PUSH, POP, GET, SET, LOAD, STORE, ADD, SUB, MUL, REM, LESS, JUMP, JUMP_IF_ZERO, CALL, RETURN, HALT } Op;

typedef struct {
  uint8_t op;
  int32_t operand;
} Instruction;

static Instruction code[256];
static int code_size;
static int64_t cells[CELLS], stack[STACK];
static uint64_t executed;

static int emit(Op op, int32_t operand) {
  code[code_size] = (Instruction){(uint8_t)op, operand};
  return code_size++;
}

/* Locals are counted from the frame, which begins with the arguments. `CALL` has the target and, in the low four bits, how many
 * arguments there are. */
static int64_t interpret(int pc) {
  int64_t *top = stack - 1, *frame = stack;
  struct {
    int pc;
    int64_t *frame;
  } calls[64];
  int depth = 0;
  for (;;) {
    Instruction i = code[pc++];
    executed++;
    switch ((Op)i.op) {
      case PUSH: *++top = i.operand; break;
      case POP: top--; break;
      case GET: *++top = frame[i.operand]; break;
      case SET: frame[i.operand] = *top--; break;
      case LOAD: *top = cells[*top & (CELLS - 1)]; break;
      case STORE:
        cells[top[-1] & (CELLS - 1)] = *top;
        top -= 2;
        break;
      case ADD: top--, top[0] += top[1]; break;
      case SUB: top--, top[0] -= top[1]; break;
      case MUL: top--, top[0] = (int64_t)((uint64_t)top[0] * (uint64_t)top[1]); break;
      case REM: top--, top[0] = top[1] ? top[0] % top[1] : 0; break;
      case LESS: top--, top[0] = top[0] < top[1]; break;
      case JUMP: pc = i.operand; break;
      case JUMP_IF_ZERO:
        if (*top-- == 0) pc = i.operand;
        break;
      case CALL:
        calls[depth].pc = pc;
        calls[depth++].frame = frame;
        frame = top + 1 - (i.operand & 15);
        pc = i.operand >> 4;
        break;
      case RETURN:
        *frame = *top;
        top = frame;
        pc = calls[--depth].pc;
        frame = calls[depth].frame;
        break;
      case HALT: return *top;
    }
  }
}

/* fibonacci(n) = n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2) */
static int assemble_fibonacci(void) {
  int start = code_size;
  emit(GET, 0), emit(PUSH, 2), emit(LESS, 0);
  int otherwise = emit(JUMP_IF_ZERO, 0);
  emit(GET, 0), emit(RETURN, 0);
  code[otherwise].operand = code_size;
  emit(GET, 0), emit(PUSH, 1), emit(SUB, 0), emit(CALL, start << 4 | 1);
  emit(GET, 0), emit(PUSH, 2), emit(SUB, 0), emit(CALL, start << 4 | 1);
  emit(ADD, 0), emit(RETURN, 0);
  return start;
}

/* for (local = from; local < limit; local += step): what stands between `loop_begin` and `loop_end`. The step is a local, or 1. */
typedef struct {
  int start, leave;
} Loop;

static Loop loop_begin(int local, int limit) {
  Loop loop = {code_size, 0};
  emit(GET, local), emit(PUSH, limit), emit(LESS, 0);
  loop.leave = emit(JUMP_IF_ZERO, 0);
  return loop;
}

static void loop_end(Loop loop, int local, int step) {
  emit(GET, local);
  if (step < 0) emit(PUSH, 1);
  else emit(GET, step);
  emit(ADD, 0), emit(SET, local), emit(JUMP, loop.start);
  code[loop.leave].operand = code_size;
}

/* Counts primes. Locals: 0 the candidate, 1 the multiple, 2 the count. */
static int assemble_sieve(void) {
  int start = code_size;
  emit(PUSH, 2), emit(PUSH, 0), emit(PUSH, 0);
  Loop clear = loop_begin(1, CELLS);
  emit(GET, 1), emit(PUSH, 0), emit(STORE, 0);
  loop_end(clear, 1, -1);
  Loop candidates = loop_begin(0, CELLS);
  emit(PUSH, 1), emit(GET, 0), emit(LOAD, 0), emit(SUB, 0);
  int composite = emit(JUMP_IF_ZERO, 0);
  emit(GET, 2), emit(PUSH, 1), emit(ADD, 0), emit(SET, 2);
  emit(GET, 0), emit(GET, 0), emit(ADD, 0), emit(SET, 1);
  Loop multiples = loop_begin(1, CELLS);
  emit(GET, 1), emit(PUSH, 1), emit(STORE, 0);
  loop_end(multiples, 1, 0);
  code[composite].operand = code_size;
  loop_end(candidates, 0, -1);
  emit(GET, 2), emit(HALT, 0);
  return start;
}

/* Sums products. Locals: 0 and 1 the counters, 2 the sum. */
static int assemble_products(void) {
  int start = code_size;
  emit(PUSH, 0), emit(PUSH, 0), emit(PUSH, 0);
  Loop outer = loop_begin(0, 300);
  emit(PUSH, 0), emit(SET, 1);
  Loop inner = loop_begin(1, 300);
  emit(GET, 2), emit(GET, 0), emit(GET, 1), emit(MUL, 0), emit(ADD, 0), emit(PUSH, 1000003), emit(REM, 0), emit(SET, 2);
  loop_end(inner, 1, -1);
  loop_end(outer, 0, -1);
  emit(GET, 2), emit(HALT, 0);
  return start;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  code_size = 0;
  executed = 0;
  int fibonacci = assemble_fibonacci();
  int sieve = assemble_sieve(), products = assemble_products();
  int start = emit(PUSH, 22);
  emit(CALL, fibonacci << 4 | 1), emit(HALT, 0);
  for (int round = 0; round < n; round++) {
    if (interpret(start) != 17711 || interpret(sieve) != 1900) return -1;
    /* What the sum begins with. */
    code[products + 2].operand = round;
    hash = mix(hash, (uint64_t)interpret(products));
  }
  return checksum(mix(hash, executed));
}
