// What `millrace run` says on standard output: JSON lines for a machine, or lines for a person.
// Guarantees: one event, one line; a JSON line is complete or not there; the names and keys of events are stable (docs/reference/cli.md).
// Thread: main.
import { describeService } from '../config/matching.js';
import type { ConfigChanges } from '../control/diff.js';
import { describeChanges } from '../control/diff.js';
import { endpoint } from '../control/endpoint.js';
import { toJson } from '../control/json.js';
import type { CounterSet, ServerStats, Stats } from '../control/stats.js';
import type { HealthEvent } from '../health/service-judge.js';
import type { NativeInterfaceStatus } from '../native-binding.js';

export interface ReadyService {
  readonly name: string;
  /** An address or a prefix. Absent where there are matches, as the two below. */
  readonly address: string | undefined;
  /** One port, a range or "any"; absent where the protocol has none. */
  readonly port: number | string | undefined;
  readonly protocol: string | undefined;
  readonly mark?: number | undefined;
  /** As in the configuration. */
  readonly match?: readonly unknown[] | undefined;
  readonly servers: number;
}

export type DaemonEvent =
  | {
      readonly event: 'ready';
      readonly time: number;
      readonly workers: number;
      /** CPU per worker; -1: not pinned. */
      readonly cpus: readonly number[];
      readonly interfaces: readonly NativeInterfaceStatus[];
      readonly services: readonly ReadyService[];
    }
  | { readonly event: 'stats'; readonly stats: Stats }
  | { readonly event: 'applied'; readonly time: number; readonly generation: number; readonly changes: ConfigChanges }
  | { readonly event: 'reloaded'; readonly time: number; readonly changes: ConfigChanges }
  | {
      readonly event: 'reload-failed';
      readonly time: number;
      readonly code: string;
      readonly message: string;
      readonly remedy: string;
    }
  | { readonly event: 'warning'; readonly time: number; readonly message: string; readonly remedy: string }
  | ({ readonly event: 'health'; readonly time: number } & HealthEvent)
  | {
      readonly event: 'draining';
      readonly time: number;
      readonly signal: string;
      readonly sessions: bigint;
      /** Until the deadline. */
      readonly seconds: number;
    }
  | {
      readonly event: 'stopping';
      readonly time: number;
      readonly signal: string;
      /** Left at the end of the drain; absent where there was none. */
      readonly sessions?: bigint;
    }
  | { readonly event: 'stopped'; readonly time: number };

/** The JSON line of an event, without the line's end. */
export function toLine(event: DaemonEvent): string {
  if (event.event === 'stats') return toJson({ event: 'stats', ...statsFields(event.stats) });
  if (event.event !== 'ready') return toJson(event);
  const interfaces = event.interfaces.map(({ name, attachMode, zeroCopy, queues, mtu, mac }) => ({
    name,
    attachMode,
    zeroCopy,
    queues,
    mtu,
    mac,
  }));
  return toJson({ ...event, interfaces });
}

function counterFields(counters: CounterSet): Record<string, unknown> {
  const { heldPackets, ...others } = counters;
  return { ...others, held: heldPackets };
}

function statsFields(stats: Stats): Record<string, unknown> {
  return {
    time: stats.time,
    workers: stats.workers.map((worker) => ({ packets: worker.rxPackets, bytes: worker.rxBytes, ...counterFields(worker) })),
    totals: { ...counterFields(stats.totals), passedToKernel: stats.totals.passedToKernel },
    services: stats.services,
    servers: stats.servers.map(({ address, port, ...others }) => ({ ...others, server: endpoint(address, port) })),
    interfaces: stats.interfaces.map(({ name, xdp }) => ({ name, ...xdp })),
  };
}

/** The line of an event for a person. */
export function toSentence(event: DaemonEvent): string {
  switch (event.event) {
    case 'ready':
      return readySentence(event);
    case 'stats':
      return statsSentence(event.stats);
    case 'applied':
      return `millrace: configuration applied (generation ${event.generation}): ${describeChanges(event.changes)}`;
    case 'reloaded':
      return `millrace: configuration read again: ${describeChanges(event.changes)}`;
    case 'reload-failed':
      return `millrace: reload refused, the old configuration stays in force:\n${event.message}\n  ${event.remedy}`;
    case 'warning':
      return `millrace: warning: ${event.message}\n  ${event.remedy}`;
    case 'health':
      return `millrace: ${describeHealth(event)}`;
    case 'draining':
      return `millrace: ${event.signal}: draining ${plural(event.sessions)} for at most ${event.seconds} s (once more: stops now)`;
    case 'stopping': {
      const left = event.sessions === undefined ? '' : `, ${event.sessions === 0n ? 'no session' : plural(event.sessions)} left`;
      return `millrace: ${event.signal}: stopping${left} (once more: at once)`;
    }
    case 'stopped':
      return 'millrace: stopped';
  }
}

const HEALTH_KINDS: Readonly<Record<HealthEvent['kind'], string>> = {
  'server-up': 'is up',
  'server-down': 'is down',
  'server-held': 'goes up and down and is kept out',
  'quorum-up': 'has its quorum',
  'quorum-down': 'has lost its quorum',
};

/** "service web: server 192.0.2.11:80 is down: connection refused". */
export function describeHealth({ kind, service, server, reason }: HealthEvent): string {
  const whose = server === '' ? `service ${service}` : `service ${service}: server ${server}`;
  return `${whose} ${HEALTH_KINDS[kind]}${reason === '' ? '' : `: ${reason}`}`;
}

function plural(sessions: bigint): string {
  return `${sessions} session${sessions === 1n ? '' : 's'}`;
}

function readySentence(event: DaemonEvent & { readonly event: 'ready' }): string {
  const pinned = event.cpus.every((cpu) => cpu >= 0) ? ` on CPU ${event.cpus.join(', ')}` : ', not pinned';
  const interfaces = event.interfaces.map(
    ({ name, attachMode, zeroCopy, queues }) =>
      `${name} (XDP ${attachMode}, ${zeroCopy ? 'zero copy' : 'copy'}, ${queues} queue${queues === 1 ? '' : 's'})`,
  );
  const services = event.services.map((service) => {
    const servers = `${service.servers} server${service.servers === 1 ? '' : 's'}`;
    return `\n  ${service.name}  ${describeService(service)}, ${servers}`;
  });
  const workers = `${event.workers} worker${event.workers === 1 ? '' : 's'}${pinned}`;
  return `millrace: running with ${workers}; ${interfaces.join(', ')}${services.length === 0 ? '; no services' : services.join('')}`;
}

function statsSentence({ totals, servers }: Stats): string {
  const active = servers.filter((server: ServerStats) => server.connections > 0n).length;
  return (
    `received ${totals.rxPackets}, forwarded ${totals.forwarded}, dropped ${totals.dropped}, to the kernel ${totals.passedToKernel}; ` +
    `sessions ${totals.sessions} (${totals.sessionsCreated} new since start), ${active} server${active === 1 ? '' : 's'} used`
  );
}
