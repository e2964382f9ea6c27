export enum Level {
  Debug = 1,
  Info = Debug << 1,
  Warn = "warn".length,
  Error = 99,
}

export const enum Colour {
  Red = "\x1b[31m",
  Reset = "\x1b[0m",
}

export type Logger = (level: Level, message: string) => void;

namespace Clock {
  export let ticks = 0;
  export function next(): string {
    return String(++ticks).padStart(4, "0");
  }
}

export const log: Logger = (level, message) => {
  const line = `[${Clock.next()}] ${Level[level] ?? "?"}: ${message}`;
  switch (level) {
    case Level.Error:
      console.error(Colour.Red + line + Colour.Reset);
      break;
    case Level.Debug:
      console.debug(line);
      break;
    default:
      console.log(line);
  }
};
