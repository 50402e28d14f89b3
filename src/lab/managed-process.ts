// A long-running program of the lab: a server, the balancer, a capture. Its lines can be awaited, and it ends with its owner.
// Guarantees: `exited` always settles; `stop` returns only when the process is gone; the last lines it wrote are kept for error texts.
// Thread: the main thread; asynchronous.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { LabError } from './lab-error.js';

export interface ProcessOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** The process outlives this one; its output goes to this file. */
  readonly detachedLog?: string;
}

interface LineWaiter {
  readonly accept: (line: string) => boolean;
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

const keptLines = 200;

export class ManagedProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #waiters = new Set<LineWaiter>();
  readonly #lines: string[] = [];
  readonly #errors: string[] = [];
  readonly #listeners: ((line: string) => void)[] = [];
  readonly #logFile: string | undefined;
  /** Exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  #ended = false;

  private constructor(name: string, child: ChildProcess, logFile: string | undefined) {
    this.#name = name;
    this.#child = child;
    this.#logFile = logFile;
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => this.#end(resolve, error.message));
      child.once('close', (code, signal) => this.#end(resolve, code ?? signal ?? 'unknown'));
    });
    if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#onLine(line));
    if (child.stderr) createInterface({ input: child.stderr }).on('line', (line) => this.#keep(this.#errors, line));
  }

  /** Starts `argv`; whether it really runs is known when it writes its first line or ends. */
  static start(name: string, argv: readonly string[], options: ProcessOptions = {}): ManagedProcess {
    const [file = '', ...args] = argv;
    const env = options.env ?? process.env;
    if (options.detachedLog === undefined) {
      return new ManagedProcess(name, spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env }), undefined);
    }
    const log = openSync(options.detachedLog, 'a');
    try {
      const child = spawn(file, args, { stdio: ['ignore', log, log], detached: true, env });
      child.unref();
      return new ManagedProcess(name, child, options.detachedLog);
    } finally {
      closeSync(log);
    }
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get running(): boolean {
    return !this.#ended;
  }

  /** Calls `listener` with each line of standard output from now on. */
  onLine(listener: (line: string) => void): void {
    this.#listeners.push(listener);
  }

  /** What it wrote last, standard error first; for error texts. */
  tail(): string {
    if (this.#logFile !== undefined) return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
    return [...this.#errors.slice(-20), ...this.#lines.slice(-5)].join('\n');
  }

  /** All that it wrote to standard output and is still kept. */
  output(): string {
    return this.#lines.join('\n');
  }

  /** The first line, past or future, that `accept` takes. Rejects when the process ends or the time (milliseconds) is over. */
  waitForLine(accept: (line: string) => boolean, timeout = 15_000): Promise<string> {
    const seen = this.#lines.find(accept);
    if (seen !== undefined) return Promise.resolve(seen);
    if (this.#ended) return Promise.reject(this.#failure('ended'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => waiter.reject(this.#failure(`was not ready within ${timeout / 1000} s`)), timeout);
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: LineWaiter = {
        accept,
        resolve: (line) => {
          settle();
          resolve(line);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  signal(name: NodeJS.Signals): void {
    if (!this.#ended) this.#child.kill(name);
  }

  /** Asks it to end, insists after `grace` milliseconds, and resolves with its exit code or signal when it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', grace = 5_000): Promise<number | string> {
    this.signal(signal);
    const timer = setTimeout(() => this.signal('SIGKILL'), grace);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #onLine(line: string): void {
    this.#keep(this.#lines, line);
    for (const waiter of this.#waiters) if (waiter.accept(line)) waiter.resolve(line);
    for (const listener of this.#listeners) listener(line);
  }

  #keep(lines: string[], line: string): void {
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
  }

  #end(resolve: (how: number | string) => void, how: number | string): void {
    this.#ended = true;
    for (const waiter of this.#waiters) waiter.reject(this.#failure(`ended with ${how}`));
    resolve(how);
  }

  #failure(what: string): LabError {
    return new LabError(`${this.#name} ${what}. Its last lines:\n${this.tail() || '(none)'}`, 'the lines above say why');
  }
}
