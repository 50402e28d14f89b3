// A record as an object for pino: names in place of slots, text in place of numbers.
// Guarantees: pure; a slot, an event or a reason that is not known is written as its number, never passed over.
// Thread: the log thread.
import { endpoint } from '../control/endpoint.js';
import type { NativeLogInfo } from '../native-binding.js';
import { type LogRecord, NO_SLOT } from './record.js';

export type Level = 'info' | 'warn' | 'error';

/** What a record's numbers stand for. */
export interface Vocabulary {
  readonly events: NativeLogInfo['events'];
  /** Names of the drops in the order of counters.def. */
  readonly reasons: readonly string[];
  readonly interfaces: readonly string[];
}

/** A service by slot, and its servers as "address:port" by slot. */
export interface Names {
  readonly services: ReadonlyMap<number, string>;
  readonly servers: ReadonlyMap<number, string>;
}

export interface Line {
  readonly level: Level;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  50: 'esp',
  51: 'ah',
  58: 'icmpv6',
  132: 'sctp',
};

/** How far a record may seem to be ahead: it was written after the clocks were read. */
const SLACK = 1000n;

export interface Clocks {
  /** CLOCK_MONOTONIC in milliseconds, as workers have it, and the time of day at the same moment. */
  readonly monotonic: bigint;
  readonly wall: number;
}

/** When the record was written, in milliseconds since 1970. A time that cannot be is that of now. */
export function timeOf(record: LogRecord, { monotonic, wall }: Clocks): number {
  const age = monotonic - record.time;
  return age < -SLACK || age > BigInt(Number.MAX_SAFE_INTEGER) ? wall : wall - Number(age);
}

export function formatRecord(record: LogRecord, names: Names, vocabulary: Vocabulary, clocks: Clocks): Line {
  const event = vocabulary.events[record.event];
  const fields: Record<string, unknown> = { event: event?.name ?? record.event, worker: record.worker };
  if (record.service !== NO_SLOT) fields['service'] = names.services.get(record.service) ?? `slot ${record.service}`;
  if (record.server !== NO_SLOT) fields['server'] = names.servers.get(record.server) ?? `slot ${record.server}`;
  if (record.protocol !== 0) {
    fields['protocol'] = PROTOCOLS[record.protocol] ?? String(record.protocol);
    fields['client'] = endpointOf(record.client, record.clientPort);
    fields['destination'] = endpointOf(record.destination, record.destinationPort);
  }
  const reason = vocabulary.reasons[record.reason];
  if (reason !== undefined) fields['reason'] = reason;
  if (event !== undefined && event.value !== 'none') fields[event.value] = valueNamed(record, event.value, vocabulary);
  return {
    level: event?.level ?? 'warn',
    time: timeOf(record, clocks),
    fields,
    message: event?.text ?? 'event that this version does not know',
  };
}

function valueNamed(record: LogRecord, name: string, { interfaces }: Vocabulary): number | string {
  const number = Number(record.value);
  return name === 'interface' ? (interfaces[number] ?? number) : number;
}

/** Without a port where the protocol has none. */
export function endpointOf(address: string, port: number): string {
  return port === 0 ? address : endpoint(address, port);
}
