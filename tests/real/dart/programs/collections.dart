// The core library's collections under load.

import 'dart:collection';
import 'dart:typed_data';

class Random {
  Random(this.state);
  int state;
  int next(int limit) {
    state = (state * 6364136223846793005 + 1442695040888963407);
    return ((state >>> 33) % limit);
  }
}

final class Entry extends LinkedListEntry<Entry> {
  Entry(this.key, this.value);
  final int key;
  int value;
}

/// Keeps what was used last.
class Cache {
  Cache(this.capacity);
  final int capacity;
  final _entries = <int, Entry>{};
  final _order = LinkedList<Entry>();
  int hits = 0;

  int get(int key, int Function(int) compute) {
    var entry = _entries[key];
    if (entry != null) {
      hits++;
      entry.unlink();
    } else {
      if (_entries.length == capacity) {
        final oldest = _order.first;
        oldest.unlink();
        _entries.remove(oldest.key);
      }
      entry = _entries[key] = Entry(key, compute(key));
    }
    _order.add(entry);
    return entry.value;
  }
}

/// The moves of a knight, by breadth-first search.
int knight(int size, int from, int to) {
  final queue = Queue<(int, int)>()..add((from, 0));
  final seen = <int>{from};
  while (queue.isNotEmpty) {
    final (at, moves) = queue.removeFirst();
    if (at == to) return moves;
    final (x, y) = (at % size, at ~/ size);
    for (final (dx, dy) in const [(1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)]) {
      final (nx, ny) = (x + dx, y + dy);
      if (nx < 0 || ny < 0 || nx >= size || ny >= size) continue;
      if (seen.add(ny * size + nx)) queue.add((ny * size + nx, moves + 1));
    }
  }
  return -1;
}

int queens(int size, [List<int> placed = const []]) {
  if (placed.length == size) return 1;
  var count = 0;
  for (var column = 0; column < size; column++) {
    var free = true;
    for (var i = 0; i < placed.length; i++) {
      final d = placed.length - i;
      if (placed[i] == column || placed[i] - column == d || column - placed[i] == d) free = false;
    }
    if (free) count += queens(size, [...placed, column]);
  }
  return count;
}

BigInt factorial(int n) => n < 2 ? BigInt.one : BigInt.from(n) * factorial(n - 1);

void main() {
  final random = Random(7);

  final counts = <String, int>{};
  const syllables = ['ka', 'to', 'ri', 'sun', 'x', 'ле', 'ō'];
  for (var i = 0; i < 30000; i++) {
    final word = StringBuffer();
    for (var j = random.next(3); j >= 0; j--) {
      word.write(syllables[random.next(syllables.length)]);
    }
    counts.update('$word', (n) => n + 1, ifAbsent: () => 1);
  }
  final most = counts.entries.toList()
    ..sort((a, b) => a.value != b.value ? b.value - a.value : a.key.compareTo(b.key));
  print('${counts.length} words');
  for (final MapEntry(:key, :value) in most.take(8)) {
    print('$key: $value');
  }

  final tree = SplayTreeMap<int, List<int>>();
  for (var i = 0; i < 30000; i++) {
    tree.putIfAbsent(random.next(3000), () => []).add(i);
    if (i % 3 == 0) tree.remove(random.next(3000));
  }
  print('${tree.length} ${tree.firstKey()} ${tree.lastKey()} ${tree.values.fold<int>(0, (n, it) => n + it.length)}');

  final cache = Cache(200);
  var sum = 0;
  for (var i = 0; i < 40000; i++) {
    sum += cache.get(random.next(20) * random.next(20), (key) => key * key);
  }
  print('$sum ${cache.hits}');

  final linked = LinkedHashMap<Object, int>.identity();
  final keys = List.generate(500, (i) => Object());
  for (var i = 0; i < 20000; i++) {
    final key = keys[random.next(keys.length)];
    linked[key] = (linked.remove(key) ?? 0) + 1;
  }
  print('${linked.length} ${linked.values.reduce((a, b) => a > b ? a : b)}');

  final numbers = Int32List(100000);
  for (var i = 0; i < numbers.length; i++) {
    numbers[i] = random.next(1 << 30);
  }
  numbers.sort();
  final doubles = Float64List.fromList([for (var i = 0; i < 1000; i++) numbers[i * 100] / 3]);
  print('${numbers[0]} ${numbers[50000]} ${numbers[99999]} ${(doubles.reduce((a, b) => a + b) / 1000).floor()}');
  final objects = [for (var i = 0; i < 50000; i++) (key: random.next(1000), place: i)];
  objects.sort((a, b) => a.key - b.key);
  print(objects.first.key);
  print(objects.indexed.fold<int>(0, (n, it) => (n * 31 + it.$2.key * it.$1) & 0xffffffff));

  print('${knight(60, 0, 3599)} ${knight(3, 0, 4)} ${queens(7)}');
  print(factorial(60));
  print(BigInt.from(3).modPow(factorial(12), BigInt.from(1000000007)));
  print((factorial(40) ~/ factorial(35)).toRadixString(36));

  final lines = List.generate(200, (i) => 'line $i: ${'ab' * (i % 5)}').join('\n');
  final parts = lines.split('\n').where((it) => it.contains('abab')).map((it) => it.split(': ').first);
  print('${lines.length} ${parts.length} ${parts.last.padLeft(12, '.')} ${lines.indexOf('line 77')}');
  print(lines.codeUnits.fold<int>(0, (n, it) => (n * 31 + it) & 0xffffff));
  print('Größe'.runes.map((it) => it.toRadixString(16)).join(' '));
}
