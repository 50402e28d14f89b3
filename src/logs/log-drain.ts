// The logs of a running load balancer as the main thread sees them: a thread that drains them, the names it needs, what was lost.
// Guarantees: start() rejects with an error of the catalogue when the destination cannot be opened; afterwards nothing of it reaches the
// caller; a thread that dies is replaced; stop() ends within its deadline and a moment, whatever the disk does. Works on while the load
// balancer stops: what workers wrote last is still written.
// Thread: main.
import { Worker } from 'node:worker_threads';
import type { LogsConfig } from '../config/schema-logs.js';
import type { LogSource } from '../control/log-source.js';
import { createError, fromNativeError } from '../errors.js';
import type { NativeSlotMap } from '../native-binding.js';
import { endpointOf } from './format.js';
import type { FromThread, NamedService, Start, ThreadStats, ToThread } from './messages.js';

export interface LogStats {
  /** Records taken out of rings. */
  readonly records: number;
  /** Records that found their ring full. */
  readonly droppedInRings: number;
  /** Lines that the destination did not take in time. */
  readonly droppedBySink: number;
  /** Records that were not written because their event had had its share of the second. */
  readonly suppressed: number;
  /** Bytes that wait to be written. */
  readonly waiting: number;
  /** What the destination fails with now, such as ENOSPC; "" if it does not. */
  readonly error: string;
}

export interface LogDrainParts {
  readonly config: LogsConfig;
  /** The thread died and is begun anew, or stopped answering. */
  readonly failed: (error: Error) => void;
  /** Makes the thread; replaced in tests. */
  readonly thread?: (start: Start) => Worker;
}

/** Milliseconds: how often slots are looked at, until a dead thread is replaced, and what stop() gives the destination. */
const FOLLOW_EVERY = 250;
const RESTART_AFTER = 1000;
const DEADLINE = 1000;
/** What the thread needs beyond the deadline at most before it is ended. */
const GRACE = 2000;

const NOTHING: LogStats = { records: 0, droppedInRings: 0, droppedBySink: 0, suppressed: 0, waiting: 0, error: '' };

export class LogDrain {
  readonly #parts: LogDrainParts;
  readonly #known = new Map<number, NativeSlotMap['services'][number]>();
  #source: LogSource | undefined;
  #worker: Worker | undefined;
  #following: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;
  #generation = -1;
  #stats = NOTHING;
  #asking: Promise<LogStats> | undefined;
  #stopped: Promise<LogStats> | undefined;

  constructor(parts: LogDrainParts) {
    this.#parts = parts;
  }

  /**
   * Starts the thread. Resolves when it drains. Call it once.
   * @throws MILLRACE_E_LOG_DESTINATION (the file cannot be opened), MILLRACE_E_LOGS_IN_USE, MILLRACE_E_NOT_RUNNING.
   */
  async start(source: LogSource): Promise<void> {
    this.#source = source;
    await this.#spawn(source);
    this.#following = setInterval(() => this.#follow(), FOLLOW_EVERY).unref();
  }

  /** Names of services and servers by slot. The drain follows its source by itself; this is for those who know of a change sooner. */
  setNames(slots: NativeSlotMap): void {
    const gone = new Set(this.#known.keys());
    const changed: NamedService[] = [];
    for (const service of slots.services) {
      gone.delete(service.slot);
      // Services that stay as they are keep their object (control/table-writer.ts).
      if (this.#known.get(service.slot) === service) continue;
      this.#known.set(service.slot, service);
      changed.push(named(service));
    }
    for (const slot of gone) {
      this.#known.delete(slot);
      changed.push({ slot, servers: [] });
    }
    if (changed.length > 0) this.#say({ kind: 'names', services: changed });
  }

  /** Counts of now; those of the last answer when the thread is gone. */
  stats(): Promise<LogStats> {
    const worker = this.#worker;
    if (this.#stopped !== undefined || worker === undefined) return Promise.resolve(this.#stats);
    this.#asking ??= new Promise<LogStats>((resolve) => {
      const answered = (): void => {
        worker.off('message', hear);
        worker.off('exit', answered);
        this.#asking = undefined;
        resolve(this.#stats);
      };
      const hear = (message: FromThread): void => {
        if (message.kind === 'stats' || message.kind === 'stopped') answered();
      };
      worker.on('message', hear);
      worker.once('exit', answered);
      this.#say({ kind: 'stats' });
    });
    return this.#asking;
  }

  /** Writes what is there, for `deadline` milliseconds at most, and ends the thread. Any number of times; never rejects. */
  stop(deadline = DEADLINE): Promise<LogStats> {
    this.#stopped ??= this.#stop(deadline);
    return this.#stopped;
  }

  async #stop(deadline: number): Promise<LogStats> {
    clearInterval(this.#following);
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker === undefined) return this.#stats;
    const late = setTimeout(() => void worker.terminate(), deadline + GRACE);
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    this.#say({ kind: 'stop', deadline });
    worker.ref();
    await ended;
    clearTimeout(late);
    return this.#stats;
  }

  /** Resolves when the thread drains; rejects when it cannot. */
  #spawn(source: LogSource): Promise<void> {
    const start: Start = { handle: source.handle, interfaces: source.interfaces, config: this.#parts.config };
    const make =
      this.#parts.thread ??
      ((workerData: Start) => new Worker(new URL('./drain.js', import.meta.url), { workerData, name: 'logs' }));
    return new Promise<void>((resolve, reject) => {
      const worker = make(start);
      let started = false;
      worker.on('message', (message: FromThread) => {
        switch (message.kind) {
          case 'started':
            started = true;
            this.#worker = worker;
            this.#known.clear();
            this.#generation = -1;
            this.#follow();
            worker.unref();
            resolve();
            return;
          case 'refused':
            reject(refusal(this.#parts.config, message));
            return;
          default:
            this.#stats = toStats(message.stats);
            return;
        }
      });
      worker.on('error', (error: Error) => {
        if (started) this.#parts.failed(error);
        else reject(error);
      });
      worker.once('exit', () => {
        if (!started) reject(new Error('the log thread ended before it began'));
        if (this.#worker !== worker) return;
        this.#worker = undefined;
        if (this.#stopped === undefined) this.#startAgain(source);
      });
    });
  }

  #startAgain(source: LogSource): void {
    this.#restart = setTimeout(() => {
      this.#spawn(source).catch((error: unknown) => {
        this.#parts.failed(error instanceof Error ? error : new Error(String(error)));
        // Of a dataplane that is gone there is nothing more to read.
        const gone = error instanceof Error && Reflect.get(error, 'code') === 'MILLRACE_E_NOT_RUNNING';
        if (!gone && this.#stopped === undefined) this.#startAgain(source);
      });
    }, RESTART_AFTER).unref();
  }

  #follow(): void {
    if (this.#source === undefined || this.#worker === undefined) return;
    const slots = this.#source.slots();
    if (slots.generation === this.#generation) return;
    this.#generation = slots.generation;
    this.setNames(slots);
  }

  #say(message: ToThread): void {
    this.#worker?.postMessage(message);
  }
}

function named({ name, slot, servers }: NativeSlotMap['services'][number]): NamedService {
  return { slot, name, servers: servers.map((server) => ({ slot: server.slot, text: endpointOf(server.address, server.port) })) };
}

function toStats({ records, droppedInRings, suppressed, sink }: ThreadStats): LogStats {
  return { records, droppedInRings, suppressed, droppedBySink: sink.dropped, waiting: sink.waiting, error: sink.error };
}

function refusal(config: LogsConfig, { code, message }: { readonly code: string; readonly message: string }): unknown {
  const known = fromNativeError({ code, message });
  if (known instanceof Error) return known;
  if (code.startsWith('MILLRACE_E_')) return Object.assign(new Error(message), { code });
  const where = config.destination === 'file' ? (config.file ?? '') : config.destination;
  return createError('MILLRACE_E_LOG_DESTINATION', `logs cannot be written to ${where}: ${message}`);
}
