// The log thread: loads an addon of its own, opens the workers' rings by the number of their dataplane and drains them.
// External memory cannot be handed from one JavaScript thread to another, and JavaScript's atomics promise nothing outside of shared buffers:
// so records are moved natively into a buffer of this thread. The reader owns the rings it reads; the dataplane may stop at any time.
// Guarantees: what cannot be opened is said before anything runs; afterwards nothing that a disk or a reader does ends this thread.
// Thread: itself; started by LogDrain.
import { parentPort, workerData } from 'node:worker_threads';
import { type Logger, pino } from 'pino';
import { LOG_FILE_DEFAULTS, type LogsConfig } from '../config/schema-logs.js';
import { loadNative } from '../native.js';
import type { NativeBinding } from '../native-binding.js';
import { Drainer } from './drainer.js';
import type { FromThread, NamedService, Start, ThreadStats, ToThread } from './messages.js';
import { type Outlet, openDescriptor, RotatingFile } from './outlet.js';
import { Sink } from './sink.js';

/** Names by slot, and the servers of each service, so that they go with it. */
class NameTable {
  readonly services = new Map<number, string>();
  readonly servers = new Map<number, string>();
  readonly #held = new Map<number, readonly number[]>();

  update(changed: readonly NamedService[]): void {
    // First all that goes: a slot may be another service's in the same message.
    for (const { slot } of changed) {
      for (const server of this.#held.get(slot) ?? []) this.servers.delete(server);
      this.#held.delete(slot);
      this.services.delete(slot);
    }
    for (const { slot, name, servers } of changed) {
      if (name === undefined) continue;
      this.services.set(slot, name);
      for (const server of servers) this.servers.set(server.slot, server.text);
      this.#held.set(
        slot,
        servers.map((server) => server.slot),
      );
    }
  }
}

function openOutlet(config: LogsConfig, binding: NativeBinding): Promise<Outlet> | Outlet {
  if (config.destination !== 'file') return openDescriptor(config.destination === 'stdout' ? 1 : 2, binding.sendNow);
  const { file = '', maxSize = LOG_FILE_DEFAULTS.maxSize, maxFiles = LOG_FILE_DEFAULTS.maxFiles } = config;
  return RotatingFile.open({ path: file, maxSize, maxFiles });
}

async function run(port: NonNullable<typeof parentPort>, { handle, interfaces, config }: Start): Promise<void> {
  const say = (message: FromThread): void => port.postMessage(message);
  const binding = loadNative();
  const sink = new Sink(await openOutlet(config, binding));
  const reader = binding.openLogs(handle, config.ratePerSecond);
  const vocabulary = {
    events: binding.logInfo().events,
    reasons: binding.counterInfo().flatMap(({ kind, name }) => (kind === 'drop' ? [name] : [])),
    interfaces,
  };
  const base = { pid: process.pid, component: 'dataplane' };
  const logger = (timestamp: () => string): Logger => pino({ name: 'millrace', base, level: config.level, timestamp }, sink);
  const clocks = () => ({ monotonic: process.hrtime.bigint() / 1_000_000n, wall: Date.now() });
  const drainer = new Drainer({ reader, vocabulary, logger, sink: () => sink.stats(), clocks });
  const names = new NameTable();
  drainer.setNames(names);
  const stats = (): ThreadStats => ({ ...drainer.counts(), sink: sink.stats() });

  let timer: NodeJS.Timeout | undefined;
  const turn = (): void => {
    timer = setTimeout(turn, drainer.turn());
  };
  turn();

  const stop = async (deadline: number): Promise<void> => {
    clearTimeout(timer);
    reader.setRate(0);
    // Workers write no more than what they have begun: a bounded number of looks empties the rings.
    for (let looks = 0; looks < 1000 && drainer.turn() === 0; looks++);
    drainer.turn();
    drainer.tell();
    await sink.close(deadline);
    const last = stats();
    reader.close();
    say({ kind: 'stopped', stats: last });
    port.close();
  };
  port.on('message', (message: ToThread) => {
    switch (message.kind) {
      case 'names':
        names.update(message.services);
        return;
      case 'stats':
        say({ kind: 'stats', stats: stats() });
        return;
      case 'stop':
        void stop(message.deadline);
        return;
    }
  });
  say({ kind: 'started' });
}

if (parentPort !== null) {
  const port = parentPort;
  run(port, workerData as Start).catch((error: unknown) => {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ kind: 'refused', code: typeof code === 'string' ? code : '', message } satisfies FromThread);
    port.close();
  });
}
