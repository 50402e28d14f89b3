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

/** Collects families into one text. */
export class Exposition {
  readonly #lines: string[] = [];
  readonly #common: string;

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
    const lines = this.#lines;
    const common = this.#common;
    let begun = false;
    return (labels, value, suffix = '') => {
      if (!begun) lines.push(heading);
      begun = true;
      const both = common === '' || labels === '' ? `${common}${labels}` : `${common},${labels}`;
      lines.push(both === '' ? `${name}${suffix} ${value}\n` : `${name}${suffix}{${both}} ${value}\n`);
    };
  }

  toString(): string {
    return this.#lines.join('');
  }
}
