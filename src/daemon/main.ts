// The life of `millrace run`: start, say that it is ready, reload on SIGHUP, statistics at an interval, stop on SIGTERM.
// Guarantees: a reload that is refused changes nothing; an orderly stop ends with exit code 0 and the interfaces given back to the kernel;
// the packet path does not depend on anything here being on time.
// Thread: main.
import type { Config } from '../config/schema.js';
import type { CreateOptions } from '../create-load-balancer.js';
import { MillraceError } from '../errors.js';
import type { LoadBalancer } from '../load-balancer.js';
import type { DaemonEvent } from './output.js';
import { listenToSignals, type SignalSource } from './signals.js';

export interface DaemonOptions {
  readonly configFile: string;
  /** Milliseconds between statistics events; 0: none. */
  readonly statsInterval: number;
  /** Takes each event, in order. */
  readonly emit: (event: DaemonEvent) => void;
  readonly signals: SignalSource;
  readonly create: (configFile: string, options: CreateOptions) => Promise<LoadBalancer>;
  /** Ends the process at once, as the signal does by default. */
  readonly die: (signal: NodeJS.Signals) => void;
  /** Fires when nobody can read the output any more; stops as SIGTERM does. */
  readonly outputClosed: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Runs until a signal stops it. Rejects when the start or the stop fails. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { emit, now } = options;
  const stop = new AbortController();
  let balancer: LoadBalancer | undefined;
  // A reload that is asked for while the start is under way would read the same file again: the start has it.
  const reload = (): void => {
    if (balancer !== undefined && !stop.signal.aborted) void reloadInto(balancer, options);
  };
  const unlisten = listenToSignals(options.signals, {
    reload,
    stop: (signal) => {
      emit({ event: 'stopping', time: now(), signal });
      stop.abort();
    },
    stopAtOnce: options.die,
  });
  const hangUp = (): void => stop.abort();
  options.outputClosed.addEventListener('abort', hangUp, { once: true });
  try {
    balancer = await options.create(options.configFile, { signal: stop.signal });
    await serve(balancer, options);
  } catch (error) {
    // Stopped before it had started: that is what was asked for.
    if (!(stop.signal.aborted && error === stop.signal.reason)) throw error;
  } finally {
    options.outputClosed.removeEventListener('abort', hangUp);
    unlisten();
  }
  emit({ event: 'stopped', time: now() });
}

async function serve(balancer: LoadBalancer, options: DaemonOptions): Promise<void> {
  if (balancer.closed) return balancer.close();
  const { emit, now } = options;
  balancer.events.on('warning', (warning) => emit({ event: 'warning', time: now(), ...warning }));
  balancer.events.on('applied', (applied) => emit({ event: 'applied', time: now(), ...applied }));
  // The balancer closes itself when the signal fires; this waits for its end, and for its failure.
  const ended = new Promise<void>((resolve, reject) => {
    balancer.events.once('stopped', resolve);
    balancer.events.once('error', reject);
  });
  const stats = (): void => emit({ event: 'stats', stats: balancer.stats() });
  const timer = options.statsInterval > 0 ? setInterval(stats, options.statsInterval) : undefined;
  try {
    emit({ event: 'ready', time: now(), ...describe(balancer) });
    await ended;
    if (timer !== undefined) stats();
  } finally {
    clearInterval(timer);
  }
}

function describe(balancer: LoadBalancer): Omit<DaemonEvent & { readonly event: 'ready' }, 'event' | 'time'> {
  const config: Config = balancer.config;
  return {
    workers: balancer.workers,
    cpus: balancer.cpus,
    interfaces: balancer.stats().interfaces,
    services: config.services.map(({ name, address, port, protocol, mark, match, servers }) => ({
      name,
      address,
      port,
      protocol,
      mark,
      match,
      servers: servers.length,
    })),
  };
}

async function reloadInto(balancer: LoadBalancer, { configFile, emit, now }: DaemonOptions): Promise<void> {
  try {
    await balancer.apply(configFile);
  } catch (error) {
    if (balancer.closed) return;
    const known = error instanceof MillraceError;
    emit({
      event: 'reload-failed',
      time: now(),
      code: known ? error.code : 'MILLRACE_E_NATIVE_FAILED',
      message: error instanceof Error ? error.message : String(error),
      remedy: known ? error.remedy : 'Correct the configuration and send SIGHUP again.',
    });
  }
}
