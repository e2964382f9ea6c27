/* A small neural network in vectors: two layers of f32, and the same with bytes. */
#include "program.h"

enum { INPUTS = 256, HIDDEN = 128, OUTPUTS = 16, IMAGES = 32 };

typedef float Floats __attribute__((vector_size(16)));
typedef int8_t Bytes __attribute__((vector_size(8)));
typedef int16_t Words __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

static float images[IMAGES][INPUTS], first[HIDDEN][INPUTS], second[OUTPUTS][HIDDEN];
static int8_t byte_images[IMAGES][INPUTS], byte_first[HIDDEN][INPUTS], byte_second[OUTPUTS][HIDDEN];

static inline Floats load_floats(const float *at) {
  Floats v;
  memcpy(&v, at, sizeof v);
  return v;
}

/* Four sums, since each must wait for its last addition. */
static float product(const float *a, const float *b, int size) {
  Floats sums[4] = {0};
  for (int i = 0; i < size; i += 16)
    for (int j = 0; j < 4; j++) sums[j] += load_floats(a + i + 4 * j) * load_floats(b + i + 4 * j);
  Floats sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static inline Words load_bytes(const int8_t *at) {
  Bytes v;
  memcpy(&v, at, sizeof v);
  return __builtin_convertvector(v, Words);
}

static inline Integers low(Words v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), Integers); }

static inline Integers high(Words v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), Integers); }

static int32_t byte_product(const int8_t *a, const int8_t *b, int size) {
  Integers sum = {0};
  for (int i = 0; i < size; i += 8) {
    Words x = load_bytes(a + i), y = load_bytes(b + i);
    sum += low(x) * low(y) + high(x) * high(y);
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

/* The output that is highest. */
static int classify(const float *image, float *confidence) {
  float hidden[HIDDEN];
  int best = 0;
  for (int i = 0; i < HIDDEN; i++) {
    float sum = product(first[i], image, INPUTS);
    hidden[i] = sum > 0 ? sum : 0;
  }
  for (int i = 0; i < OUTPUTS; i++) {
    float sum = product(second[i], hidden, HIDDEN);
    if (i == 0 || sum > *confidence) *confidence = sum, best = i;
  }
  return best;
}

static int byte_classify(const int8_t *image, int32_t *confidence) {
  int8_t hidden[HIDDEN];
  int best = 0;
  for (int i = 0; i < HIDDEN; i++) {
    int32_t sum = byte_product(byte_first[i], image, INPUTS) >> 10;
    hidden[i] = (int8_t)(sum < 0 ? 0 : sum > 127 ? 127 : sum);
  }
  for (int i = 0; i < OUTPUTS; i++) {
    int32_t sum = byte_product(byte_second[i], hidden, HIDDEN);
    if (i == 0 || sum > *confidence) *confidence = sum, best = i;
  }
  return best;
}

static void fill(float *floats, int8_t *bytes, int size) {
  for (int i = 0; i < size; i++) {
    bytes[i] = (int8_t)((int)random_below(255) - 127);
    floats[i] = (float)bytes[i] / 128;
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(37);
  fill(first[0], byte_first[0], HIDDEN * INPUTS);
  fill(second[0], byte_second[0], OUTPUTS * HIDDEN);
  for (int round = 0; round < n; round++) {
    if (round % 16 == 0) fill(images[0], byte_images[0], IMAGES * INPUTS);
    for (int i = 0; i < IMAGES; i++) {
      float confidence = 0;
      int32_t byte_confidence = 0;
      hash = mix(hash, (uint64_t)classify(images[i], &confidence));
      hash = mix_f64(hash, confidence);
      hash = mix(hash, (uint64_t)byte_classify(byte_images[i], &byte_confidence));
      hash = mix(hash, (uint64_t)byte_confidence);
    }
    images[random_below(IMAGES)][random_below(INPUTS)] += 0.25f;
  }
  return checksum(hash);
}
