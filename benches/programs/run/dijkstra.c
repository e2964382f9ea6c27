/* The shortest ways in a graph: Dijkstra's algorithm with a binary heap. */
#include "program.h"

enum { NODES = 20000, DEGREE = 6, EDGES = NODES * DEGREE };

typedef struct {
  uint32_t to, length;
} Edge;

typedef struct {
  uint32_t distance, node;
} Entry;

static Edge edges[NODES][DEGREE];
static uint32_t distances[NODES];
static Entry heap[EDGES + 1];
static uint32_t heap_size;

static void push(Entry entry) {
  uint32_t at = heap_size++;
  for (; at > 0 && heap[(at - 1) / 2].distance > entry.distance; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = entry;
}

static Entry pop(void) {
  Entry top = heap[0], last = heap[--heap_size];
  uint32_t at = 0;
  for (uint32_t child; (child = 2 * at + 1) < heap_size; at = child) {
    if (child + 1 < heap_size && heap[child + 1].distance < heap[child].distance) child++;
    if (heap[child].distance >= last.distance) break;
    heap[at] = heap[child];
  }
  heap[at] = last;
  return top;
}

static void search(uint32_t from) {
  for (int i = 0; i < NODES; i++) distances[i] = UINT32_MAX;
  distances[from] = 0;
  heap_size = 0;
  push((Entry){0, from});
  while (heap_size) {
    Entry entry = pop();
    if (entry.distance > distances[entry.node]) continue;
    for (int i = 0; i < DEGREE; i++) {
      Edge edge = edges[entry.node][i];
      uint32_t distance = entry.distance + edge.length;
      if (distance >= distances[edge.to]) continue;
      distances[edge.to] = distance;
      push((Entry){distance, edge.to});
    }
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(24);
  /* A ring, so that all can be reached, with edges across it. */
  for (uint32_t i = 0; i < NODES; i++) {
    edges[i][0] = (Edge){(i + 1) % NODES, 100 + random_below(100)};
    for (int j = 1; j < DEGREE; j++) edges[i][j] = (Edge){random_below(NODES), 1 + random_below(1000)};
  }
  for (int round = 0; round < n; round++) {
    search(random_below(NODES));
    uint64_t sum = 0;
    for (int i = 0; i < NODES; i++) sum += distances[i];
    hash = mix(hash, sum);
  }
  return checksum(hash);
}
