/* Writes a document of JSON, parses it to a tree, changes the tree, serialises it, and parses that again. */
#include "program.h"

enum { ARENA = 1 << 24, TEXT = 1 << 21 };

typedef enum { NUL, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT } Kind;

/* The members of arrays and objects are lists. */
typedef struct Value {
  Kind kind;
  uint32_t size;
  const char *key;
  uint32_t key_size;
  struct Value *next;
  union {
    double number;
    const char *string;
    struct Value *first;
  };
} Value;

static char arena[ARENA];
static size_t used;

static void *allocate(size_t size) {
  size_t at = used;
  used += (size + 7) & ~(size_t)7;
  if (used > ARENA) __builtin_trap();
  return arena + at;
}

typedef struct {
  const char *at, *end;
  bool failed;
} Parser;

static void skip_space(Parser *p) {
  while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r')) p->at++;
}

static bool accept(Parser *p, char c) {
  skip_space(p);
  if (p->at == p->end || *p->at != c) return false;
  p->at++;
  return true;
}

static void expect(Parser *p, char c) {
  if (!accept(p, c)) p->failed = true;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static char *encode_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    *out++ = (char)c;
  } else if (c < 0x800) {
    *out++ = (char)(0xc0 | c >> 6);
    *out++ = (char)(0x80 | (c & 63));
  } else {
    *out++ = (char)(0xe0 | c >> 12);
    *out++ = (char)(0x80 | (c >> 6 & 63));
    *out++ = (char)(0x80 | (c & 63));
  }
  return out;
}

static const char *parse_string(Parser *p, uint32_t *size) {
  expect(p, '"');
  const char *scan = p->at;
  while (scan < p->end && *scan != '"') scan += *scan == '\\' ? 2 : 1;
  char *start = allocate((size_t)(scan - p->at)), *out = start;
  while (p->at < p->end && *p->at != '"') {
    char c = *p->at++;
    if (c != '\\') {
      *out++ = c;
      continue;
    }
    if (p->at == p->end) break;
    switch (c = *p->at++) {
      case 'n': *out++ = '\n'; break;
      case 't': *out++ = '\t'; break;
      case 'u': {
        uint32_t code = 0;
        for (int i = 0; i < 4 && p->at < p->end; i++) {
          int digit = hex_digit(*p->at++);
          if (digit < 0) p->failed = true;
          code = code << 4 | (uint32_t)(digit & 15);
        }
        out = encode_utf8(out, code);
        break;
      }
      default: *out++ = c;
    }
  }
  expect(p, '"');
  *size = (uint32_t)(out - start);
  return start;
}

static double power_of_ten(int exponent) {
  double power = 1, base = 10;
  for (; exponent; exponent >>= 1, base *= base)
    if (exponent & 1) power *= base;
  return power;
}

/* Exact for the numbers here, of at most 15 digits. */
static double parse_number(Parser *p) {
  bool negative = accept(p, '-');
  uint64_t digits = 0;
  int scale = 0;
  const char *start = p->at;
  for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) digits = digits * 10 + (uint64_t)(*p->at - '0');
  if (p->at == start) p->failed = true;
  if (p->at < p->end && *p->at == '.')
    for (p->at++; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, scale--) digits = digits * 10 + (uint64_t)(*p->at - '0');
  double value = scale ? (double)digits / power_of_ten(-scale) : (double)digits;
  return negative ? -value : value;
}

static bool literal(Parser *p, const char *word) {
  for (; *word; word++)
    if (p->at == p->end || *p->at++ != *word) return p->failed = true, false;
  return true;
}

static Value *parse(Parser *p) {
  Value *value = allocate(sizeof *value);
  *value = (Value){.kind = NUL};
  skip_space(p);
  if (p->at == p->end || p->failed) {
    p->failed = true;
    return value;
  }
  switch (*p->at) {
    case 'n': literal(p, "null"); break;
    case 'f': literal(p, "false"), value->kind = FALSE; break;
    case 't': literal(p, "true"), value->kind = TRUE; break;
    case '"': value->kind = STRING, value->string = parse_string(p, &value->size); break;
    case '[':
    case '{': {
      bool object = *p->at == '{';
      char close = object ? '}' : ']';
      Value **link = &value->first;
      value->kind = object ? OBJECT : ARRAY;
      p->at++;
      if (accept(p, close)) break;
      do {
        uint32_t key_size = 0;
        const char *key = NULL;
        if (object) {
          key = parse_string(p, &key_size);
          expect(p, ':');
        }
        Value *member = parse(p);
        member->key = key;
        member->key_size = key_size;
        *link = member;
        link = &member->next;
        value->size++;
      } while (!p->failed && accept(p, ','));
      expect(p, close);
      break;
    }
    default: value->kind = NUMBER, value->number = parse_number(p);
  }
  return value;
}

typedef struct {
  char *at;
} Writer;

static inline void put(Writer *w, char c) { *w->at++ = c; }

static void put_text(Writer *w, const char *text) {
  for (; *text; text++) put(w, *text);
}

static void put_string(Writer *w, const char *text, uint32_t size) {
  put(w, '"');
  for (uint32_t i = 0; i < size; i++) {
    char c = text[i];
    if (c == '"' || c == '\\') put(w, '\\'), put(w, c);
    else if (c == '\n') put_text(w, "\\n");
    else if (c == '\t') put_text(w, "\\t");
    else put(w, c);
  }
  put(w, '"');
}

static void put_integer(Writer *w, uint64_t value) {
  char digits[20];
  int count = 0;
  do digits[count++] = (char)('0' + value % 10);
  while (value /= 10);
  while (count) put(w, digits[--count]);
}

/* With three decimals, if it is not whole. */
static void put_number(Writer *w, double value) {
  if (value < 0) put(w, '-'), value = -value;
  uint64_t thousandths = (uint64_t)(value * 1000 + 0.5);
  put_integer(w, thousandths / 1000);
  if (thousandths % 1000) {
    put(w, '.');
    for (uint64_t place = 100; place; place /= 10) put(w, (char)('0' + thousandths / place % 10));
  }
}

static void serialise(Writer *w, const Value *value) {
  switch (value->kind) {
    case NUL: put_text(w, "null"); break;
    case FALSE: put_text(w, "false"); break;
    case TRUE: put_text(w, "true"); break;
    case NUMBER: put_number(w, value->number); break;
    case STRING: put_string(w, value->string, value->size); break;
    case ARRAY:
    case OBJECT:
      put(w, value->kind == ARRAY ? '[' : '{');
      for (const Value *member = value->first; member; member = member->next) {
        if (member != value->first) put(w, ',');
        if (value->kind == OBJECT) put_string(w, member->key, member->key_size), put(w, ':');
        serialise(w, member);
      }
      put(w, value->kind == ARRAY ? ']' : '}');
  }
}

/* People with friends, with spaces and escapes as they come. */
static void generate(Writer *w) {
  static const char *const words[] = {"amber", "b\\u00fccher", "quote \\\"so\\\"", "line\\nbreak", "tab\\t", "\\u4e16\\u754c", "plain words in a row", ""};
  put_text(w, "{\"people\": [\n");
  for (int i = 0; i < 2000; i++) {
    put_text(w, i ? ",\n  {\"id\": " : "  {\"id\": ");
    put_integer(w, (uint64_t)i);
    put_text(w, ", \"name\": \"");
    put_text(w, words[random_below(COUNT(words))]);
    put_text(w, "\", \"active\": ");
    put_text(w, random_below(2) ? "true" : random_below(2) ? "false" : "null");
    put_text(w, ", \"balance\": ");
    put_number(w, random_below(2000000) / 1000.0 - 1000);
    put_text(w, ", \"friends\": [");
    for (uint32_t j = random_below(8); j; j--) {
      put_text(w, "{\"id\":");
      put_integer(w, random_below(2000));
      put_text(w, ",\"tags\":[\"");
      put_text(w, words[random_below(COUNT(words))]);
      put_text(w, j > 1 ? "\"]}, " : "\"]}");
    }
    put_text(w, "]}");
  }
  put_text(w, "\n]}");
}

/* Adds to each number, and drops every third member of longer lists. Returns how many values there are. */
static uint32_t change(Value *value) {
  uint32_t count = 1;
  if (value->kind == NUMBER) value->number += 1.5;
  if (value->kind < ARRAY) return count;
  uint32_t index = 0;
  for (Value **link = &value->first; *link; index++) {
    count += change(*link);
    if (value->kind == ARRAY && value->size > 3 && index % 3 == 2) *link = (*link)->next;
    else link = &(*link)->next;
  }
  return count;
}

static char text[TEXT], again[TEXT];

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(9);
  for (int round = 0; round < n; round++) {
    Writer w = {text};
    generate(&w);
    used = 0;
    Parser p = {text, w.at, false};
    Value *value = parse(&p);
    if (p.failed) return -1;
    hash = mix(hash, change(value));
    w.at = text;
    serialise(&w, value);
    p = (Parser){text, w.at, false};
    value = parse(&p);
    if (p.failed) return -2;
    Writer copy = {again};
    serialise(&copy, value);
    if (copy.at - again != w.at - text || memcmp(text, again, (size_t)(w.at - text))) return -3;
    hash = mix_bytes(hash, text, (size_t)(w.at - text));
  }
  return checksum(hash);
}
