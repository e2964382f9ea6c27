/* Four ways to sort: numbers by quicksort and by radix, records by a merge sort that calls a comparison through a pointer, and a
 * heap. */
#include "program.h"

enum { SIZE = 100000 };

static uint32_t numbers[SIZE], scratch[SIZE];

static void insertion_sort(uint32_t *a, int size) {
  for (int i = 1; i < size; i++) {
    uint32_t value = a[i];
    int at = i;
    for (; at > 0 && a[at - 1] > value; at--) a[at] = a[at - 1];
    a[at] = value;
  }
}

static inline uint32_t median(uint32_t a, uint32_t b, uint32_t c) {
  if (a > b) return b > c ? b : a < c ? a : c;
  return a > c ? a : b < c ? b : c;
}

static void quicksort(uint32_t *a, int size) {
  while (size > 24) {
    uint32_t pivot = median(a[0], a[size / 2], a[size - 1]);
    int left = 0, right = size - 1;
    for (;; left++, right--) {
      while (a[left] < pivot) left++;
      while (a[right] > pivot) right--;
      if (left >= right) break;
      uint32_t swapped = a[left];
      a[left] = a[right];
      a[right] = swapped;
    }
    quicksort(a, left);
    a += left;
    size -= left;
  }
  insertion_sort(a, size);
}

static void radix_sort(void) {
  uint32_t *from = numbers, *to = scratch;
  for (int shift = 0; shift < 32; shift += 8) {
    uint32_t start[256] = {0}, sum = 0;
    for (int i = 0; i < SIZE; i++) start[from[i] >> shift & 255]++;
    for (int i = 0; i < 256; i++) {
      uint32_t count = start[i];
      start[i] = sum;
      sum += count;
    }
    for (int i = 0; i < SIZE; i++) to[start[from[i] >> shift & 255]++] = from[i];
    uint32_t *swapped = from;
    from = to;
    to = swapped;
  }
}

static void sift_down(uint32_t *a, int at, int size) {
  uint32_t value = a[at];
  for (int child; (child = 2 * at + 1) < size; at = child) {
    if (child + 1 < size && a[child + 1] > a[child]) child++;
    if (a[child] <= value) break;
    a[at] = a[child];
  }
  a[at] = value;
}

static void heap_sort(uint32_t *a, int size) {
  for (int i = size / 2 - 1; i >= 0; i--) sift_down(a, i, size);
  for (int end = size - 1; end > 0; end--) {
    uint32_t largest = a[0];
    a[0] = a[end];
    a[end] = largest;
    sift_down(a, 0, end);
  }
}

typedef struct {
  char name[12];
  uint32_t age;
  double score;
} Record;

typedef int (*Compare)(const Record *, const Record *);

static Record records[SIZE], record_scratch[SIZE];

static int by_name(const Record *a, const Record *b) {
  for (int i = 0; i < 12; i++)
    if (a->name[i] != b->name[i]) return a->name[i] < b->name[i] ? -1 : 1;
  return 0;
}

static int by_age(const Record *a, const Record *b) { return a->age < b->age ? -1 : a->age > b->age; }

static int by_score(const Record *a, const Record *b) { return a->score > b->score ? -1 : a->score < b->score; }

static void merge_sort(Record *a, Record *to, int size, Compare compare) {
  if (size < 2) return;
  int half = size / 2;
  merge_sort(a, to, half, compare);
  merge_sort(a + half, to + half, size - half, compare);
  memcpy(to, a, (size_t)size * sizeof *a);
  int left = 0, right = half;
  for (int i = 0; i < size; i++) {
    bool take_left = right == size || (left < half && compare(to + left, to + right) <= 0);
    a[i] = to[take_left ? left++ : right++];
  }
}

static void fill(void) {
  for (int i = 0; i < SIZE; i++) numbers[i] = random_u32();
}

static bool sorted(void) {
  for (int i = 1; i < SIZE; i++)
    if (numbers[i - 1] > numbers[i]) return false;
  return true;
}

int64_t run(int32_t n) {
  static const Compare orders[] = {by_name, by_age, by_score};
  uint64_t hash = 0;
  random_seed(5);
  for (int round = 0; round < n; round++) {
    fill();
    quicksort(numbers, SIZE);
    if (!sorted()) return -1;
    hash = mix_bytes(hash, numbers, sizeof numbers);
    fill();
    radix_sort();
    if (!sorted()) return -1;
    hash = mix_bytes(hash, numbers, sizeof numbers);
    fill();
    heap_sort(numbers, SIZE);
    if (!sorted()) return -1;
    hash = mix_bytes(hash, numbers, sizeof numbers);
    for (int i = 0; i < SIZE; i++) {
      for (int j = 0; j < 12; j++) records[i].name[j] = (char)('a' + random_below(j < 3 ? 4 : 26));
      records[i].age = random_below(100);
      records[i].score = random_unit();
    }
    for (size_t order = 0; order < COUNT(orders); order++) {
      merge_sort(records, record_scratch, SIZE, orders[order]);
      for (int i = 0; i < SIZE; i += 100) hash = mix(mix_f64(hash, records[i].score), records[i].age);
    }
  }
  return checksum(hash);
}
