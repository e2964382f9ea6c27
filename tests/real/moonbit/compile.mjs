// Compiles MoonBit programs, and the tests of MoonBit's standard library, to WebAssembly with garbage collection.
//
//     node --stack-size=50000 compile.mjs PACKAGE OUTPUT SOURCES TESTED...
//
// PACKAGE is the unpacked npm package `@moonbit/moonpad-monaco`: the compiler as a script for a web worker, and the
// library's sources. For each SOURCES/name.mbt, OUTPUT/name.wasm and OUTPUT/name.js are written, and for
// each package of the library in TESTED, OUTPUT/tests/name.wasm, which runs its tests. Modules print by `spectest.print_char`,
// which takes a UTF-16 code unit, and start with `_start`.

import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import vm from "node:vm";

const [folder, output, sources, ...tested] = process.argv.slice(2);
const ROOT = "moonbitlang/core";

/** The compiler keeps state from call to call: a context of its own for each. */
const script = new vm.Script(readFileSync(join(folder, "dist/moonc-worker.js"), "utf8"));

/** Calls a function that the worker offers, in the messages of the library `comlink`. */
function moonc(name, parameters) {
  return new Promise((resolve, reject) => {
    let listener;
    const context = vm.createContext({
      // Its warnings.
      console: { error() {}, log() {}, warn() {} },
      addEventListener: (_, it) => (listener = it),
      removeEventListener() {},
      postMessage(message) {
        if (message.type === "RAW") resolve(message.value);
        else reject(new Error(`${name}: ${JSON.stringify(message.value)}`));
      },
    });
    script.runInContext(context);
    const argumentList = [{ type: "RAW", value: parameters }];
    listener({ data: { id: "1", type: "APPLY", path: [name], argumentList }, origin: "" });
  });
}

/** The library's files, which stand in the package's script as variables in base64. */
function libraryFiles() {
  const text = readFileSync(join(folder, "dist/moonpad-monaco.js"), "utf8");
  const variables = new Map();
  for (const [, name, value] of text.matchAll(/([\w$]+) = d\("([A-Za-z0-9+/=]*)"\)/g)) {
    variables.set(name, value);
  }
  const files = new Map();
  for (const [, path, name] of text.matchAll(/^\w+\["\/lib\/core\/([^"]+)"\] = ([\w$]+);/gm)) {
    files.set(path, Buffer.from(variables.get(name), "base64"));
  }
  return files;
}

const files = libraryFiles();
const packages = new Map(
  JSON.parse(files.get("_build/packages.json")).packages.map((it) => [`${ROOT}/${it.rel}`, it]),
);
if (packages.size < 50) throw new Error(`${folder} has ${packages.size} packages of the library`);

/** The files in a list of `packages.json` that are for a back end. */
function filesFor(list, target) {
  const backend = { "wasm-gc": "WasmGC", js: "Js" }[target];
  return Object.entries(list)
    .filter(([, it]) => it.backend.includes(backend) && it.optlevel.includes("Release"))
    .map(([path]) => path.replace("moonbit-core:/lib/core/", ""))
    .map((path) => [basename(path), files.get(path).toString()]);
}

/** Compiles a package: `{ core, mi }`. */
async function buildPackage(target, name, mbtFiles, imports, more = {}) {
  const path = packages.has(name) ? `moonbit-core:/lib/core/${packages.get(name).rel}` : "app:/";
  const result = await moonc("buildPackage", {
    mbtFiles,
    miFiles: imports,
    indirectImportMiFiles: [],
    stdMiFiles: [],
    target,
    pkg: name,
    pkgSources: [`${name}:${path}`],
    isMain: false,
    errorFormat: "human",
    enableValueTracing: false,
    noOpt: false,
    ...more,
  });
  if (!result.core) throw new Error(`cannot compile ${name}:\n${result.diagnostics.join("")}`);
  return result;
}

function importFile(name, alias, mi) {
  return [`/lib/core/${name.slice(ROOT.length + 1)}/${basename(name)}.mi:${alias}`, mi];
}

/** Compiles the library for a target, or takes it from the last time: its packages' `{ core, mi }` by name, in order. */
async function buildLibrary(target) {
  const built = new Map();
  const cache = join(output, "library", target);
  async function build(name) {
    if (built.has(name)) return;
    const { rel, deps, files: list } = packages.get(name);
    for (const { path } of deps) await build(path);
    const file = join(cache, rel.replaceAll("/", "+"));
    if (!existsSync(`${file}.mi`)) {
      const aliases = new Map(deps.map(({ path, alias }) => [path, alias]));
      // What is imported by imports counts too; the name must not be one that a source uses.
      const imports = [...built].map(([it, { mi }]) =>
        importFile(it, aliases.get(it) ?? `indirect_${it.replace(/\W/g, "_")}`, mi),
      );
      const { core, mi } = await buildPackage(target, name, filesFor(list, target), imports);
      mkdirSync(cache, { recursive: true });
      writeFileSync(`${file}.core`, core);
      writeFileSync(`${file}.mi`, mi);
    }
    built.set(name, {
      core: new Uint8Array(readFileSync(`${file}.core`)),
      mi: new Uint8Array(readFileSync(`${file}.mi`)),
    });
  }
  for (const name of packages.keys()) await build(name);
  return built;
}

async function link(target, library, name, core, file) {
  const { result } = await moonc("linkCore", {
    coreFiles: [...[...library.values()].map((it) => it.core), core],
    exportedFunctions: [],
    main: name,
    outputFormat: "wasm",
    pkgSources: [`${ROOT}:moonbit-core:/lib/core`, `${name}:app:/`],
    sources: {},
    target,
    testMode: false,
    sourceMap: false,
    debug: false,
    noOpt: false,
    stopOnMain: false,
  });
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, result);
}

/** The library as a program imports it: whole, each package by the last part of its path. */
function standardImports(library) {
  return [...library].map(([name, { mi }]) => {
    const rel = name.slice(ROOT.length + 1);
    return [`/lib/core/${rel}:${rel}`, mi];
  });
}

async function buildProgram(target, library, source) {
  const name = basename(source, ".mbt");
  const file = join(output, `${name}.${target === "js" ? "js" : "wasm"}`);
  const mbtFiles = [[basename(source), readFileSync(source, "utf8")]];
  const more = { stdMiFiles: standardImports(library), isMain: true };
  const { core } = await buildPackage(target, "app/main", mbtFiles, [], more);
  await link(target, library, "app/main", core, file);
}

/** The main function of a program that runs tests; the two tables follow it. */
const DRIVER = `
fn run(file : String, index : Int, names : Array[String], f : () -> Unit raise) -> Unit {
  let name = names.get(0).unwrap_or(index.to_string())
  // These are to trap.
  guard !name.has_prefix("panic") else { return }
  let result = try { f(); "ok" } catch { error => "failed: \\{error}" }
  println("\\{file} \\{name}: \\{result}")
}

fn main {
TABLES
  for file, tests in no_args_tests {
    for index, it in tests { run(file, index, it.1, it.0) }
  }
  for file, tests in with_args_tests {
    for index, it in tests {
      let (f, names) = it
      run(file, index, names, fn() raise { f(@moonbitlang/core/test.Test::new(index.to_string())) })
    }
  }
}
`;

/** A program that runs the black-box tests of a package and prints what becomes of each. */
async function buildTests(target, library, name) {
  const { rel, "test-files": list, "test-deps": more, deps } = packages.get(name);
  const file = join(output, "tests", `${rel.replaceAll("/", "-")}.wasm`);
  if (existsSync(file)) return;
  const mbtFiles = filesFor(list, target).filter(([, text]) => /^(async )?test\b/m.test(text));
  if (mbtFiles.length === 0) throw new Error(`${name} has no tests`);
  const tables = (await moonc("genTestInfo", { mbtFiles }))
    .replace("let no_args_tests", "let no_args_tests : Map[String, Map[Int, (() -> Unit raise, Array[String])]]")
    .replace(
      "let with_args_tests",
      "let with_args_tests : Map[String, Map[Int, ((@moonbitlang/core/test.Test) -> Unit raise, Array[String])]]",
    )
    .split(/^ *let /m)
    .filter((it) => it.startsWith("no_args") || it.startsWith("with_args"))
    .map((it) => `  let ${it}`)
    .join("");
  mbtFiles.push(["driver.mbt", DRIVER.replace("TABLES", () => tables)]);
  const imports = new Map([...deps, ...more].map(({ path, alias }) => [path, alias]));
  imports.set(name, basename(name));
  const importFiles = [...imports].map(([it, alias]) => importFile(it, alias, library.get(it).mi));
  const main = "app/test";
  const { core } = await buildPackage(target, main, mbtFiles, importFiles, {
    isMain: true,
    stdMiFiles: standardImports(library),
  });
  await link(target, library, main, core, file);
}

const programs = readdirSync(sources).filter((it) => it.endsWith(".mbt"));
for (const target of ["wasm-gc", "js"]) {
  const library = await buildLibrary(target);
  for (const program of programs) await buildProgram(target, library, join(sources, program));
  if (target === "wasm-gc") {
    for (const rel of tested) await buildTests(target, library, `${ROOT}/${rel}`);
  }
}
