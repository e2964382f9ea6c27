export interface HasArea {
  area(): number;
}

export abstract class Shape implements HasArea {
  static #count = 0;
  readonly id: number;

  constructor(public readonly kind: string) {
    this.id = Shape.#count++;
  }

  abstract area(): number;

  get label(): string {
    return `${this.kind}#${this.id}`;
  }

  static get count(): number {
    return Shape.#count;
  }
}

export class Circle extends Shape {
  constructor(private radius: number) {
    super("circle");
  }

  override area(): number {
    return Math.PI * this.radius ** 2;
  }
}

export class Square extends Shape {
  #side: number;

  constructor(side: number) {
    super("square");
    this.#side = side;
  }

  override area(): number {
    return this.#side * this.#side;
  }
}

export const totalArea = <T extends HasArea>(items: readonly T[]): number =>
  items.reduce((sum, item) => sum + item.area(), 0);

export function neverUsed(): string {
  return "tree shaking removes this";
}
