// Prometheus' text format (version 0.0.4), written by hand for families with a line per service or real server: prom-client keeps an
// object per line and formats its labels at every scrape, which takes seconds where there are thousands.
// Guarantees: whatever is in a label's value or a help text, the result is well formed; lines of a family stand together.
// Thread: any; pure.
import type { Family } from './families.js';

/** As the format asks for: backslash, line feed and double quote. */
export function escapeLabelValue(value: string): string {
  if (!/[\\\n"]/.test(value)) return value;
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

/** `a="1",b="2"`: what stands between the braces. Values of "" are left out, which means the same. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
    .join(',');
}

/** Collects families into one text, in one buffer: a string per line would keep the garbage collector busier than all the rest. */
export class Exposition {
  readonly #common: string;
  #buffer = Buffer.allocUnsafe(65_536);
  #length = 0;

  /** `common`: labels of every line, as labelText() writes them. */
  constructor(common: string) {
    this.#common = common;
  }

  /**
   * Begins a family; the function that comes back adds one line to it: labels as labelText() writes them, and the value. `suffix` is
   * that of a part of a summary. A family without lines leaves nothing.
   */
  family({ name, help, type }: Family): (labels: string, value: number, suffix?: string) => void {
    const heading = `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
    const common = this.#common;
    let begun = false;
    return (labels, value, suffix = '') => {
      if (!begun) this.#write(heading);
      begun = true;
      const both = common === '' || labels === '' ? `${common}${labels}` : `${common},${labels}`;
      const number = Number.isFinite(value) ? value : infinite(value);
      this.#write(both === '' ? `${name}${suffix} ${number}\n` : `${name}${suffix}{${both}} ${number}\n`);
    };
  }

  #write(text: string): void {
    // UTF-8 has at most three bytes for each unit of a string.
    const needed = this.#length + 3 * text.length;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    this.#length += this.#buffer.write(text, this.#length);
  }

  toString(): string {
    return this.#buffer.toString('utf8', 0, this.#length);
  }
}

function infinite(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}
