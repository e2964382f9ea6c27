// What the language has, from classes to generators, and everything that can be thrown.

abstract class Shape implements Comparable<Shape> {
  const Shape(this.name);
  final String name;
  int get area;

  @override
  int compareTo(Shape other) => area.compareTo(other.area);

  @override
  String toString() => '$name of $area';
}

mixin Named on Shape {
  String shout() => '${name.toUpperCase()}!';
}

class Square extends Shape with Named {
  const Square(this.side) : super('square');
  final int side;
  @override
  int get area => side * side;
}

class Rectangle extends Shape {
  Rectangle(this.width, this.height) : super('rectangle');
  final int width, height;
  @override
  int get area => width * height;
  @override
  bool operator ==(Object other) => other is Rectangle && other.width == width && other.height == height;
  @override
  int get hashCode => Object.hash(width, height);
}

class Broken extends Shape {
  Broken() : super('broken');
  @override
  int get area => throw Failure('no area', 7);
}

class Failure implements Exception {
  Failure(this.message, this.code);
  final String message;
  final int code;
  @override
  String toString() => 'Failure($message, $code)';
}

sealed class Tree<T extends Comparable<T>> {
  const Tree();
}

class Leaf<T extends Comparable<T>> extends Tree<T> {
  const Leaf();
}

class Node<T extends Comparable<T>> extends Tree<T> {
  const Node(this.left, this.value, this.right);
  final Tree<T> left, right;
  final T value;
}

extension Trees<T extends Comparable<T>> on Tree<T> {
  Tree<T> insert(T value) => switch (this) {
        Leaf<T>() => Node<T>(this, value, this),
        Node<T>(:final left, value: final it, :final right) => switch (value.compareTo(it)) {
            < 0 => Node<T>(left.insert(value), it, right),
            > 0 => Node<T>(left, it, right.insert(value)),
            _ => this,
          },
      };

  Iterable<T> get values sync* {
    if (this case Node<T>(:final left, :final value, :final right)) {
      yield* left.values;
      yield value;
      yield* right.values;
    }
  }
}

class Random {
  Random(this.state);
  int state;
  int next(int limit) {
    state = (state * 6364136223846793005 + 1442695040888963407);
    return ((state >>> 33) % limit);
  }
}

Iterable<int> primes() sync* {
  final found = <int>[];
  for (var n = 2;; n++) {
    if (found.takeWhile((p) => p * p <= n).every((p) => n % p != 0)) {
      found.add(n);
      yield n;
    }
  }
}

(int, String, {bool even}) describe(int n) => (n, 'n$n', even: n.isEven);

String classify(Object? it) => switch (it) {
      null => 'null',
      int n when n < 0 => 'negative',
      0 || 1 => 'a bit',
      int() => 'int',
      String(length: 0) => 'empty',
      String s => 'string of ${s.length}',
      [int a, ..., int b] => 'list from $a to $b',
      List(isEmpty: true) => 'empty list',
      {'kind': String kind} => 'map of $kind',
      (int a, int b) => 'pair ${a + b}',
      Shape(:final name) => 'shape $name',
      _ => 'other',
    };

int depth = 0;

int descend(int n) {
  depth++;
  try {
    if (n == 0) throw Failure('bottom', 0);
    return descend(n - 1) + 1;
  } finally {
    depth--;
  }
}

int rethrowing(int n, List<int> seen) {
  try {
    if (n == 0) throw StateError('start');
    return rethrowing(n - 1, seen);
  } on StateError {
    seen.add(n);
    rethrow;
  }
}

String attempt(Object? Function() f) {
  try {
    return 'returned ${f()}';
  } on Failure catch (e) {
    return 'Failure ${e.code}';
  } on RangeError {
    return 'RangeError';
  } on ArgumentError catch (e) {
    return 'ArgumentError ${e.message}';
  } on TypeError {
    return 'TypeError';
  } on StateError catch (e) {
    return 'StateError ${e.message}';
  } on FormatException catch (e) {
    return 'FormatException ${e.message}';
  } on UnsupportedError {
    return 'UnsupportedError';
  } on Exception catch (e) {
    return 'Exception $e';
  } catch (e) {
    return 'thrown $e';
  }
}

dynamic untyped(dynamic a, dynamic b) => a + b;

void main() {
  final shapes = <Shape>[Square(4), Rectangle(3, 5), Square(2), Rectangle(7, 1)];
  shapes.sort();
  print(shapes.join(', '));
  print(shapes.whereType<Named>().map((it) => it.shout()).toList());
  print({Rectangle(1, 2), Rectangle(1, 2), Rectangle(2, 1)}.length);
  print(identical(const Square(3), const Square(3)));

  final random = Random(42);
  Tree<num> numbers = const Leaf<num>();
  Tree<String> words = const Leaf<String>();
  for (var i = 0; i < 3000; i++) {
    numbers = numbers.insert(random.next(2000));
    words = words.insert('w${random.next(500)}');
  }
  print('${numbers.values.length} ${numbers.values.take(8).toList()} ${words.values.skip(100).take(6).join(' ')}');
  print(primes().skip(500).take(10).toList());

  for (final n in [3, 4]) {
    final (value, name, :even) = describe(n);
    print('$value $name $even');
  }
  for (final it in [null, -5, 1, 77, '', 'Größe 😀', [1, 2, 3], [], {'kind': 'test'}, (3, 4), Square(1), #symbol]) {
    print(classify(it));
  }

  print(attempt(() => 5));
  print(attempt(() => descend(200)));
  print('depth $depth');
  final seen = <int>[];
  print(attempt(() => rethrowing(20, seen)));
  print(seen);
  print(attempt(() => [1, 2, 3][random.next(1) + 3]));
  print(attempt(() => (shapes as List<Object>).cast<String>().first));
  print(attempt(() => <int>[].reduce((a, b) => a + b)));
  print(attempt(() => int.parse('12x')));
  print(attempt(() => throw 'a string'));
  print(attempt(() => throw (1, 2)));
  print(attempt(() => untyped(1, 'x')));
  print(attempt(() => untyped(shapes, 1)));
  print(attempt(() => Broken().compareTo(Square(1))));
  print(attempt(() => const [1, 2].add(3)));
  print(attempt(() => 1 ~/ (depth)));
  print(attempt(() => Iterable.generate(5, (i) => i == 3 ? throw Failure('in a generator', i) : i).toList()));

  var caught = 0;
  for (var i = 0; i < 20000; i++) {
    try {
      if (i % 3 == 0) throw Failure('many', i);
      caught += descend(i % 5);
    } on Failure catch (e) {
      caught = (caught * 31 + e.code) & 0xffffffff;
    }
  }
  print(caught);

  final counters = [for (var i = 0; i < 5; i++) () => i * i];
  print(counters.map((f) => f()).fold<int>(0, (a, b) => a + b));
  int Function(int) compose(int Function(int) f, int Function(int) g) => (x) => f(g(x));
  print(List.generate(100, (i) => (int x) => x ^ i).reduce(compose)(1000));
}
