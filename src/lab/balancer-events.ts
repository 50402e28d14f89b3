// What `millrace run --json` says, one JSON object per line, as the lab reads it.
// Guarantees: a line that is not JSON, or an event of another kind, is ignored; counts are plain numbers (a lab stays below 2^53).
// Thread: any; pure functions.

export interface ServerStats {
  readonly service: string;
  readonly server: string;
  readonly connections: number;
  readonly active: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

export interface ServiceStats {
  readonly service: string;
  readonly rateLimitedIn: number;
  readonly rateLimitedOut: number;
}

export interface WorkerStats {
  readonly packets: number;
  readonly bytes: number;
  readonly handoffSent: number;
}

export interface Totals {
  readonly rxPackets: number;
  readonly forwarded: number;
  readonly consumed: number;
  readonly held: number;
  readonly dropped: number;
  readonly passedToKernel: number;
  readonly sessions: number;
  readonly sessionsCreated: number;
  readonly drops: Readonly<Record<string, number>>;
}

export interface BalancerStats {
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly workers: readonly WorkerStats[];
  readonly totals: Totals;
  readonly services: readonly ServiceStats[];
  readonly servers: readonly ServerStats[];
}

export interface BalancerInterface {
  readonly name: string;
  readonly attachMode: string;
  readonly zeroCopy: boolean;
  readonly queues: number;
}

export type BalancerEvent =
  | { readonly event: 'ready'; readonly interfaces: readonly BalancerInterface[]; readonly workers: number }
  | { readonly event: 'stats'; readonly stats: BalancerStats }
  | { readonly event: 'other'; readonly name: string };

type Fields = Readonly<Record<string, unknown>>;

/** The event of a line, or undefined if the line is none. */
export function parseBalancerLine(line: string): BalancerEvent | undefined {
  if (!line.startsWith('{')) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  const fields = asFields(json);
  const name = fields['event'];
  if (typeof name !== 'string') return undefined;
  if (name === 'ready') {
    return { event: 'ready', interfaces: list(fields['interfaces']).map(readInterface), workers: count(fields['workers']) };
  }
  return name === 'stats' ? { event: 'stats', stats: readStats(fields) } : { event: 'other', name };
}

function readInterface(fields: Fields): BalancerInterface {
  return {
    name: text(fields['name']),
    attachMode: text(fields['attachMode']),
    zeroCopy: fields['zeroCopy'] === true,
    queues: count(fields['queues']),
  };
}

function readStats(fields: Fields): BalancerStats {
  const totals = asFields(fields['totals']);
  const drops = Object.entries(asFields(totals['drops'])).map(([reason, number]) => [reason, count(number)] as const);
  return {
    time: count(fields['time']),
    workers: list(fields['workers']).map((worker) => ({
      packets: count(worker['packets']),
      bytes: count(worker['bytes']),
      handoffSent: count(worker['handoffSent']),
    })),
    totals: {
      rxPackets: count(totals['rxPackets']),
      forwarded: count(totals['forwarded']),
      consumed: count(totals['consumed']),
      held: count(totals['held']),
      dropped: count(totals['dropped']),
      passedToKernel: count(totals['passedToKernel']),
      sessions: count(totals['sessions']),
      sessionsCreated: count(totals['sessionsCreated']),
      drops: Object.fromEntries(drops.filter(([, number]) => number > 0)),
    },
    services: list(fields['services']).map((service) => ({
      service: text(service['service']),
      rateLimitedIn: count(service['rateLimitedIn']),
      rateLimitedOut: count(service['rateLimitedOut']),
    })),
    servers: list(fields['servers']).map(readServer),
  };
}

function readServer(fields: Fields): ServerStats {
  return {
    service: text(fields['service']),
    server: text(fields['server']),
    connections: count(fields['connections']),
    active: count(fields['active']),
    inPackets: count(fields['inPackets']),
    outPackets: count(fields['outPackets']),
    inBytes: count(fields['inBytes']),
    outBytes: count(fields['outBytes']),
  };
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function list(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(asFields) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Numbers beyond 2^53 come as text. */
function count(value: unknown): number {
  const number = Number(value ?? 0);
  return Number.isFinite(number) ? number : 0;
}

/** What every received packet must add up to: see native/core/counters.def. */
export function accounted(totals: Totals): number {
  return totals.forwarded + totals.consumed + totals.held + totals.dropped;
}
