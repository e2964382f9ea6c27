// Answers the requests of `../process.rs`: a line of JSON for each line of JSON.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

/** What a session of each kind of work does for a sample, timing what counts. */
const sessions = {
  async call(bytes, { export: name, argument }) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    return () => timed(() => exports[name](argument));
  },

  async run(bytes, { n }) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    exports._initialize?.();
    return () => timed(() => exports.run(n));
  },

  async compile(bytes) {
    let module;
    return () => {
      const { sample } = timed(() => (module = new WebAssembly.Module(bytes)));
      return { sample: { ...sample, checksum: String(WebAssembly.Module.exports(module).length) } };
    };
  },

  async threads(bytes, { worker, threads, argument }) {
    const module = new WebAssembly.Module(bytes);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const leader = new WebAssembly.Instance(module, { env: { memory } }).exports;
    const workers = await Promise.all(
      Array.from({ length: threads }, () => startWorker({ module, memory, worker })),
    );
    return () => {
      leader.prepare();
      for (const worker of workers) worker.postMessage(argument);
      leader.await(threads);
      return timed(() => leader.run(threads));
    };
  },
};

function timed(run) {
  const start = process.hrtime.bigint();
  const checksum = run();
  return {
    sample: { nanoseconds: Number(process.hrtime.bigint() - start), checksum: String(checksum) },
  };
}

function startWorker(data) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: data });
    worker.once("message", () => resolve(worker));
    worker.once("error", reject);
  });
}

async function answer(line, state) {
  const request = JSON.parse(line);
  if (request.request === "sample") return state.sample();
  state.sample = await sessions[request.work.kind](readFileSync(request.file), request.work);
  return "loaded";
}

if (isMainThread) {
  const state = {};
  for await (const line of createInterface({ input: process.stdin })) {
    let reply;
    try {
      reply = await answer(line, state);
    } catch (error) {
      reply = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(reply) + "\n");
  }
  process.exit();
} else {
  const { module, memory, worker } = workerData;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  parentPort.on("message", (argument) => exports[worker](argument));
  parentPort.postMessage("ready");
}
