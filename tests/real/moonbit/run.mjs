// Runs a module that MoonBit compiled, as `spectest.wat` lets others run it.

import { readFileSync, writeFileSync } from "node:fs";

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const units = [];
const { exports } = new WebAssembly.Instance(module, {
  spectest: { print_char: (unit) => units.push(unit) },
});
exports._start();
const text = Buffer.from(Uint16Array.from(units).buffer).toString("utf16le");
writeFileSync(1, text);
