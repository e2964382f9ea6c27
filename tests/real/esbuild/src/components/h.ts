export type Child = Node | string | number | false | null | undefined;
type Component = (props: Record<string, unknown> & { children?: Child[] }) => Node;

export const Fragment = Symbol("fragment");

export class Node {
  constructor(
    readonly tag: string | typeof Fragment,
    readonly attributes: Record<string, unknown>,
    readonly children: readonly Child[],
  ) {}

  toString(): string {
    const inner = this.children.filter((child) => child !== false && child != null).join("");
    if (typeof this.tag === "symbol") return inner;
    const attributes = Object.entries(this.attributes)
      .map(([name, value]) => ` ${name}="${value}"`)
      .join("");
    return `<${this.tag}${attributes}>${inner}</${this.tag}>`;
  }
}

export function h(tag: string | typeof Fragment | Component, props: object | null, ...children: Child[]): Node {
  const flat = children.flat() as Child[];
  return typeof tag === "function"
    ? tag({ ...props, children: flat })
    : new Node(tag, { ...props }, flat);
}
