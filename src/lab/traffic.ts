// Real traffic from one host of the lab, its client unless told: curl, wrk and UDP datagrams, each reported as numbers.
// Guarantees: nothing that went wrong is left out of `failed`; every run is bounded in time.
// Thread: the main thread; the traffic is made by child processes in the host's namespace.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { echoPort, type Family, type HostRole, plans, urlHost } from './addresses.js';
import type { CommandOptions } from './command.js';
import { LabError } from './lab-error.js';
import { labProgram } from './programs.js';
import type { LabTopology } from './topology.js';

export interface RequestResult {
  readonly requests: number;
  readonly failed: number;
  /** Why, for those that failed. */
  readonly reasons: readonly string[];
  /** Answers per real server, by its name. */
  readonly byServer: Readonly<Record<string, number>>;
}

export interface LoadResult {
  readonly requests: number;
  readonly failed: number;
  /** What failed, by kind; only kinds that occurred. */
  readonly errors: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  /** Microseconds. */
  readonly latency: { readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number };
}

export interface LoadOptions {
  readonly url: string;
  readonly seconds: number;
  readonly connections?: number;
  /** A new connection for each request. */
  readonly newConnections?: boolean;
  readonly signal?: AbortSignal;
}

export interface EchoOptions {
  readonly address: string;
  readonly port: number;
  /** Source ports; 1 unless told. */
  readonly sockets?: number;
  /** Per source port; 1 unless told. */
  readonly datagrams?: number;
  /** Bytes per datagram; a short text unless told. */
  readonly size?: number;
}

export interface EchoResult {
  readonly sent: number;
  readonly answered: number;
  readonly failed: number;
  /** Datagrams that had to be sent again, because no answer came in time. */
  readonly repeated: number;
  readonly byServer: Readonly<Record<string, number>>;
}

export interface DownloadResult {
  readonly bytes: number;
  readonly sha256: string;
  readonly seconds: number;
}

export function serviceUrl(address: string, path = '/', port = 80): string {
  return `http://${urlHost(address)}${port === 80 ? '' : `:${port}`}${path}`;
}

// wrk calls done() once; the numbers go to standard error, away from wrk's own table.
const wrkScript = `-- Prints wrk's summary as one JSON object.
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
    '"mean":%.1f,"p50":%d,"p99":%d,"max":%d}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency.mean, latency:percentile(50), latency:percentile(99), latency.max))
end
`;

export class Traffic {
  readonly #topology: LabTopology;
  readonly #script: string;
  readonly #from: HostRole;

  /** `directory` is for a small script that wrk reads. */
  constructor(topology: LabTopology, directory: string, from: HostRole = 'client') {
    this.#topology = topology;
    this.#from = from;
    this.#script = join(directory, 'wrk-report.lua');
    writeFileSync(this.#script, wrkScript);
  }

  /** Requests one after the other, each with its own connection; says which server answered each. */
  async get(url: string, times: number, options: CommandOptions = {}): Promise<RequestResult> {
    const byServer: Record<string, number> = {};
    const reasons: string[] = [];
    for (let count = 0; count < times; count++) {
      const result = await this.#topology.run(this.#from, ['curl', '-sS', '--fail', '--max-time', '5', url], options);
      const server = result.stdout.split(' ')[0] ?? '';
      if (result.code === 0) byServer[server] = (byServer[server] ?? 0) + 1;
      else reasons.push(`${url}: ${result.stderr.trim() || `curl ended with ${result.code}`}`);
    }
    return { requests: times, failed: reasons.length, reasons, byServer };
  }

  async load(options: LoadOptions): Promise<LoadResult> {
    const argv = [
      'wrk',
      '-t1',
      `-c${options.connections ?? 32}`,
      `-d${options.seconds}s`,
      '--timeout',
      '10s',
      '-s',
      this.#script,
    ];
    if (options.newConnections) argv.push('-H', 'Connection: close');
    const limits = { timeout: (options.seconds + 60) * 1000, ...(options.signal ? { signal: options.signal } : {}) };
    const result = await this.#topology.run(this.#from, [...argv, options.url], limits);
    const line = result.stderr.split('\n').find((text) => text.startsWith('{'));
    if (line === undefined) {
      throw new LabError(
        `wrk could not work on ${options.url}: ${`${result.stderr}${result.stdout}`.trim()}`,
        'see what wrk says',
      );
    }
    return readWrk(line);
  }

  echo(family: Family, sockets: number, datagrams: number, options: CommandOptions = {}): Promise<EchoResult> {
    return this.datagrams({ address: plans[family].vip, port: echoPort, sockets, datagrams }, options);
  }

  async datagrams(target: EchoOptions, options: CommandOptions = {}): Promise<EchoResult> {
    const words = [target.address, target.port, target.sockets ?? 1, target.datagrams ?? 1, target.size ?? 0].map(String);
    const result = await this.#topology.run(this.#from, [...labProgram('udp-client'), ...words], {
      timeout: 120_000,
      ...options,
    });
    try {
      return JSON.parse(result.stdout) as EchoResult;
    } catch (cause) {
      throw new LabError(`the UDP client failed: ${result.stderr.trim()}`, 'see what it says', { cause });
    }
  }

  /** The error that a UDP socket gets for a datagram to this port; null if none came within five seconds. */
  async refusal(address: string, port: number): Promise<string | null> {
    const result = await this.#topology.run(this.#from, [...labProgram('udp-refused'), address, String(port)]);
    return (JSON.parse(result.stdout) as { error: string | null }).error;
  }

  /** Sends a file as the body of a request and resolves with the answer: the server's name and the digest of what it got. */
  async upload(url: string, file: string): Promise<string> {
    const argv = ['curl', '-sS', '--fail', '--max-time', '120', '-H', 'Expect:', '-T', file, url];
    return (await this.#topology.runChecked(this.#from, argv, { timeout: 130_000 })).trim();
  }

  /** Fetches a file and digests it on the way, so that its size does not matter. */
  async download(url: string, options: CommandOptions & { readonly from?: HostRole } = {}): Promise<DownloadResult> {
    const digest = createHash('sha256');
    let bytes = 0;
    const start = performance.now();
    const { from = this.#from, ...limits } = options;
    const result = await this.#topology.run(from, ['curl', '-sS', '--fail', url], {
      timeout: 300_000,
      ...limits,
      onData: (chunk) => {
        digest.update(chunk);
        bytes += chunk.length;
      },
    });
    if (result.code !== 0) throw new LabError(`the download of ${url} failed: ${result.stderr.trim()}`, 'see what curl says');
    return { bytes, sha256: digest.digest('hex'), seconds: (performance.now() - start) / 1000 };
  }
}

function readWrk(line: string): LoadResult {
  const json = JSON.parse(line) as Record<string, number>;
  const number = (name: string) => json[name] ?? 0;
  const kinds = ['connect', 'read', 'write', 'status', 'timeout'];
  const errors = Object.fromEntries(kinds.map((kind) => [kind, number(kind)] as const).filter(([, count]) => count > 0));
  const seconds = number('microseconds') / 1e6;
  return {
    requests: number('requests'),
    failed: Object.values(errors).reduce((sum, count) => sum + count, 0),
    errors,
    seconds,
    requestsPerSecond: seconds > 0 ? number('requests') / seconds : 0,
    latency: { mean: number('mean'), p50: number('p50'), p99: number('p99'), max: number('max') },
  };
}
