// One file for esbuild to bundle: types to take away, an enum and a class to lower, and a name that nobody uses.

interface Shape {
  readonly name: string;
  area(): number;
}

enum Unit {
  Metre = "m",
  Foot = "ft",
}

class Circle implements Shape {
  readonly name = "circle";
  constructor(private readonly radius: number) {}
  area(): number {
    return Math.PI * this.radius ** 2;
  }
}

class Rectangle implements Shape {
  readonly name = "rectangle";
  constructor(
    private readonly width: number,
    private readonly height: number,
  ) {}
  area(): number {
    return this.width * this.height;
  }
}

const unused = (shape: Shape): string => shape.name;

export function report(shapes: Shape[], unit: Unit = Unit.Metre): string {
  return shapes.map((shape) => `${shape.name}: ${shape.area().toFixed(2)} ${unit}²`).join("\n");
}

console.log(report([new Circle(1), new Rectangle(2, 3)]));
