// Virtual functions: circuits of logic, whose parts are objects of many classes, simulated step after step; and expressions as trees,
// evaluated and differentiated.
#include "program.h"

namespace {

// All objects live here until the next round.
alignas(16) char arena[1 << 20];
size_t used;

template <typename T, typename... Arguments>
T *make(Arguments... arguments) {
  struct Placed : T {
    using T::T;
    static void *operator new(size_t size) {
      size_t at = used;
      used += (size + 15) & ~size_t(15);
      if (used > sizeof arena) __builtin_trap();
      return arena + at;
    }
  };
  return new Placed(arguments...);
}

// A part of a circuit reads the outputs of other parts as they were before the step.
class Part {
 public:
  bool output = false;
  virtual bool next() const = 0;
};

class And : public Part {
 public:
  And(const Part *a, const Part *b) : a(a), b(b) {}
  bool next() const override { return a->output && b->output; }

 private:
  const Part *a, *b;
};

class Or : public Part {
 public:
  Or(const Part *a, const Part *b) : a(a), b(b) {}
  bool next() const override { return a->output || b->output; }

 private:
  const Part *a, *b;
};

class Xor : public Part {
 public:
  Xor(const Part *a, const Part *b) : a(a), b(b) {}
  bool next() const override { return a->output != b->output; }

 private:
  const Part *a, *b;
};

class Not : public Part {
 public:
  explicit Not(const Part *a) : a(a) {}
  bool next() const override { return !a->output; }

 private:
  const Part *a;
};

// Gives out what came in while the other input was set.
class Latch : public Part {
 public:
  Latch(const Part *data, const Part *enable) : data(data), enable(enable) {}
  bool next() const override { return enable->output ? data->output : output; }

 private:
  const Part *data, *enable;
};

class Clock : public Part {
 public:
  explicit Clock(uint32_t period) : period(period) {}
  bool next() const override { return ++ticks % period == 0; }

 private:
  uint32_t period;
  mutable uint32_t ticks = 0;
};

constexpr int parts_count = 2000;
Part *parts[parts_count];
bool outputs[parts_count];

Part *random_part(int before) {
  const Part *a = parts[random_below(uint32_t(before))], *b = parts[random_below(uint32_t(before))];
  switch (random_below(6)) {
    case 0: return make<And>(a, b);
    case 1: return make<Or>(a, b);
    case 2:
    case 3: return make<Xor>(a, b);
    case 4: return make<Not>(a);
    default: return make<Latch>(a, b);
  }
}

uint64_t simulate(int steps) {
  for (int i = 0; i < parts_count; i++) parts[i] = i < 20 ? make<Clock>(uint32_t(i + 2)) : random_part(i);
  uint64_t hash = 0;
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < parts_count; i++) outputs[i] = parts[i]->next();
    uint64_t set = 0;
    for (int i = 0; i < parts_count; i++) set += parts[i]->output = outputs[i];
    hash = mix(hash, set);
  }
  return hash;
}

class Expression {
 public:
  virtual double value(double x) const = 0;
  virtual const Expression *derivative() const = 0;
};

class Constant : public Expression {
 public:
  explicit Constant(double c) : c(c) {}
  double value(double) const override { return c; }
  const Expression *derivative() const override { return make<Constant>(0.0); }

 private:
  double c;
};

class Variable : public Expression {
 public:
  double value(double x) const override { return x; }
  const Expression *derivative() const override { return make<Constant>(1.0); }
};

class Sum : public Expression {
 public:
  Sum(const Expression *a, const Expression *b) : a(a), b(b) {}
  double value(double x) const override { return a->value(x) + b->value(x); }
  const Expression *derivative() const override { return make<Sum>(a->derivative(), b->derivative()); }

 private:
  const Expression *a, *b;
};

class Product : public Expression {
 public:
  Product(const Expression *a, const Expression *b) : a(a), b(b) {}
  double value(double x) const override { return a->value(x) * b->value(x); }
  const Expression *derivative() const override {
    const Expression *left = make<Product>(a->derivative(), b), *right = make<Product>(a, b->derivative());
    return make<Sum>(left, right);
  }

 private:
  const Expression *a, *b;
};

class Root : public Expression {
 public:
  explicit Root(const Expression *of) : of(of) {}
  double value(double x) const override {
    double v = of->value(x);
    return __builtin_sqrt(v < 0 ? -v : v);
  }
  // As if of the square: it is only to be walked.
  const Expression *derivative() const override { return of->derivative(); }

 private:
  const Expression *of;
};

const Expression *random_expression(int depth) {
  if (depth == 0) {
    if (random_below(2)) return make<Variable>();
    return make<Constant>(random_unit() * 2 - 1);
  }
  uint32_t kind = random_below(5);
  const Expression *a = random_expression(depth - 1);
  if (kind == 4) return make<Root>(a);
  const Expression *b = random_expression(depth - 1);
  if (kind < 2) return make<Product>(a, b);
  return make<Sum>(a, b);
}

uint64_t evaluate(int points) {
  const Expression *expression = random_expression(8), *slope = expression->derivative();
  uint64_t hash = 0;
  for (int i = 0; i < points; i++) {
    double x = 2.0 * i / points - 1;
    hash = mix_f64(mix_f64(hash, expression->value(x)), slope->value(x));
  }
  return hash;
}

}  // namespace

int64_t run(int32_t n) {
  uint64_t hash = 0;
  random_seed(27);
  for (int round = 0; round < n; round++) {
    used = 0;
    hash = mix(hash, simulate(1000));
    hash = mix(hash, evaluate(1000));
  }
  return checksum(hash);
}
