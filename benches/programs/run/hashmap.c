/* A hash map with open addressing, into which keys come and go. */
#include "program.h"

enum { BITS = 16, SIZE = 1 << BITS };

/* No key is zero. */
typedef struct {
  uint64_t key, value;
} Entry;

static Entry entries[SIZE];
static uint32_t count;

static inline uint32_t home(uint64_t key) { return (uint32_t)(key * 0x9e3779b97f4a7c15u >> (64 - BITS)); }

static Entry *find(uint64_t key) {
  uint32_t at = home(key);
  while (entries[at].key && entries[at].key != key) at = (at + 1) % SIZE;
  return entries + at;
}

static void insert(uint64_t key, uint64_t value) {
  Entry *entry = find(key);
  count += !entry->key;
  *entry = (Entry){key, value};
}

/* Moves back the entries behind the gap that could not be found over it. */
static bool erase(uint64_t key) {
  uint32_t gap = (uint32_t)(find(key) - entries);
  if (!entries[gap].key) return false;
  for (uint32_t at = (gap + 1) % SIZE; entries[at].key; at = (at + 1) % SIZE) {
    uint32_t distance = (at - home(entries[at].key)) % SIZE;
    if (distance >= (at - gap) % SIZE) {
      entries[gap] = entries[at];
      gap = at;
    }
  }
  entries[gap].key = 0;
  count--;
  return true;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(16);
  memset(entries, 0, sizeof entries);
  count = 0;
  for (int round = 0; round < n; round++) {
    for (int i = 0; i < 10000; i++) {
      uint64_t key = 1 + random_below(100000), kind = random_below(8);
      if (kind < 3) {
        insert(key, hash + (uint64_t)i);
      } else if (kind < 5) {
        hash += erase(key);
      } else {
        const Entry *entry = find(key);
        hash = mix(hash, entry->key ? entry->value : 0);
      }
    }
    hash = mix(hash, count);
  }
  return checksum(hash);
}
