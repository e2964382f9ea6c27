/* Fourier transforms of 2^15 complex numbers, forth and back. */
#include "program.h"

enum { BITS = 15, SIZE = 1 << BITS };

typedef struct {
  double re, im;
} Complex;

static Complex signal[SIZE], spectrum[SIZE], roots[SIZE / 2];

static inline Complex times(Complex a, Complex b) { return (Complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }

/* The roots of unity, from those of 2, 4, 8 ... by halving the angle. */
static void make_roots(void) {
  Complex half[BITS], w = {-1, 0};
  for (int i = 0; i < BITS; i++) {
    half[i] = w;
    double re = __builtin_sqrt((1 + w.re) / 2);
    w = i == 0 ? (Complex){0, 1} : (Complex){re, w.im / (2 * re)};
  }
  for (int i = 0; i < SIZE / 2; i++) {
    Complex root = {1, 0};
    for (int bit = 0; bit < BITS; bit++)
      if (i >> bit & 1) root = times(root, half[BITS - 1 - bit]);
    roots[i] = root;
  }
}

static void transform(Complex *a, bool inverse) {
  for (unsigned i = 1, j = 0; i < SIZE; i++) {
    unsigned bit = SIZE / 2;
    for (; j & bit; bit /= 2) j ^= bit;
    j ^= bit;
    if (i < j) {
      Complex swapped = a[i];
      a[i] = a[j];
      a[j] = swapped;
    }
  }
  for (int half = 1; half < SIZE; half *= 2) {
    int stride = SIZE / 2 / half;
    for (int start = 0; start < SIZE; start += 2 * half)
      for (int i = 0; i < half; i++) {
        Complex w = roots[i * stride], *low = a + start + i, *high = low + half;
        if (inverse) w.im = -w.im;
        Complex product = times(w, *high);
        *high = (Complex){low->re - product.re, low->im - product.im};
        *low = (Complex){low->re + product.re, low->im + product.im};
      }
  }
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(8);
  make_roots();
  for (int i = 0; i < SIZE; i++) signal[i] = (Complex){random_unit(), random_unit()};
  for (int round = 0; round < n; round++) {
    memcpy(spectrum, signal, sizeof signal);
    transform(spectrum, false);
    hash = mix_f64(hash, spectrum[(unsigned)round % SIZE].re);
    transform(spectrum, true);
    for (int i = 0; i < SIZE; i++) {
      double re = spectrum[i].re / SIZE, im = spectrum[i].im / SIZE;
      double off = (re - signal[i].re) * (re - signal[i].re) + (im - signal[i].im) * (im - signal[i].im);
      if (off > 1e-18) return -1;
      signal[i] = (Complex){im, re};
    }
  }
  for (int i = 0; i < SIZE; i++) hash = mix_f64(mix_f64(hash, signal[i].re), signal[i].im);
  return checksum(hash);
}
