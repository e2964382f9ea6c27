export function groupBy<K, V>(items: Iterable<V>, key: (item: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const item of items) {
    const k = key(item);
    (groups.get(k) ?? groups.set(k, []).get(k)!).push(item);
  }
  return groups;
}

export function memoize<A extends string | number, R>(f: (argument: A) => R): (argument: A) => R {
  const cache: Partial<Record<A, R>> = {};
  return (argument) => (cache[argument] ??= f(argument)) as R;
}

export class Queue<T extends { valueOf(): number }> implements Iterable<T> {
  private items: T[] = [];
  declare readonly brand: unique symbol;

  push(...items: T[]): this {
    this.items.push(...items);
    return this;
  }

  peek(): T | undefined {
    return this.items[0];
  }

  *[Symbol.iterator](): Iterator<T> {
    yield* this.items;
  }
}
