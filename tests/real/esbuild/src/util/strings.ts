/** Joins a template's parts and indents every line by two spaces. */
export function indent(parts: TemplateStringsArray, ...values: unknown[]): string {
  const text = parts.reduce((all, part, i) => all + part + (i < values.length ? values[i] : ""), "");
  return text.replace(/^(?=.)/gm, "  ");
}

export const greeting = "Grüße, 世界 👋 \u{1F680}";
export const pattern = /(?<year>\d{4})-(?<month>\d{2})/u;
export const separators = ["\u2028", "\u2029", "</script>", `\``];

export function assertNever(value: never): never {
  throw new Error(`unexpected: ${value satisfies never}`);
}
