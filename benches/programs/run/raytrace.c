/* Traces rays through a scene of spheres over a chequered floor, with shadows and reflections. */
#include "program.h"

enum { SPHERES = 12, DEPTH = 4 };

typedef struct {
  double x, y, z;
} Vector;

typedef struct {
  Vector centre;
  double radius;
  Vector colour;
  double mirror;
} Sphere;

static Sphere spheres[SPHERES];
static const Vector light = {0.48, 0.8, -0.36};

static inline Vector plus(Vector a, Vector b) { return (Vector){a.x + b.x, a.y + b.y, a.z + b.z}; }

static inline Vector minus(Vector a, Vector b) { return (Vector){a.x - b.x, a.y - b.y, a.z - b.z}; }

static inline Vector scaled(Vector a, double by) { return (Vector){a.x * by, a.y * by, a.z * by}; }

static inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

static inline Vector normalised(Vector a) { return scaled(a, 1 / __builtin_sqrt(dot(a, a))); }

static inline Vector reflected(Vector direction, Vector normal) { return minus(direction, scaled(normal, 2 * dot(direction, normal))); }

/* How far along the ray the sphere is, or infinity. */
static double distance_to(const Sphere *sphere, Vector origin, Vector direction) {
  Vector to = minus(sphere->centre, origin);
  double along = dot(to, direction), squared = dot(to, to) - along * along;
  double inside = sphere->radius * sphere->radius - squared;
  if (inside < 0) return __builtin_inf();
  double half = __builtin_sqrt(inside);
  if (along - half > 1e-6) return along - half;
  return along + half > 1e-6 ? along + half : __builtin_inf();
}

static bool in_shadow(Vector point) {
  for (int i = 0; i < SPHERES; i++)
    if (distance_to(spheres + i, point, light) < __builtin_inf()) return true;
  return false;
}

static Vector trace(Vector origin, Vector direction, int depth) {
  const Sphere *hit = NULL;
  double nearest = __builtin_inf();
  for (int i = 0; i < SPHERES; i++) {
    double distance = distance_to(spheres + i, origin, direction);
    if (distance < nearest) nearest = distance, hit = spheres + i;
  }
  double floor_distance = direction.y < 0 ? -origin.y / direction.y : __builtin_inf();
  Vector point, normal, colour;
  double mirror;
  if (floor_distance < nearest && floor_distance > 1e-6) {
    point = plus(origin, scaled(direction, floor_distance));
    normal = (Vector){0, 1, 0};
    bool dark = ((int64_t)__builtin_floor(point.x) ^ (int64_t)__builtin_floor(point.z)) & 1;
    colour = dark ? (Vector){0.2, 0.2, 0.25} : (Vector){0.9, 0.9, 0.85};
    mirror = 0.1;
  } else if (hit) {
    point = plus(origin, scaled(direction, nearest));
    normal = scaled(minus(point, hit->centre), 1 / hit->radius);
    colour = hit->colour;
    mirror = hit->mirror;
  } else {
    double height = 0.5 * (direction.y + 1);
    return plus(scaled((Vector){1, 1, 1}, 1 - height), scaled((Vector){0.4, 0.6, 1}, height));
  }
  double diffuse = dot(normal, light), brightness = 0.15, shine = 0;
  if (diffuse > 0 && !in_shadow(plus(point, scaled(normal, 1e-6)))) {
    brightness += 0.85 * diffuse;
    shine = dot(reflected(direction, normal), light);
    shine = shine > 0 ? shine * shine : 0;
    for (int i = 0; i < 4; i++) shine *= shine;
  }
  Vector seen = plus(scaled(colour, brightness), scaled((Vector){1, 1, 1}, shine));
  if (depth == 0) return seen;
  Vector mirrored = trace(plus(point, scaled(normal, 1e-6)), reflected(direction, normal), depth - 1);
  return plus(scaled(seen, 1 - mirror), scaled(mirrored, mirror));
}

static uint8_t to_byte(double value) { return (uint8_t)(value < 0 ? 0 : value > 1 ? 255 : 255 * value + 0.5); }

int64_t run(int32_t n) {
  random_seed(14);
  for (int i = 0; i < SPHERES; i++) {
    double radius = 0.3 + 0.5 * random_unit();
    spheres[i] = (Sphere){{6 * random_unit() - 3, radius + random_unit(), 3 + 5 * random_unit()},
                          radius,
                          {random_unit(), random_unit(), random_unit()},
                          0.2 + 0.6 * random_unit()};
  }
  uint64_t hash = 0;
  for (int y = 0; y < n; y++)
    for (int x = 0; x < n; x++) {
      Vector direction = normalised((Vector){(2.0 * x - n) / n, (n - 2.0 * y) / n - 0.2, 1.2});
      Vector colour = trace((Vector){0, 1.5, -2}, direction, DEPTH);
      hash = mix(hash, (uint64_t)to_byte(colour.x) << 16 | to_byte(colour.y) << 8 | to_byte(colour.z));
    }
  return checksum(hash);
}
