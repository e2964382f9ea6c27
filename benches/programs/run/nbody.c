/* Bodies that attract each other, moved in small steps: f64 arithmetic with square roots and divisions. */
#include "program.h"

enum { BODIES = 5 };

typedef struct {
  double x[3], v[3], mass;
} Body;

static Body bodies[BODIES];

static void advance(double dt) {
  for (int i = 0; i < BODIES; i++) {
    Body *a = bodies + i;
    for (int j = i + 1; j < BODIES; j++) {
      Body *b = bodies + j;
      double d[3], squared = 0;
      for (int k = 0; k < 3; k++) {
        d[k] = a->x[k] - b->x[k];
        squared += d[k] * d[k];
      }
      double force = dt / (squared * __builtin_sqrt(squared));
      for (int k = 0; k < 3; k++) {
        a->v[k] -= d[k] * b->mass * force;
        b->v[k] += d[k] * a->mass * force;
      }
    }
  }
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) bodies[i].x[k] += dt * bodies[i].v[k];
}

/* A heavy one in the middle, and light ones that circle around it. */
static void place(void) {
  random_seed(7);
  bodies[0] = (Body){.mass = 40};
  for (int i = 1; i < BODIES; i++) {
    double distance = 4 + 6 * i, speed = __builtin_sqrt(bodies[0].mass / distance);
    bodies[i] = (Body){{distance, 0, random_unit() - 0.5}, {0, speed, 0.01 * random_unit()}, 0.01 + 0.02 * random_unit()};
  }
}

static double energy(void) {
  double sum = 0;
  for (int i = 0; i < BODIES; i++) {
    const Body *a = bodies + i;
    sum += 0.5 * a->mass * (a->v[0] * a->v[0] + a->v[1] * a->v[1] + a->v[2] * a->v[2]);
    for (int j = i + 1; j < BODIES; j++) {
      double squared = 0;
      for (int k = 0; k < 3; k++) squared += (a->x[k] - bodies[j].x[k]) * (a->x[k] - bodies[j].x[k]);
      sum -= a->mass * bodies[j].mass / __builtin_sqrt(squared);
    }
  }
  return sum;
}

int64_t run(int32_t n) {
  place();
  double before = energy();
  for (int i = 0; i < n; i++) advance(0.001);
  double change = energy() / before - 1;
  if (change > 1e-3 || change < -1e-3) return -1;
  uint64_t hash = 0;
  for (int i = 0; i < BODIES; i++)
    for (int k = 0; k < 3; k++) hash = mix_f64(mix_f64(hash, bodies[i].x[k]), bodies[i].v[k]);
  return checksum(hash);
}
