/* The Mandelbrot set in f64: a loop whose end depends on each point. */
#include "program.h"

static int escape_time(double x, double y, int limit) {
  double re = 0, im = 0, re_squared = 0, im_squared = 0;
  int i = 0;
  for (; i < limit && re_squared + im_squared <= 4; i++) {
    im = 2 * re * im + y;
    re = re_squared - im_squared + x;
    re_squared = re * re;
    im_squared = im * im;
  }
  return i;
}

int64_t run(int32_t n) {
  uint64_t hash = 0;
  for (int row = 0; row < n; row++)
    for (int column = 0; column < n; column++)
      hash = mix(hash, (uint64_t)escape_time(3.0 * column / n - 2.1, 2.4 * row / n - 1.2, 200));
  return checksum(hash);
}
