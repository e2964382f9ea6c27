/* Filters an image: blurs it in both directions, finds its edges, and blends them in. `image_simd.c` does the same with vectors. */
#include "program.h"

enum { WIDTH = 1024, HEIGHT = 512, EDGE = 16, STRIDE = WIDTH + 2 * EDGE };

/* With a border, which stays black. */
static uint8_t image[HEIGHT + 2 * EDGE][STRIDE], blurred[HEIGHT + 2 * EDGE][STRIDE], edges[HEIGHT + 2 * EDGE][STRIDE];

/* Weights of 1 4 6 4 1, over 16, along `step`. */
static void blur(const uint8_t *from, uint8_t *to, ptrdiff_t step) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++) {
    const uint8_t *in = from + y * STRIDE;
    uint8_t *out = to + y * STRIDE;
    for (int x = EDGE; x < WIDTH + EDGE; x++) {
      unsigned sum = in[x - 2 * step] + in[x + 2 * step] + 4u * (in[x - step] + in[x + step]) + 6u * in[x] + 8;
      out[x] = (uint8_t)(sum >> 4);
    }
  }
}

static int absolute(int x) { return x < 0 ? -x : x; }

/* The sum of the magnitudes of Sobel's two gradients, as far as it goes into a byte. */
static void find_edges(void) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++) {
    const uint8_t *above = blurred[y - 1], *row = blurred[y], *below = blurred[y + 1];
    for (int x = EDGE; x < WIDTH + EDGE; x++) {
      int across = above[x + 1] + 2 * row[x + 1] + below[x + 1] - above[x - 1] - 2 * row[x - 1] - below[x - 1];
      int down = below[x - 1] + 2 * below[x] + below[x + 1] - above[x - 1] - 2 * above[x] - above[x + 1];
      int sum = absolute(across) + absolute(down);
      edges[y][x] = (uint8_t)(sum > 255 ? 255 : sum);
    }
  }
}

/* Three quarters of the image and a quarter of its edges, made lighter. */
static void blend(void) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++)
    for (int x = EDGE; x < WIDTH + EDGE; x++) {
      unsigned sum = (3u * blurred[y][x] + edges[y][x] + 2) / 4 + 20;
      image[y][x] = (uint8_t)(sum > 255 ? 255 : sum);
    }
}

int64_t run(int32_t n) {
  random_seed(26);
  memset(image, 0, sizeof image);
  for (int y = EDGE; y < HEIGHT + EDGE; y++)
    for (int x = EDGE; x < WIDTH + EDGE; x++) image[y][x] = (uint8_t)(x * y / 64 + (int)random_below(64));
  for (int round = 0; round < n; round++) {
    blur(image[0], edges[0], 1);
    blur(edges[0], blurred[0], STRIDE);
    find_edges();
    blend();
    image[EDGE + random_below(HEIGHT)][EDGE + random_below(WIDTH)] = 255;
  }
  return checksum(mix_bytes(0, image, sizeof image));
}
