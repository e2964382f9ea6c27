/* Makes sudokus: takes away as many digits as can be without a second solution. Backtracking over sets of candidates. */
#include "program.h"

typedef struct {
  uint16_t rows[9], columns[9], boxes[9]; /* the digits not used, as bits */
  uint8_t cells[81];                      /* 0: empty */
} Board;

static int box_of(int cell) { return cell / 27 * 3 + cell % 9 / 3; }

static inline unsigned candidates(const Board *b, int cell) {
  return b->rows[cell / 9] & b->columns[cell % 9] & b->boxes[box_of(cell)];
}

static inline void toggle(Board *b, int cell, int digit) {
  uint16_t bit = (uint16_t)(1 << digit);
  b->rows[cell / 9] ^= bit;
  b->columns[cell % 9] ^= bit;
  b->boxes[box_of(cell)] ^= bit;
}

static uint64_t visited;

/* How many solutions there are, but not more than `limit`. The cell with the fewest candidates is tried first. */
static int solutions(Board *b, int limit) {
  int best = -1, fewest = 10;
  for (int cell = 0; cell < 81 && fewest > 1; cell++) {
    if (b->cells[cell]) continue;
    int count = __builtin_popcount(candidates(b, cell));
    if (count < fewest) fewest = count, best = cell;
  }
  visited++;
  if (best < 0) return 1;
  int found = 0;
  for (unsigned left = candidates(b, best); left && found < limit; left &= left - 1) {
    int digit = __builtin_ctz(left);
    b->cells[best] = (uint8_t)digit;
    toggle(b, best, digit);
    found += solutions(b, limit - found);
    toggle(b, best, digit);
    b->cells[best] = 0;
  }
  return found;
}

static void shuffle(uint8_t *items, uint32_t count) {
  for (uint32_t i = count; i > 1; i--) {
    uint32_t other = random_below(i);
    uint8_t swapped = items[i - 1];
    items[i - 1] = items[other];
    items[other] = swapped;
  }
}

/* A solution: a regular one, with digits, and rows and columns within their bands, in random order. */
static void fill(Board *b) {
  uint8_t digits[9], rows[9], columns[9];
  for (int i = 0; i < 9; i++) digits[i] = (uint8_t)(i + 1), rows[i] = columns[i] = (uint8_t)i;
  shuffle(digits, 9);
  for (int band = 0; band < 9; band += 3) shuffle(rows + band, 3), shuffle(columns + band, 3);
  for (int i = 0; i < 9; i++) b->rows[i] = b->columns[i] = b->boxes[i] = 0x3fe;
  for (int cell = 0; cell < 81; cell++) {
    int row = rows[cell / 9], column = columns[cell % 9];
    b->cells[cell] = digits[(row * 3 + row / 3 + column) % 9];
    toggle(b, cell, b->cells[cell]);
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(17);
  visited = 0;
  for (int round = 0; round < n; round++) {
    Board board;
    uint8_t order[81];
    fill(&board);
    for (int i = 0; i < 81; i++) order[i] = (uint8_t)i;
    shuffle(order, 81);
    for (int i = 0; i < 81; i++) {
      int cell = order[i], digit = board.cells[cell];
      board.cells[cell] = 0;
      toggle(&board, cell, digit);
      if (solutions(&board, 2) == 1) continue;
      board.cells[cell] = (uint8_t)digit;
      toggle(&board, cell, digit);
    }
    hash = mix_bytes(hash, board.cells, 81);
  }
  return checksum(mix(hash, visited));
}
