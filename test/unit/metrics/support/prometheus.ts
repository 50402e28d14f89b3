// A real Prometheus on loopback that scrapes one target, with its data in a temporary directory.
// Guarantees: it is ended by its own process id and its data removed, whatever the test does; its port is a free one.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const prometheusInstalled = spawnSync('prometheus', ['--version']).status === 0;

/** One result of a query: its labels and its value. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Polls until `probe` gives something; the deadline is for a test machine with other work. */
export async function eventually<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const found = await probe().catch(() => undefined);
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}

export class Prometheus implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #url: string;
  #output = '';

  private constructor(child: ChildProcess, directory: string, url: string) {
    this.#child = child;
    this.#directory = directory;
    this.#url = url;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
  }

  /** `target`: "127.0.0.1:PORT" of what serves /metrics. Resolves when queries are answered. */
  static async start(target: string, attempts = 3): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-prometheus-'));
    const job = `{ job_name: millrace, scrape_interval: 250ms, scrape_timeout: 250ms, static_configs: [{ targets: ['${target}'] }] }`;
    writeFileSync(join(directory, 'prometheus.yml'), `scrape_configs: [${job}]\n`);
    const port = await freePort();
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const prometheus = new Prometheus(child, directory, `http://127.0.0.1:${port}`);
    try {
      await eventually('Prometheus answers', async () => {
        if (child.exitCode !== null) return false;
        const { ok } = await fetch(`${prometheus.#url}/-/ready`);
        return ok || undefined;
      });
      if (child.exitCode !== null) throw new Error(`Prometheus ended with ${child.exitCode}`);
    } catch (error) {
      await prometheus[Symbol.asyncDispose]();
      // Somebody else may have taken the port between its choice and its use.
      if (attempts > 1 && prometheus.#output.includes('address already in use')) return Prometheus.start(target, attempts - 1);
      throw new Error(`${String(error)}\n${prometheus.#output}`);
    }
    return prometheus;
  }

  async query(expression: string): Promise<readonly QueryResult[]> {
    const response = await fetch(`${this.#url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const { status, data, error } = (await response.json()) as {
      readonly status: string;
      readonly error?: string;
      readonly data?: {
        readonly result: readonly { readonly metric: Record<string, string>; readonly value: [number, string] }[];
      };
    };
    if (status !== 'success' || data === undefined) throw new Error(`${expression}: ${error ?? status}`);
    return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#directory, { recursive: true });
  }
}
