/* Filters an image with vectors of sixteen bytes. It gives what `image.c` gives. */
#include "program.h"

enum { WIDTH = 1024, HEIGHT = 512, EDGE = 16, STRIDE = WIDTH + 2 * EDGE };

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Words __attribute__((vector_size(16)));
typedef int16_t Signed __attribute__((vector_size(16)));
typedef uint8_t HalfBytes __attribute__((vector_size(8)));

/* Sixteen numbers of 16 bits. */
typedef struct {
  Words low, high;
} Wide;

/* With a border, which stays black. */
static uint8_t image[HEIGHT + 2 * EDGE][STRIDE], blurred[HEIGHT + 2 * EDGE][STRIDE], edges[HEIGHT + 2 * EDGE][STRIDE];

static inline Bytes load(const uint8_t *at) {
  Bytes bytes;
  memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

static inline void store(uint8_t *at, Bytes bytes) { memcpy(at, &bytes, sizeof bytes); }

static inline Wide widen(Bytes b) {
  return (Wide){__builtin_convertvector(__builtin_shufflevector(b, b, 0, 1, 2, 3, 4, 5, 6, 7), Words),
                __builtin_convertvector(__builtin_shufflevector(b, b, 8, 9, 10, 11, 12, 13, 14, 15), Words)};
}

/* The numbers must fit. */
static inline Bytes narrow(Wide w) {
  HalfBytes low = __builtin_convertvector(w.low, HalfBytes), high = __builtin_convertvector(w.high, HalfBytes);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

static inline Words blur_words(Words far_left, Words left, Words middle, Words right, Words far_right) {
  return (far_left + far_right + (left + right) * 4 + middle * 6 + 8) >> 4;
}

/* Weights of 1 4 6 4 1, over 16, along `step`. */
static void blur(const uint8_t *from, uint8_t *to, ptrdiff_t step) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++) {
    for (int x = EDGE; x < WIDTH + EDGE; x += 16) {
      const uint8_t *in = from + y * STRIDE + x;
      Wide far_left = widen(load(in - 2 * step)), left = widen(load(in - step)), middle = widen(load(in));
      Wide right = widen(load(in + step)), far_right = widen(load(in + 2 * step));
      Wide sum = {blur_words(far_left.low, left.low, middle.low, right.low, far_right.low),
                  blur_words(far_left.high, left.high, middle.high, right.high, far_right.high)};
      store(to + y * STRIDE + x, narrow(sum));
    }
  }
}

static inline Words magnitude(Words x) { return (Words)__builtin_elementwise_abs((Signed)x); }

/* As signed numbers, for which there is an instruction everywhere. */
static inline Words limited(Words x) { return (Words)__builtin_elementwise_min((Signed)x, (Signed){255, 255, 255, 255, 255, 255, 255, 255}); }

/* Of the nine points around, the rows from above; the middle one is not needed. */
static inline Words gradients(const Words p[9]) {
  Words across = p[2] + 2 * p[5] + p[8] - p[0] - 2 * p[3] - p[6];
  Words down = p[6] + 2 * p[7] + p[8] - p[0] - 2 * p[1] - p[2];
  return limited(magnitude(across) + magnitude(down));
}

/* The sum of the magnitudes of Sobel's two gradients, as far as it goes into a byte. */
static void find_edges(void) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++)
    for (int x = EDGE; x < WIDTH + EDGE; x += 16) {
      Words low[9], high[9];
      for (int i = 0; i < 9; i++) {
        Wide point = widen(load(&blurred[y + i / 3 - 1][x + i % 3 - 1]));
        low[i] = point.low, high[i] = point.high;
      }
      store(&edges[y][x], narrow((Wide){gradients(low), gradients(high)}));
    }
}

static inline Words blend_words(Words blurred_words, Words edge_words) {
  return limited(((blurred_words * 3 + edge_words + 2) >> 2) + 20);
}

/* Three quarters of the image and a quarter of its edges, made lighter. */
static void blend(void) {
  for (int y = EDGE; y < HEIGHT + EDGE; y++)
    for (int x = EDGE; x < WIDTH + EDGE; x += 16) {
      Wide b = widen(load(&blurred[y][x])), e = widen(load(&edges[y][x]));
      store(&image[y][x], narrow((Wide){blend_words(b.low, e.low), blend_words(b.high, e.high)}));
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
