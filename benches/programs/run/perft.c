/* Counts the moves of chess from two positions to a depth of n and n - 1: generating, making and taking back moves, with all of the
 * rules. */
#include "program.h"

/* A square is 16 * rank + file, so that squares off the board have a bit of 0x88. */
enum { EMPTY, PAWN, KNIGHT, BISHOP, ROOK, QUEEN, KING, PIECE = 7, BLACK = 8 };
enum { NO_SQUARE = 0x7f };

/* Rights to castle, as bits: white's king's side, queen's side, black's. */
typedef struct {
  uint8_t squares[128], kings[2], rights, en_passant, side; /* side: 0 or BLACK */
} Board;

typedef struct {
  uint8_t from, to, promoted, captured_at; /* captured_at: where the captured piece stood */
} Move;

static const int8_t knight_steps[] = {33, 31, 18, 14, -14, -18, -31, -33};
static const int8_t king_steps[] = {16, 1, -1, -16, 17, 15, -15, -17}; /* straight, then diagonal */

static inline bool on_board(int square) { return !(square & 0x88); }

static bool attacked_along(const Board *b, int square, int step, int attacker, int queen) {
  for (int at = square + step; on_board(at); at += step)
    if (b->squares[at]) return b->squares[at] == attacker || b->squares[at] == queen;
  return false;
}

static bool attacked(const Board *b, int square, int by) {
  int forward = by ? -16 : 16;
  for (int side = -1; side <= 1; side += 2) {
    int from = square - forward + side;
    if (on_board(from) && b->squares[from] == (PAWN | by)) return true;
  }
  for (int i = 0; i < 8; i++) {
    int knight = square + knight_steps[i], king = square + king_steps[i];
    if (on_board(knight) && b->squares[knight] == (KNIGHT | by)) return true;
    if (on_board(king) && b->squares[king] == (KING | by)) return true;
    if (attacked_along(b, square, king_steps[i], (i < 4 ? ROOK : BISHOP) | by, QUEEN | by)) return true;
  }
  return false;
}

static inline Move *add(Move *m, int from, int to) {
  *m = (Move){(uint8_t)from, (uint8_t)to, EMPTY, (uint8_t)to};
  return m + 1;
}

static Move *add_pawn_move(Move *m, int from, int to) {
  if (to >> 4 != 0 && to >> 4 != 7) return add(m, from, to);
  for (int piece = KNIGHT; piece <= QUEEN; piece++) {
    m = add(m, from, to);
    m[-1].promoted = (uint8_t)piece;
  }
  return m;
}

static Move *pawn_moves(const Board *b, int from, Move *m) {
  int forward = b->side ? -16 : 16, home = b->side ? 6 : 1;
  if (!b->squares[from + forward]) {
    m = add_pawn_move(m, from, from + forward);
    if (from >> 4 == home && !b->squares[from + 2 * forward]) m = add(m, from, from + 2 * forward);
  }
  for (int side = -1; side <= 1; side += 2) {
    int to = from + forward + side;
    if (!on_board(to)) continue;
    if (b->squares[to] && (b->squares[to] & BLACK) != b->side) m = add_pawn_move(m, from, to);
    if (to == b->en_passant) {
      m = add(m, from, to);
      m[-1].captured_at = (uint8_t)(to - forward);
    }
  }
  return m;
}

static Move *castling(const Board *b, Move *m) {
  int king = b->kings[b->side >> 3], rights = b->rights >> (b->side ? 2 : 0), enemy = b->side ^ BLACK;
  if (!(rights & 3) || attacked(b, king, enemy)) return m;
  if (rights & 1 && !b->squares[king + 1] && !b->squares[king + 2] && !attacked(b, king + 1, enemy)) m = add(m, king, king + 2);
  if (rights & 2 && !b->squares[king - 1] && !b->squares[king - 2] && !b->squares[king - 3] && !attacked(b, king - 1, enemy))
    m = add(m, king, king - 2);
  return m;
}

static Move *piece_moves(const Board *b, int from, int piece, Move *m) {
  const int8_t *steps = piece == KNIGHT ? knight_steps : king_steps;
  int first = piece == BISHOP ? 4 : 0, end = piece == ROOK ? 4 : 8;
  bool slides = piece != KNIGHT && piece != KING;
  for (int i = first; i < end; i++)
    for (int to = from + steps[i]; on_board(to); to += steps[i]) {
      uint8_t there = b->squares[to];
      if (!there || (there & BLACK) != b->side) m = add(m, from, to);
      if (there || !slides) break;
    }
  return m;
}

/* All moves, also those that leave the king attacked. */
static Move *all_moves(const Board *b, Move *m) {
  for (int from = 0; from < 128; from = on_board(from + 1) ? from + 1 : from + 9) {
    uint8_t piece = b->squares[from];
    if (!piece || (piece & BLACK) != b->side) continue;
    m = (piece & PIECE) == PAWN ? pawn_moves(b, from, m) : piece_moves(b, from, piece & PIECE, m);
  }
  return castling(b, m);
}

/* Which rights are lost when something moves from or to a square. */
static uint8_t rights_of(int square) {
  switch (square) {
    case 0x07: return 1;
    case 0x00: return 2;
    case 0x04: return 3;
    case 0x77: return 4;
    case 0x70: return 8;
    case 0x74: return 12;
    default: return 0;
  }
}

static void move_rook(Board *b, int king_to) {
  int corner = (king_to & 7) == 6 ? king_to + 1 : king_to - 2, beside = (king_to & 7) == 6 ? king_to - 1 : king_to + 1;
  uint8_t rook = b->squares[corner];
  b->squares[corner] = b->squares[beside];
  b->squares[beside] = rook;
}

static bool castles(const Board *b, Move m) {
  return (b->squares[m.to] & PIECE) == KING && (m.to - m.from == 2 || m.from - m.to == 2);
}

/* What is needed to take a move back. */
typedef struct {
  uint8_t captured, rights, en_passant;
} Undo;

static Undo make(Board *b, Move m) {
  uint8_t piece = b->squares[m.from];
  Undo undo = {b->squares[m.captured_at], b->rights, b->en_passant};
  b->squares[m.captured_at] = EMPTY;
  b->squares[m.from] = EMPTY;
  b->squares[m.to] = m.promoted ? m.promoted | b->side : piece;
  b->rights &= (uint8_t)~(rights_of(m.from) | rights_of(m.to));
  b->en_passant = NO_SQUARE;
  if ((piece & PIECE) == KING) b->kings[b->side >> 3] = m.to;
  if ((piece & PIECE) == PAWN && (m.to ^ m.from) == 0x20) b->en_passant = (uint8_t)((m.from + m.to) / 2);
  if (castles(b, m)) move_rook(b, m.to);
  b->side ^= BLACK;
  return undo;
}

static void take_back(Board *b, Move m, Undo undo) {
  b->side ^= BLACK;
  b->rights = undo.rights;
  b->en_passant = undo.en_passant;
  if (castles(b, m)) {
    /* The corner is empty, so that swapping puts the rook back. */
    move_rook(b, m.to);
  }
  uint8_t piece = m.promoted ? PAWN | b->side : b->squares[m.to];
  b->squares[m.to] = EMPTY;
  b->squares[m.captured_at] = undo.captured;
  b->squares[m.from] = piece;
  if ((piece & PIECE) == KING) b->kings[b->side >> 3] = m.from;
}

static uint64_t count_moves(Board *b, int depth) {
  Move moves[256], *end = all_moves(b, moves);
  uint64_t count = 0;
  for (Move *m = moves; m < end; m++) {
    Undo undo = make(b, *m);
    uint8_t mover = b->side ^ BLACK;
    if (!attacked(b, b->kings[mover >> 3], b->side)) count += depth <= 1 ? 1 : count_moves(b, depth - 1);
    take_back(b, *m, undo);
  }
  return count;
}

/* From the highest rank to the lowest, as in Forsyth-Edwards notation. White moves, and all may castle. */
static void set_up(Board *b, const char *position) {
  memset(b, 0, sizeof *b);
  int square = 0x70;
  for (; *position; position++) {
    char c = *position;
    if (c == '/') square = (square & 0x70) - 16;
    else if (c <= '8') square += c - '0';
    else {
      static const char letters[] = " pnbrqk";
      int piece = PAWN, side = c >= 'a' ? BLACK : 0;
      while (letters[piece] != (c | 32)) piece++;
      if (piece == KING) b->kings[side >> 3] = (uint8_t)square;
      b->squares[square++] = (uint8_t)(piece | side);
    }
  }
  b->rights = 15;
  b->en_passant = NO_SQUARE;
}

int64_t run(int32_t n) {
  static const uint64_t known[] = {1, 20, 400, 8902, 197281, 4865609}, known_middle[] = {1, 48, 2039, 97862, 4085603};
  Board board;
  if (n < 1 || n > 5) return -1;
  set_up(&board, "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR");
  uint64_t opening = count_moves(&board, n), middle = 1;
  set_up(&board, "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R");
  if (n > 1) middle = count_moves(&board, n - 1);
  if (opening != known[n] || middle != known_middle[n - 1]) return -2;
  return checksum(mix(mix(0, opening), middle));
}
