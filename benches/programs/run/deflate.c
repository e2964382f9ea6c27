/* Compresses text as DEFLATE does, by matches found through hash chains and by Huffman codes made for each block, decompresses it,
 * and compares. The bit stream has the codes of RFC 1951, but writes the lengths of codes plainly. */
#include "program.h"

enum {
  SIZE = 1 << 18,
  WINDOW = 1 << 15,
  HASH_BITS = 15,
  MIN_MATCH = 3,
  MAX_MATCH = 258,
  CHAIN = 48,
  MAX_CODE = 15,
  LITERALS = 286,
  DISTANCES = 30,
  END_OF_BLOCK = 256,
  BLOCK = 1 << 14,
};

static uint8_t input[SIZE], packed[2 * SIZE], unpacked[SIZE + MAX_MATCH];

/* Codes of lengths and of distances: each has a base and a number of further bits. */
typedef struct {
  uint16_t base[30];
  uint8_t bits[30];
} Ranges;

static Ranges lengths, distances;
static uint8_t length_code[MAX_MATCH + 1];

static void make_ranges(void) {
  int base = MIN_MATCH;
  for (int i = 0; i < 28; i++) {
    lengths.base[i] = (uint16_t)base;
    lengths.bits[i] = (uint8_t)(i < 8 ? 0 : i / 4 - 1);
    base += 1 << lengths.bits[i];
  }
  lengths.base[28] = MAX_MATCH;
  lengths.bits[28] = 0;
  for (int i = 0, length = MIN_MATCH; length <= MAX_MATCH; length++) {
    while (i < 28 && lengths.base[i + 1] <= length) i++;
    length_code[length] = (uint8_t)i;
  }
  base = 1;
  for (int i = 0; i < DISTANCES; i++) {
    distances.base[i] = (uint16_t)base;
    distances.bits[i] = (uint8_t)(i < 4 ? 0 : i / 2 - 1);
    base += 1 << distances.bits[i];
  }
}

static int distance_code(int distance) {
  if (distance <= 4) return distance - 1;
  int high = 31 - __builtin_clz((unsigned)distance - 1);
  return 2 * high + ((distance - 1) >> (high - 1) & 1);
}

typedef struct {
  uint8_t *at;
  uint64_t bits;
  int count;
} Writer;

static inline void put(Writer *w, uint32_t bits, int count) {
  w->bits |= (uint64_t)bits << w->count;
  for (w->count += count; w->count >= 8; w->count -= 8, w->bits >>= 8) *w->at++ = (uint8_t)w->bits;
}

typedef struct {
  const uint8_t *at;
  uint64_t bits;
  int count;
} Reader;

static inline void fill(Reader *r) {
  for (; r->count <= 48; r->count += 8) r->bits |= (uint64_t)*r->at++ << r->count;
}

static inline uint32_t take(Reader *r, int count) {
  uint32_t bits = (uint32_t)(r->bits & ((1ull << count) - 1));
  r->bits >>= count;
  r->count -= count;
  return bits;
}

/* The lengths of Huffman codes of `count` symbols; if one were too long, rare symbols are made more frequent. */
static void code_lengths(const uint32_t *frequency, int count, uint8_t *length) {
  static uint32_t weight[2 * LITERALS];
  static uint16_t parent[2 * LITERALS], queue[LITERALS];
  for (uint32_t least = 0;; least = least * 2 + 1) {
    int leaves = 0;
    for (int i = 0; i < count; i++) {
      weight[i] = frequency[i] > least || !frequency[i] ? frequency[i] : least;
      length[i] = 0;
      if (!frequency[i]) continue;
      int at = leaves++;
      for (; at > 0 && weight[queue[at - 1]] > weight[i]; at--) queue[at] = queue[at - 1];
      queue[at] = (uint16_t)i;
    }
    if (leaves == 1) length[queue[0]] = 1;
    if (leaves <= 1) return;
    /* Inner nodes are made in the order of their weights, so two queues give the lightest two nodes. */
    int leaf = 0, inner = count, next = count;
    while (next - count < leaves - 1) {
      uint32_t sum = 0;
      for (int child = 0; child < 2; child++) {
        bool take_leaf = leaf < leaves && (inner == next || weight[queue[leaf]] <= weight[inner]);
        int node = take_leaf ? queue[leaf++] : inner++;
        parent[node] = (uint16_t)next;
        sum += weight[node];
      }
      weight[next++] = sum;
    }
    int longest = 0;
    for (int i = 0; i < leaves; i++) {
      int depth = 0;
      for (int node = queue[i]; node != next - 1; node = parent[node]) depth++;
      length[queue[i]] = (uint8_t)depth;
      if (depth > longest) longest = depth;
    }
    if (longest <= MAX_CODE) return;
  }
}

/* Canonical codes, the first bit of a code in the lowest bit. */
static void make_codes(const uint8_t *length, int count, uint16_t *code) {
  uint16_t next[MAX_CODE + 2] = {0};
  for (int i = 0; i < count; i++) next[length[i] + 1] += length[i] ? 1 : 0;
  for (int i = 1; i <= MAX_CODE; i++) next[i] = (uint16_t)((next[i] + next[i - 1]) << 1);
  for (int i = 0; i < count; i++) {
    unsigned value = next[length[i]], reversed = 0;
    if (!length[i]) continue;
    next[length[i]]++;
    for (int bit = 0; bit < length[i]; bit++) reversed |= (value >> bit & 1) << (length[i] - 1 - bit);
    code[i] = (uint16_t)reversed;
  }
}

/* A table over the next 15 bits: symbol and length of its code. */
static void make_decoder(const uint8_t *length, int count, uint16_t *table) {
  uint16_t code[LITERALS];
  make_codes(length, count, code);
  for (int i = 0; i < count; i++)
    if (length[i])
      for (int at = code[i]; at < 1 << MAX_CODE; at += 1 << length[i]) table[at] = (uint16_t)(i << 4 | length[i]);
}

/* A literal, or the length of a match and its distance. */
typedef struct {
  uint16_t value, distance;
} Token;

static Token tokens[BLOCK];
static int32_t head[1 << HASH_BITS], previous[WINDOW];

static void write_block(Writer *w, int count, bool last) {
  uint32_t literal_count[LITERALS] = {0}, distance_count[DISTANCES] = {0};
  for (int i = 0; i < count; i++) {
    if (!tokens[i].distance) {
      literal_count[tokens[i].value]++;
    } else {
      literal_count[257 + length_code[tokens[i].value]]++;
      distance_count[distance_code(tokens[i].distance)]++;
    }
  }
  literal_count[END_OF_BLOCK] = 1;
  uint8_t literal_length[LITERALS], distance_length[DISTANCES];
  uint16_t literal_codes[LITERALS], distance_codes[DISTANCES];
  code_lengths(literal_count, LITERALS, literal_length);
  code_lengths(distance_count, DISTANCES, distance_length);
  make_codes(literal_length, LITERALS, literal_codes);
  make_codes(distance_length, DISTANCES, distance_codes);
  put(w, last, 1);
  for (int i = 0; i < LITERALS; i++) put(w, literal_length[i], 4);
  for (int i = 0; i < DISTANCES; i++) put(w, distance_length[i], 4);
  for (int i = 0; i < count; i++) {
    Token token = tokens[i];
    if (!token.distance) {
      put(w, literal_codes[token.value], literal_length[token.value]);
      continue;
    }
    int code = length_code[token.value];
    put(w, literal_codes[257 + code], literal_length[257 + code]);
    put(w, (uint32_t)token.value - lengths.base[code], lengths.bits[code]);
    code = distance_code(token.distance);
    put(w, distance_codes[code], distance_length[code]);
    put(w, (uint32_t)token.distance - distances.base[code], distances.bits[code]);
  }
  put(w, literal_codes[END_OF_BLOCK], literal_length[END_OF_BLOCK]);
}

static inline uint32_t hash_at(const uint8_t *at) {
  return ((uint32_t)at[0] << 16 | at[1] << 8 | at[2]) * 2654435761u >> (32 - HASH_BITS);
}

static inline void insert(int at) {
  uint32_t hash = hash_at(input + at);
  previous[at % WINDOW] = head[hash];
  head[hash] = at;
}

static int longest_match(int at, int *distance) {
  int best = 0, limit = SIZE - at < MAX_MATCH ? SIZE - at : MAX_MATCH;
  int candidate = head[hash_at(input + at)];
  for (int left = CHAIN; left > 0 && candidate >= 0 && at - candidate < WINDOW; left--) {
    if (input[candidate + best] == input[at + best]) {
      int length = 0;
      while (length < limit && input[candidate + length] == input[at + length]) length++;
      if (length > best) {
        best = length;
        *distance = at - candidate;
        if (best == limit) break;
      }
    }
    candidate = previous[candidate % WINDOW];
  }
  return best;
}

static size_t compress(void) {
  Writer w = {packed, 0, 0};
  int count = 0;
  for (int i = 0; i < 1 << HASH_BITS; i++) head[i] = -1;
  for (int at = 0; at < SIZE;) {
    int distance = 0, length = at + MIN_MATCH < SIZE ? longest_match(at, &distance) : 0;
    if (length >= MIN_MATCH) {
      tokens[count++] = (Token){(uint16_t)length, (uint16_t)distance};
    } else {
      length = 1;
      tokens[count++] = (Token){input[at], 0};
    }
    for (int end = at + length; at < end; at++)
      if (at + MIN_MATCH < SIZE) insert(at);
    if (count == BLOCK || at >= SIZE) {
      write_block(&w, count, at >= SIZE);
      count = 0;
    }
  }
  put(&w, 0, 7);
  return (size_t)(w.at - packed);
}

static size_t decompress(void) {
  static uint16_t literal_table[1 << MAX_CODE], distance_table[1 << MAX_CODE];
  Reader r = {packed, 0, 0};
  uint8_t *out = unpacked;
  bool last = false;
  while (!last) {
    uint8_t literal_length[LITERALS], distance_length[DISTANCES];
    fill(&r);
    last = take(&r, 1);
    for (int i = 0; i < LITERALS; i++) fill(&r), literal_length[i] = (uint8_t)take(&r, 4);
    for (int i = 0; i < DISTANCES; i++) fill(&r), distance_length[i] = (uint8_t)take(&r, 4);
    make_decoder(literal_length, LITERALS, literal_table);
    make_decoder(distance_length, DISTANCES, distance_table);
    for (;;) {
      fill(&r);
      uint16_t entry = literal_table[r.bits & ((1 << MAX_CODE) - 1)];
      take(&r, entry & 15);
      int symbol = entry >> 4;
      if (symbol < END_OF_BLOCK) {
        *out++ = (uint8_t)symbol;
        continue;
      }
      if (symbol == END_OF_BLOCK) break;
      int length = lengths.base[symbol - 257] + (int)take(&r, lengths.bits[symbol - 257]);
      fill(&r);
      entry = distance_table[r.bits & ((1 << MAX_CODE) - 1)];
      take(&r, entry & 15);
      int distance = distances.base[entry >> 4] + (int)take(&r, distances.bits[entry >> 4]);
      const uint8_t *from = out - distance;
      for (int i = 0; i < length; i++) out[i] = from[i];
      out += length;
    }
  }
  return (size_t)(out - unpacked);
}

/* Lines of words; the words have endings in common, and are not all as frequent. */
static void make_text(void) {
  static const char *const stems[] = {"work", "play", "call", "read", "return", "compile", "function", "table", "memory", "of", "the", "a"};
  static const char *const endings[] = {"", "", "", "s", "ed", "ing", "er"};
  size_t at = 0;
  while (at < SIZE) {
    uint32_t stem = random_below(COUNT(stems));
    if (random_below(3)) stem = COUNT(stems) - 1 - stem / 2;
    const char *parts[] = {stems[stem], endings[random_below(COUNT(endings))], random_below(9) ? " " : ",\n"};
    for (int i = 0; i < 3; i++)
      for (const char *from = parts[i]; *from && at < SIZE; from++) input[at++] = (uint8_t)*from;
    if (!random_below(20) && at < SIZE) input[at++] = (uint8_t)random_u32();
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(4);
  make_ranges();
  for (int i = 0; i < n; i++) {
    make_text();
    size_t size = compress();
    hash = mix_bytes(hash, packed, size);
    if (decompress() != SIZE || memcmp(input, unpacked, SIZE)) return -1;
  }
  return checksum(hash);
}
