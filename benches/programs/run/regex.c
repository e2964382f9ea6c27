/* Regular expressions, compiled to instructions and run over a text by a Pike machine: all threads at once, one character at a time,
 * with the positions of groups. */
#include "program.h"

enum { MAX_CODE = 256, GROUPS = 4, SLOTS = 2 * GROUPS, TEXT = 20000 };

typedef enum { CHARACTER, ANY, CLASS, SPLIT, JUMP, SAVE, MATCH } Op;

typedef struct {
  Op op;
  int x, y; /* For SPLIT, JUMP: targets, the preferred first. For CHARACTER: the character. For CLASS: its index. For SAVE: the slot. */
} Instruction;

typedef struct {
  Instruction code[MAX_CODE];
  int size, classes, groups;
  uint32_t class[16][8];
  const char *at;
} Program;

static int emit(Program *p, Op op, int x, int y) {
  p->code[p->size] = (Instruction){op, x, y};
  return p->size++;
}

/* Makes room for an instruction at `at`, and moves the targets behind it. */
static void insert(Program *p, int at, Op op) {
  for (int i = p->size++; i > at; i--) {
    p->code[i] = p->code[i - 1];
    if (p->code[i].op != SPLIT && p->code[i].op != JUMP) continue;
    if (p->code[i].x >= at) p->code[i].x++;
    if (p->code[i].op == SPLIT && p->code[i].y >= at) p->code[i].y++;
  }
  p->code[at] = (Instruction){op, 0, 0};
}

static void parse_alternatives(Program *p);

static void parse_class(Program *p) {
  uint32_t *set = p->class[p->classes];
  memset(set, 0, sizeof p->class[0]);
  bool negated = *p->at == '^';
  if (negated) p->at++;
  while (*p->at != ']') {
    unsigned first = (unsigned char)*p->at++, last = first;
    if (*p->at == '-') {
      last = (unsigned char)p->at[1];
      p->at += 2;
    }
    for (unsigned c = first; c <= last; c++) set[c / 32] |= 1u << c % 32;
  }
  p->at++;
  if (negated)
    for (int i = 0; i < 8; i++) set[i] = ~set[i];
  emit(p, CLASS, p->classes++, 0);
}

static void parse_atom(Program *p) {
  char c = *p->at++;
  if (c == '(') {
    int group = ++p->groups;
    emit(p, SAVE, 2 * group, 0);
    parse_alternatives(p);
    p->at++;
    emit(p, SAVE, 2 * group + 1, 0);
  } else if (c == '[') {
    parse_class(p);
  } else if (c == '.') {
    emit(p, ANY, 0, 0);
  } else {
    emit(p, CHARACTER, c == '\\' ? *p->at++ : c, 0);
  }
}

static void parse_sequence(Program *p) {
  while (*p->at && *p->at != '|' && *p->at != ')') {
    int start = p->size;
    parse_atom(p);
    char c = *p->at;
    if (c == '*' || c == '?') {
      insert(p, start, SPLIT);
      if (c == '*') emit(p, JUMP, start, 0);
      p->code[start].x = start + 1;
      p->code[start].y = p->size;
      p->at++;
    } else if (c == '+') {
      emit(p, SPLIT, start, p->size + 1);
      p->at++;
    }
  }
}

/* The first is preferred: what there is already goes before each further one. */
static void parse_alternatives(Program *p) {
  int start = p->size;
  parse_sequence(p);
  while (*p->at == '|') {
    p->at++;
    insert(p, start, SPLIT);
    int jump = emit(p, JUMP, 0, 0);
    p->code[start].x = start + 1;
    p->code[start].y = p->size;
    parse_sequence(p);
    p->code[jump].x = p->size;
  }
}

static void compile(Program *p, const char *expression) {
  p->size = p->classes = p->groups = 0;
  p->at = expression;
  emit(p, SAVE, 0, 0);
  parse_alternatives(p);
  emit(p, SAVE, 1, 0);
  emit(p, MATCH, 0, 0);
}

typedef struct {
  int pc;
  int slots[SLOTS];
} Thread;

typedef struct {
  Thread threads[MAX_CODE];
  int count;
} Threads;

static Threads lists[2];
static uint32_t added_at[MAX_CODE], generation;

/* Follows jumps and splits. Of two threads at the same instruction, the first is preferred. */
static void add(const Program *p, Threads *list, int pc, int *slots, int position) {
  if (added_at[pc] == generation) return;
  added_at[pc] = generation;
  const Instruction *i = p->code + pc;
  switch (i->op) {
    case JUMP: add(p, list, i->x, slots, position); break;
    case SPLIT:
      add(p, list, i->x, slots, position);
      add(p, list, i->y, slots, position);
      break;
    case SAVE: {
      int saved = slots[i->x];
      slots[i->x] = position;
      add(p, list, pc + 1, slots, position);
      slots[i->x] = saved;
      break;
    }
    default: {
      Thread *thread = list->threads + list->count++;
      thread->pc = pc;
      memcpy(thread->slots, slots, sizeof thread->slots);
    }
  }
}

/* The first match at or after `start`. */
static bool search(const Program *p, const char *text, int size, int start, int *found) {
  Threads *now = lists, *next = lists + 1;
  bool matched = false;
  now->count = 0;
  generation++;
  for (int at = start; at <= size; at++) {
    int none[SLOTS];
    for (int i = 0; i < SLOTS; i++) none[i] = -1;
    if (!matched) add(p, now, 0, none, at);
    if (!now->count) break;
    generation++;
    next->count = 0;
    unsigned char c = (unsigned char)(at < size ? text[at] : 0);
    for (int t = 0; t < now->count; t++) {
      Thread *thread = now->threads + t;
      const Instruction *i = p->code + thread->pc;
      bool advances = false;
      switch (i->op) {
        case CHARACTER: advances = c == i->x; break;
        case ANY: advances = c != '\n'; break;
        case CLASS: advances = p->class[i->x][c / 32] >> c % 32 & 1; break;
        default:
          memcpy(found, thread->slots, sizeof thread->slots);
          matched = true;
      }
      /* Threads after one that matched are less preferred. */
      if (i->op == MATCH) break;
      if (advances && at < size) add(p, next, thread->pc + 1, thread->slots, at + 1);
    }
    Threads *swapped = now;
    now = next;
    next = swapped;
  }
  return matched;
}

static char text[TEXT];

/* Lines of a log. */
static void make_text(void) {
  static const char *const pieces[] = {"error",      "warning",       " at /usr/lib/app.so", " from 10.0.217.4", " by anna@example.org",
                                       " code=0x1f", " took 2.75 ms", "\n2024-05-17T10:22 ", " (retry)",        " bob.b@mail.example.com"};
  int at = 0;
  while (at < TEXT)
    for (const char *from = pieces[random_below(COUNT(pieces))]; *from && at < TEXT; from++) text[at++] = *from;
}

int64_t run(int32_t n) {
  static const char *const expressions[] = {
      "([a-z.]+)@([a-z]+\\.)+(com|org)", "[0-9]+-[0-9]+-[0-9]+T([0-9]+):([0-9]+)", "(error|warning|note).*(code=0x[0-9a-f]+)",
      "([0-9]+\\.)+[0-9]+",              "/([a-z]+/)*[a-z.]+",                      "(a|b|e)(n|r)*(a|o)?",
  };
  static Program program;
  uint64_t hash = 0;
  random_seed(10);
  for (int round = 0; round < n; round++) {
    make_text();
    for (size_t e = 0; e < COUNT(expressions); e++) {
      int found[SLOTS];
      compile(&program, expressions[e]);
      for (int at = 0; at < TEXT && search(&program, text, TEXT, at, found);) {
        for (int i = 0; i < SLOTS; i++) hash = mix(hash, (uint64_t)found[i]);
        at = found[1] > at ? found[1] : at + 1;
      }
    }
  }
  return checksum(hash);
}
