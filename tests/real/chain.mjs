// Runs modules in node as `waxwing run --preload NAME=FILE... FILE` does: each can import from those before it, and from
// `spectest`, whose `print_char` prints a UTF-16 code unit. The last one starts with `_start`.
//
//     node chain.mjs NAME=FILE... FILE

import { readFileSync, writeFileSync } from "node:fs";

const units = [];
const imports = { spectest: { print_char: (unit) => units.push(unit) } };
for (const argument of process.argv.slice(2)) {
  const [name, file] = argument.includes("=") ? argument.split("=") : ["main", argument];
  const module = new WebAssembly.Module(readFileSync(file));
  imports[name] = new WebAssembly.Instance(module, imports).exports;
}
imports.main._start();
writeFileSync(1, Buffer.from(Uint16Array.from(units).buffer).toString("utf16le"));
