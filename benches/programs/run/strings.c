/* Builds strings: numbers and names put into templates, words reversed, replaced, split and joined. */
#include "program.h"

enum { HEAP = 1 << 22 };

static char heap[HEAP];
static size_t used;

typedef struct {
  char *data;
  size_t size, capacity;
} String;

static String string_new(void) { return (String){NULL, 0, 0}; }

/* Doubles what is there. What was there is free only when all is. */
static void reserve(String *s, size_t more) {
  if (s->size + more <= s->capacity) return;
  size_t capacity = s->capacity ? s->capacity * 2 : 16;
  while (capacity < s->size + more) capacity *= 2;
  if (used + capacity > HEAP) __builtin_trap();
  char *data = heap + used;
  used += capacity;
  if (s->size) memcpy(data, s->data, s->size);
  s->data = data;
  s->capacity = capacity;
}

static inline void push(String *s, char c) {
  reserve(s, 1);
  s->data[s->size++] = c;
}

static void append(String *s, const char *text, size_t size) {
  reserve(s, size);
  memcpy(s->data + s->size, text, size);
  s->size += size;
}

static size_t length(const char *text) {
  size_t size = 0;
  while (text[size]) size++;
  return size;
}

static void append_text(String *s, const char *text) { append(s, text, length(text)); }

static void append_number(String *s, int64_t value, unsigned base) {
  char digits[66];
  int count = 0;
  uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
  do digits[count++] = "0123456789abcdefghijklmnopqrstuvwxyz"[rest % base];
  while (rest /= base);
  if (value < 0) push(s, '-');
  while (count) push(s, digits[--count]);
}

/* `{0}` stands for the first of the values, and so on; `{{` for a brace. */
static void format(String *s, const char *template, const String *values) {
  for (; *template; template++) {
    if (*template != '{') {
      push(s, *template);
    } else if (*++template == '{') {
      push(s, '{');
    } else {
      const String *value = values + (*template - '0');
      append(s, value->data, value->size);
      template++;
    }
  }
}

static void replace(String *to, const String *from, const char *pattern, const char *by) {
  size_t size = length(pattern);
  for (size_t at = 0; at < from->size;) {
    if (at + size <= from->size && !memcmp(from->data + at, pattern, size)) {
      append_text(to, by);
      at += size;
    } else {
      push(to, from->data[at++]);
    }
  }
}

static void reverse_words(String *to, const String *from) {
  for (size_t end = from->size; end > 0;) {
    size_t start = end;
    while (start > 0 && from->data[start - 1] != ' ') start--;
    append(to, from->data + start, end - start);
    if (start) push(to, ' ');
    end = start ? start - 1 : 0;
  }
}

static void capitalise(String *s) {
  bool first = true;
  for (size_t i = 0; i < s->size; i++) {
    char c = s->data[i];
    bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
    if (letter) s->data[i] = first ? (char)(c & ~32) : (char)(c | 32);
    first = !letter;
  }
}

static int compare(const String *a, const String *b) {
  size_t common = a->size < b->size ? a->size : b->size;
  int order = common ? memcmp(a->data, b->data, common) : 0;
  return order ? order : a->size < b->size ? -1 : a->size > b->size;
}

int64_t run(int32_t n) {
  static const char *const names[] = {"Ada", "Barbara", "Grace", "Edsger", "Alan", "Kathleen", "Niklaus"};
  uint64_t hash = 0;
  random_seed(11);
  for (int round = 0; round < n; round++) {
    used = 0;
    String page = string_new(), largest = string_new();
    for (int line = 0; line < 1000; line++) {
      String values[3];
      for (int i = 0; i < 3; i++) values[i] = string_new();
      append_text(&values[0], names[random_below(COUNT(names))]);
      append_number(&values[1], (int32_t)random_u32(), 10);
      append_number(&values[2], random_u32(), 2 + random_below(35));
      String row = string_new();
      format(&row, "<tr id={2}><td>the name of {0} is {0}</td> <td>{{{1}}</td> </tr>\n", values);
      if (compare(&row, &largest) > 0) largest = row;
      append(&page, row.data, row.size);
    }
    String replaced = string_new(), reversed = string_new();
    replace(&replaced, &page, "<td>", "* ");
    reverse_words(&reversed, &replaced);
    capitalise(&reversed);
    hash = mix_bytes(hash, reversed.data, reversed.size);
    hash = mix_bytes(hash, largest.data, largest.size);
  }
  return checksum(hash);
}
