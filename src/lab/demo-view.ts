// How the demo shows itself while it runs: a table that redraws itself on a terminal, plain lines elsewhere, nothing for machines.
// Guarantees: control characters only on a terminal; the last state stays readable when the view ends.
// Thread: the main thread.
import type { BalancerStats } from './balancer-events.js';
import { bytesText, numberText, table } from './text.js';

export interface DemoView {
  /** What is being done from now on. */
  step(text: string): void;
  stats(stats: BalancerStats): void;
  end(): void;
}

export type ViewKind = 'terminal' | 'lines' | 'quiet';

export function makeView(kind: ViewKind, out: NodeJS.WritableStream): DemoView {
  if (kind === 'terminal') return new TerminalView(out);
  return kind === 'lines' ? new LineView(out) : { step: () => {}, stats: () => {}, end: () => {} };
}

interface Rates {
  readonly packets: number;
  readonly connections: number;
}

/** Rates per second between two statistics. */
export function rates(before: BalancerStats | undefined, now: BalancerStats): Rates {
  const seconds = before === undefined ? 0 : (now.time - before.time) / 1000;
  if (before === undefined || seconds <= 0) return { packets: 0, connections: 0 };
  return {
    packets: (now.totals.rxPackets - before.totals.rxPackets) / seconds,
    connections: (now.totals.sessionsCreated - before.totals.sessionsCreated) / seconds,
  };
}

function headline(now: BalancerStats, rate: Rates): string {
  const { totals } = now;
  return (
    `${numberText(rate.packets)} packets/s, ${numberText(rate.connections)} new connections/s, ` +
    `${numberText(totals.sessions)} sessions, ${numberText(totals.dropped)} dropped`
  );
}

class TerminalView implements DemoView {
  readonly #out: NodeJS.WritableStream;
  #drawn = 0;
  #step = '';
  #previous: BalancerStats | undefined;

  constructor(out: NodeJS.WritableStream) {
    this.#out = out;
  }

  step(text: string): void {
    this.#clear();
    if (this.#step !== '') this.#out.write(`  done  ${this.#step}\n`);
    this.#step = text;
    this.#draw([`  ....  ${text}`]);
  }

  stats(now: BalancerStats): void {
    if (this.#step === '') return;
    const rows = now.servers.map((server) => [
      server.service,
      server.server,
      numberText(server.connections),
      numberText(server.active),
      numberText(server.inPackets + server.outPackets),
      bytesText(server.inBytes + server.outBytes),
    ]);
    const lines = table(['service', 'real server', 'connections', 'active', 'packets', 'bytes'], rows).map(
      (line) => `        ${line}`,
    );
    this.#clear();
    this.#draw([`  ....  ${this.#step}`, `        ${headline(now, rates(this.#previous, now))}`, ...lines]);
    this.#previous = now;
  }

  end(): void {
    this.#clear();
    if (this.#step !== '') this.#out.write(`  done  ${this.#step}\n\n`);
    this.#step = '';
  }

  #draw(lines: readonly string[]): void {
    // A line that the terminal wraps would be two lines, and the next redraw would leave one behind.
    const width = (process.stdout.columns || 80) - 1;
    this.#out.write(`${lines.map((line) => line.slice(0, width)).join('\n')}\n`);
    this.#drawn = lines.length;
  }

  #clear(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }
}

const lineInterval = 1_000;

class LineView implements DemoView {
  readonly #out: NodeJS.WritableStream;
  #previous: BalancerStats | undefined;

  constructor(out: NodeJS.WritableStream) {
    this.#out = out;
  }

  step(text: string): void {
    this.#out.write(`- ${text}\n`);
  }

  stats(now: BalancerStats): void {
    if (this.#previous !== undefined && now.time - this.#previous.time < lineInterval) return;
    const rate = rates(this.#previous, now);
    const quiet = rate.packets === 0;
    this.#previous = now;
    if (quiet) return;
    const each = now.servers.filter((server) => server.service.startsWith('http') && !server.service.includes('routed'));
    const shares = each.map((server) => `${server.server} ${numberText(server.connections)}`).join(', ');
    this.#out.write(`    ${headline(now, rate)}; HTTP connections: ${shares}\n`);
  }

  end(): void {
    this.#out.write('\n');
  }
}
