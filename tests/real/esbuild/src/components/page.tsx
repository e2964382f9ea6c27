/** @jsx h */
/** @jsxFrag Fragment */
import { h, Fragment, type Node } from "./h";

type ItemProps<T> = { value: T; index?: number };

function Item<T extends number>({ value, index = 0, ...rest }: ItemProps<T>): Node {
  return <li key={index} class={`item item-${index % 2 ? "odd" : "even"}`} {...rest}>{value}</li>;
}

export function render(title: string, values: number[], footer: string): string {
  const page = (
    <>
      <h1 data-title={title}>Results &amp; more &mdash; {title}</h1>
      <ul>
        {values.map((value, index) => (
          <Item value={value} index={index} />
        ))}
      </ul>
      {footer && <footer>{footer.trim()}</footer>}
    </>
  );
  return page.toString();
}
