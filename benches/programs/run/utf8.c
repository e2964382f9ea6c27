/* Transcodes text in several scripts from UTF-8 to UTF-16 and back, checking it, and changes the case of its letters. */
#include "program.h"

enum { TEXT = 1 << 17 };

static uint8_t text[TEXT], again[2 * TEXT];
static uint16_t wide[TEXT];

static size_t encode_utf8(uint8_t *to, uint32_t c) {
  if (c < 0x80) {
    to[0] = (uint8_t)c;
    return 1;
  }
  if (c < 0x800) {
    to[0] = (uint8_t)(0xc0 | c >> 6);
    to[1] = (uint8_t)(0x80 | (c & 63));
    return 2;
  }
  if (c < 0x10000) {
    to[0] = (uint8_t)(0xe0 | c >> 12);
    to[1] = (uint8_t)(0x80 | (c >> 6 & 63));
    to[2] = (uint8_t)(0x80 | (c & 63));
    return 3;
  }
  to[0] = (uint8_t)(0xf0 | c >> 18);
  to[1] = (uint8_t)(0x80 | (c >> 12 & 63));
  to[2] = (uint8_t)(0x80 | (c >> 6 & 63));
  to[3] = (uint8_t)(0x80 | (c & 63));
  return 4;
}

/* What stands for bytes that are not UTF-8. */
enum { REPLACEMENT = 0xfffd };

/* Decodes one character, and moves `at` behind it, or behind the part of it that is right. */
static uint32_t decode_utf8(const uint8_t **at, const uint8_t *end) {
  uint8_t first = *(*at)++;
  if (first < 0x80) return first;
  int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4) return REPLACEMENT;
  uint8_t low = 0x80, high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  uint32_t c = first & (0x3fu >> more);
  for (; more; more--) {
    if (*at == end || **at < low || **at > high) return REPLACEMENT;
    c = c << 6 | (*(*at)++ & 63);
    low = 0x80, high = 0xbf;
  }
  return c;
}

static size_t to_utf16(const uint8_t *from, size_t size, uint16_t *to) {
  const uint8_t *end = from + size;
  uint16_t *start = to;
  while (from < end) {
    uint32_t c = decode_utf8(&from, end);
    if (c < 0x10000) {
      *to++ = (uint16_t)c;
    } else {
      *to++ = (uint16_t)(0xd7c0 + (c >> 10));
      *to++ = (uint16_t)(0xdc00 | (c & 0x3ff));
    }
  }
  return (size_t)(to - start);
}

static size_t to_utf8(const uint16_t *from, size_t size, uint8_t *to) {
  uint8_t *start = to;
  for (size_t i = 0; i < size; i++) {
    uint32_t c = from[i];
    if ((c & 0xf800) == 0xd800) {
      bool pair = c < 0xdc00 && i + 1 < size && (from[i + 1] & 0xfc00) == 0xdc00;
      c = pair ? ((c - 0xd7c0) << 10) + (from[++i] & 0x3ffu) : REPLACEMENT;
    }
    to += encode_utf8(to, c);
  }
  return (size_t)(to - start);
}

/* Latin, Greek and Cyrillic, where capitals and small letters are at a fixed distance. */
static uint16_t swap_case(uint16_t c) {
  if ((c >= 'a' && c <= 'z') || (c >= 0xe0 && c <= 0xfe && c != 0xf7) || (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) ||
      (c >= 0x430 && c <= 0x44f))
    return (uint16_t)(c - 32);
  if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9 && c != 0x3a2) ||
      (c >= 0x410 && c <= 0x42f))
    return (uint16_t)(c + 32);
  return c;
}

static size_t make_text(void) {
  static const struct {
    uint32_t first, count;
  } scripts[] = {{'a', 26}, {'A', 26}, {0xe0, 23}, {0x3b1, 17}, {0x410, 64}, {0x4e00, 5000}, {0x1f600, 64}};
  size_t size = 0;
  while (size < TEXT - 80) {
    uint32_t script = random_below(3) ? random_below(2) : random_below(COUNT(scripts));
    for (uint32_t letters = 1 + random_below(12); letters; letters--)
      size += encode_utf8(text + size, scripts[script].first + random_below(scripts[script].count));
    text[size++] = ' ';
  }
  return size;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(19);
  size_t size = make_text();
  for (int round = 0; round < n; round++) {
    size_t units = to_utf16(text, size, wide);
    for (size_t i = 0; i < units; i++) wide[i] = swap_case(wide[i]);
    size_t back = to_utf8(wide, units, again);
    if (back != size) return -1;
    memcpy(text, again, size);
    /* The same with a few bytes wrong. */
    for (int i = 0; i < 8; i++) again[random_below((uint32_t)size)] ^= (uint8_t)(1 + random_below(255));
    units = to_utf16(again, size, wide);
    hash = mix(hash, units);
    hash = mix(hash, to_utf8(wide, units, again));
    hash = mix_bytes(hash, again, 64);
  }
  return checksum(mix_bytes(hash, text, size));
}
