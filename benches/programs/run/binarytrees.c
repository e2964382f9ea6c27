/* Builds, walks and frees binary trees, with an allocator that keeps a list of free nodes. */
#include "program.h"

enum { NODES = 1 << 18 };

typedef struct Node {
  struct Node *left, *right;
} Node;

static Node nodes[NODES], *free_nodes;
static int32_t fresh;

static Node *allocate(Node *left, Node *right) {
  Node *node = free_nodes;
  if (node) {
    free_nodes = node->left;
  } else {
    if (fresh == NODES) __builtin_trap();
    node = nodes + fresh++;
  }
  *node = (Node){left, right};
  return node;
}

static Node *build(int depth) {
  if (depth == 0) return allocate(NULL, NULL);
  Node *left = build(depth - 1);
  return allocate(left, build(depth - 1));
}

static uint32_t size_of(const Node *node) { return node ? 1 + size_of(node->left) + size_of(node->right) : 0; }

static void release(Node *node) {
  if (!node) return;
  release(node->left);
  release(node->right);
  node->left = free_nodes;
  free_nodes = node;
}

/* Mirrors the tree, so that it is laid out differently each time. */
static void mirror(Node *node) {
  for (; node; node = node->right) {
    Node *left = node->left;
    node->left = node->right;
    node->right = left;
    mirror(node->left);
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  fresh = 0;
  free_nodes = NULL;
  Node *old = build(16);
  for (int round = 0; round < n; round++) {
    for (int depth = 4; depth <= 16; depth += 4)
      for (int i = 0; i < 1 << (16 - depth); i++) {
        Node *tree = build(depth);
        if (i % 4 == 0) mirror(tree);
        hash = mix(hash, size_of(tree));
        release(tree);
      }
    mirror(old);
  }
  if (size_of(old) != (1 << 17) - 1) return -1;
  return checksum(mix(hash, (uint64_t)fresh));
}
