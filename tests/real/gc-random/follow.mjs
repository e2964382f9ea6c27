// Follows plans of `gc-random` with the engine of this program, and writes what is seen:
//
//     node follow.mjs FOLDER FIRST COUNT
//
// reads SEED.wasm and SEED.json, and writes SEED.txt. The lines are those of
// `waxwing_tests::objects::transcribe`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FUEL = 600;
const LIMIT = 'limit';

const bits = new DataView(new ArrayBuffer(8));
const fromF32 = (n) => (bits.setUint32(0, n), bits.getFloat32(0));
const fromF64 = (text) => (bits.setBigUint64(0, BigInt(text)), bits.getFloat64(0));
const f32 = (x) => (bits.setFloat32(0, x), bits.getUint32(0).toString(16).padStart(8, '0'));
const f64 = (x) => (bits.setFloat64(0, x), bits.getBigUint64(0).toString(16).padStart(16, '0'));

function hash(data) {
  let hash = 0x811c9dc5;
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

// What an engine calls each kind of trap.
const TRAPS = [
  [/unreachable/, 'unreachable'],
  [/divide by zero|remainder by zero/, 'division by zero'],
  [/divide result unrepresentable|float unrepresentable/, 'not representable'],
  [/null function|function signature mismatch/, 'no such function'],
  [/out of bounds|out-of-bounds/, 'out of bounds'],
  [/dereferencing a null pointer|rethrowing null|throw_ref|null reference/, 'null reference'],
  [/illegal cast/, 'cast failure'],
  [/unaligned/, 'not aligned'],
];

class Follower {
  constructor(plan) {
    this.plan = plan;
    this.objects = new Map();
    this.numbers = new Map();
    this.returned = [];
  }

  host(number) {
    let object = this.objects.get(number);
    if (object === undefined) {
      object = { number };
      this.objects.set(number, object);
      this.numbers.set(object, number);
    }
    return object;
  }

  // `undefined` if there is no such value.
  value(arg) {
    if ('i32' in arg) return arg.i32;
    if ('i64' in arg) return BigInt(arg.i64);
    if ('f32' in arg) return fromF32(arg.f32);
    if ('f64' in arg) return fromF64(arg.f64);
    if ('null' in arg) return null;
    if ('i31' in arg) return arg.i31;
    if ('host' in arg) return this.host(arg.host);
    const results = this.returned[arg.call];
    if (results !== null) return results[arg.result];
    return arg.nullable ? null : undefined;
  }

  describe(kind, value) {
    switch (kind) {
      case 'i32':
        return `i32:${value}`;
      case 'i64':
        return `i64:${value}`;
      case 'f32':
        return Number.isNaN(value) ? 'f32:nan' : `f32:${f32(value)}`;
      case 'f64':
        return Number.isNaN(value) ? 'f64:nan' : `f64:${f64(value)}`;
    }
    if (value === null) return 'null';
    if (typeof value === 'function') return 'func';
    if (typeof value === 'number') return `i31:${value}`;
    const number = this.numbers.get(value);
    return number === undefined ? 'object' : `host:${number}`;
  }

  failure(error) {
    if (error instanceof WebAssembly.Exception) {
      for (const [index, { name, params }] of this.plan.tags.entries()) {
        const tag = this.exports?.[name];
        if (tag !== undefined && error.is(tag)) {
          const fields = params.map((kind, i) => ' ' + this.describe(kind, error.getArg(tag, i)));
          return `threw tag ${index}${fields.join('')}`;
        }
      }
      return 'threw another tag';
    }
    if (error instanceof RangeError || /array is too large/.test(error.message)) return LIMIT;
    if (error instanceof WebAssembly.RuntimeError) {
      for (const [pattern, name] of TRAPS) if (pattern.test(error.message)) return `trapped: ${name}`;
      return `trapped: ${error.message}`;
    }
    throw error;
  }

  call(number) {
    const call = this.plan.calls[number];
    this.returned[number] = null;
    this.exports[this.plan.fuel].value = FUEL;
    const args = [];
    for (const arg of call.args) {
      const value = this.value(arg);
      if (value === undefined) return 'left out';
      args.push(value);
    }
    let results;
    try {
      results = this.exports[call.function](...args);
    } catch (error) {
      return this.failure(error);
    }
    if (call.results.length === 0) results = [];
    else if (call.results.length === 1) results = [results];
    this.returned[number] = results;
    const texts = call.results.map((kind, i) => ' ' + this.describe(kind, results[i]));
    return `returned${texts.join('')}`;
  }

  state(item) {
    const exported = this.exports[item.name];
    switch (item.kind) {
      case 'global':
        return `global ${this.describe(item.type, exported.value)}`;
      case 'memory': {
        const data = new Uint8Array(exported.buffer);
        return `memory of ${data.length}, ${hash(data)}`;
      }
      case 'table': {
        // 64-bit tables are indexed by what their length is.
        const size = exported.length;
        const texts = [];
        for (let i = size - size; i < size; i++) texts.push(' ' + this.describe('ref', exported.get(i)));
        return `table of ${size}:${texts.join('')}`;
      }
    }
    throw new Error(`unknown kind ${item.kind}`);
  }

  follow(wasm) {
    const lines = [];
    let instance;
    try {
      instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), {});
    } catch (error) {
      return [`instantiation: ${this.failure(error)}`];
    }
    lines.push('instantiation: returned');
    this.exports = instance.exports;
    for (const number of this.plan.calls.keys()) lines.push(`call ${number}: ${this.call(number)}`);
    for (const [number, item] of this.plan.items.entries()) {
      lines.push(`item ${number}: ${this.state(item)}`);
    }
    return lines;
  }
}

const [folder, first, count] = process.argv.slice(2);
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const plan = JSON.parse(readFileSync(join(folder, `${seed}.json`), 'utf8'));
  const wasm = readFileSync(join(folder, `${seed}.wasm`));
  let lines;
  try {
    lines = new Follower(plan).follow(wasm);
  } catch (error) {
    console.error(`seed ${seed}: ${error.stack}`);
    process.exitCode = 1;
    lines = [`failed: ${error.message}`];
  }
  writeFileSync(join(folder, `${seed}.txt`), lines.join('\n') + '\n');
}
