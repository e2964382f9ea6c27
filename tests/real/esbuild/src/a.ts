import { Shape, Circle, Square, totalArea } from "./util/shapes";
import { Level, log, type Logger } from "./util/log";
import { groupBy, memoize, Queue } from "./util/collections";
import { render } from "./components/page";
import settings from "./data/settings.json";
import note from "./data/note.txt";
import * as strings from "./util/strings";

declare const BUILD: string | undefined;

const shapes: Shape[] = [new Circle(2), new Square(3), new Circle(0.5)];
const byKind = groupBy(shapes, (shape) => shape.kind);

const fibonacci = memoize((n: number): bigint =>
  n < 2 ? BigInt(n) : fibonacci(n - 1) + fibonacci(n - 2),
);

async function* countdown(from: number): AsyncGenerator<number, void, undefined> {
  for (let i = from; i > 0; i--) yield i;
}

export async function main(logger: Logger = log): Promise<number> {
  logger(Level.Info, `area: ${totalArea(shapes).toFixed(3)}`);
  for (const [kind, members] of byKind) logger(Level.Debug, `${kind}: ${members.length}`);
  logger(Level.Info, `fibonacci(90) = ${fibonacci(90)}`);
  const queue = new Queue<number>();
  for await (const n of countdown(settings.retries ?? 3)) queue.push(n ** 2);
  const { name, limits: { memory = 64, ...rest }, ...others } = settings;
  logger(Level.Warn, strings.indent`${name}: ${memory} ${JSON.stringify({ rest, others })}`);
  logger(Level.Info, render(name, [...queue], note));
  return queue.peek()?.valueOf() ?? -1;
}

if (typeof BUILD !== "undefined" && BUILD !== "library") {
  main().then(
    (code) => log(Level.Info, `done: ${code}`),
    (error: unknown) => log(Level.Error, String(error)),
  );
}
