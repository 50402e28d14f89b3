// Reads counters out of native memory and adds them up.
// Guarantees: stops nothing and allocates little; each value is untorn and at most one batch old; values of different counters may be a
// batch apart, so sums agree exactly only when no packet is under way.
// Thread: the JavaScript thread that owns the dataplane.
import { createError } from '../errors.js';
import {
  type NativeCounterInfo,
  type NativeDataplane,
  type NativeInterfaceStatus,
  type NativeSlotMap,
  RATE_LIMIT_FIELDS,
  SERVER_STATS_FIELDS,
} from '../native-binding.js';
import { PLAIN_COUNTERS } from './counter-names.js';

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : S;
export type PlainCounter = CamelCase<(typeof PLAIN_COUNTERS)[number]>;

/** Counters of one worker, or of all together. Packets, bytes and events since the start; `sessions`, `sessionsActive` and
 * `heldPackets` are the numbers of now. */
export type CounterSet = { readonly [K in PlainCounter]: bigint } & {
  /** Sum over `drops`. */
  readonly dropped: bigint;
  /** Dropped packets by reason, as named in docs/reference/counters.md; reasons that never happened are left out. */
  readonly drops: Readonly<Record<string, bigint>>;
};

/** Counters of one real server behind one service, summed over the workers. */
export interface ServerStats {
  readonly service: string;
  readonly address: string;
  readonly port: number;
  /** True for a server that left the configuration and still has sessions. */
  readonly removed: boolean;
  /** New connections since the start. */
  readonly connections: bigint;
  /** Towards the server. */
  readonly inPackets: bigint;
  readonly inBytes: bigint;
  /** From the server. */
  readonly outPackets: bigint;
  readonly outBytes: bigint;
  /** Sessions in state ESTABLISHED now. */
  readonly active: bigint;
  /** All other sessions now. */
  readonly inactive: bigint;
  /** Packets dropped because this server's rateLimit was used up, towards it and from it. */
  readonly rateLimitedIn: bigint;
  readonly rateLimitedOut: bigint;
}

/** Counters of one service that are not those of its servers, summed over the workers. */
export interface ServiceStats {
  readonly service: string;
  /** Packets dropped because the service's own rateLimit was used up, from clients and to them. */
  readonly rateLimitedIn: bigint;
  readonly rateLimitedOut: bigint;
  /** Connections with a packet that had no room for the client's address (clientAddress). */
  readonly clientAddressNoRoom: bigint;
}

/** A snapshot of all counters. Also what `stats()` returns after close(): the last one. */
export interface Stats {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly totals: CounterSet & {
    /** Packets that the XDP programs left to the kernel, all interfaces. */
    readonly passedToKernel: bigint;
  };
  readonly workers: readonly CounterSet[];
  readonly services: readonly ServiceStats[];
  readonly servers: readonly ServerStats[];
  readonly interfaces: readonly NativeInterfaceStatus[];
}

/** Names of native counters as a CounterSet spells them. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Counters that are not of services or servers. */
export type Totals = Omit<Stats, 'services' | 'servers'>;

/** Turns slots into a CounterSet; `slots` may be one worker's memory or a sum. */
export function toCounterSet(info: readonly NativeCounterInfo[], slot: (index: number) => bigint): CounterSet {
  const plain: Record<string, bigint> = {};
  const drops: Record<string, bigint> = {};
  let dropped = 0n;
  info.forEach((counter, index) => {
    const value = slot(index);
    if (counter.kind === 'drop') {
      dropped += value;
      if (value !== 0n) drops[counter.name] = value;
    } else plain[camelCase(counter.name)] = value;
  });
  return { ...plain, dropped, drops } as CounterSet;
}

/**
 * The accounting of native/core/counters.def: received minus accounted for, over any set of counters. 0 when no packet is under way.
 */
export function unaccountedPackets(counters: CounterSet): bigint {
  const arrived = counters.rxPackets + counters.handoffReceived;
  const left = counters.forwarded + counters.consumed + counters.handoffSent + counters.heldPackets + counters.dropped;
  return arrived - left;
}

export interface StatsReaderOptions {
  readonly dataplane: Pick<
    NativeDataplane,
    'counters' | 'serverStats' | 'serverRates' | 'serviceRates' | 'serviceCrowded' | 'interfaces'
  >;
  readonly counterInfo: readonly NativeCounterInfo[];
  readonly workers: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Holds the views over native memory; they are valid until the dataplane stops. */
export class StatsReader {
  readonly #options: StatsReaderOptions;
  readonly #counters: readonly BigUint64Array[];
  readonly #servers: readonly BigUint64Array[];
  readonly #serverRates: readonly BigUint64Array[];
  readonly #serviceRates: readonly BigUint64Array[];
  readonly #serviceCrowded: readonly BigUint64Array[];
  #indexed: NativeSlotMap | undefined;
  #byName: ReadonlyMap<string, NativeSlotMap['services']> = new Map();

  constructor(options: StatsReaderOptions) {
    const known = new Set(options.counterInfo.filter((counter) => counter.kind === 'counter').map((counter) => counter.name));
    const missing = PLAIN_COUNTERS.filter((name) => !known.has(name));
    if (missing.length > 0) {
      throw createError('MILLRACE_E_NATIVE_ABI_MISMATCH', `the native addon does not have these counters: ${missing.join(', ')}`);
    }
    this.#options = options;
    const workers = Array.from({ length: options.workers }, (_, worker) => worker);
    this.#counters = workers.map((worker) => new BigUint64Array(options.dataplane.counters(worker)));
    this.#servers = workers.map((worker) => new BigUint64Array(options.dataplane.serverStats(worker)));
    this.#serverRates = workers.map((worker) => new BigUint64Array(options.dataplane.serverRates(worker)));
    this.#serviceRates = workers.map((worker) => new BigUint64Array(options.dataplane.serviceRates(worker)));
    this.#serviceCrowded = workers.map((worker) => new BigUint64Array(options.dataplane.serviceCrowded(worker)));
  }

  /** One counter, over all workers: little work beside read(). */
  total(counter: string): bigint {
    return sumOf(
      this.#counters,
      this.#options.counterInfo.findIndex(({ name }) => name === counter),
    );
  }

  /** One counter of each worker: little work beside read(). */
  perWorker(counter: PlainCounter): readonly bigint[] {
    const index = this.#options.counterInfo.findIndex(({ name }) => camelCase(name) === counter);
    return this.#counters.map((memory) => loadSlot(memory, index));
  }

  read(slots: NativeSlotMap): Stats {
    return {
      ...this.readTotals(),
      services: slots.services.map(({ name, slot }) => ({
        service: name,
        ...rateLimited(this.#serviceRates, slot),
        clientAddressNoRoom: sumOf(this.#serviceCrowded, slot),
      })),
      servers: slots.services.flatMap((service) => this.#readServers(service)),
    };
  }

  /** Servers of one service: work that does not grow with the others. */
  readService(slots: NativeSlotMap, name: string): readonly ServerStats[] {
    if (this.#indexed !== slots) {
      this.#indexed = slots;
      const byName = new Map<string, NativeSlotMap['services'][number][]>();
      for (const service of slots.services) {
        const others = byName.get(service.name);
        if (others === undefined) byName.set(service.name, [service]);
        else others.push(service);
      }
      this.#byName = byName;
    }
    return (this.#byName.get(name) ?? []).flatMap((service) => this.#readServers(service));
  }

  /** What is not of services. */
  readTotals(): Totals {
    const { counterInfo, dataplane, now } = this.#options;
    // One pass over native memory, so that totals and workers are of the same moment.
    const copies = this.#counters.map((memory) => counterInfo.map((_, index) => loadSlot(memory, index)));
    const interfaces = dataplane.interfaces();
    const totals = toCounterSet(counterInfo, (index) => copies.reduce((sum, copy) => sum + (copy[index] ?? 0n), 0n));
    return {
      time: now(),
      totals: { ...totals, passedToKernel: interfaces.reduce((sum, status) => sum + status.xdp.toKernel, 0n) },
      workers: copies.map((copy) => toCounterSet(counterInfo, (index) => copy[index] ?? 0n)),
      interfaces,
    };
  }

  #readServers(service: NativeSlotMap['services'][number]): readonly ServerStats[] {
    return service.servers.map(({ address, port, slot, removed }) => {
      const field = (name: (typeof SERVER_STATS_FIELDS)[number]): bigint =>
        sumOf(this.#servers, slot * SERVER_STATS_FIELDS.length + SERVER_STATS_FIELDS.indexOf(name));
      return {
        service: service.name,
        address,
        port,
        removed,
        connections: field('connections'),
        inPackets: field('inPackets'),
        inBytes: field('inBytes'),
        outPackets: field('outPackets'),
        outBytes: field('outBytes'),
        active: field('active'),
        inactive: field('inactive'),
        ...rateLimited(this.#serverRates, slot),
      };
    });
  }
}

function rateLimited(rates: readonly BigUint64Array[], slot: number): { rateLimitedIn: bigint; rateLimitedOut: bigint } {
  const field = (name: (typeof RATE_LIMIT_FIELDS)[number]): bigint =>
    sumOf(rates, slot * RATE_LIMIT_FIELDS.length + RATE_LIMIT_FIELDS.indexOf(name));
  return { rateLimitedIn: field('droppedIn'), rateLimitedOut: field('droppedOut') };
}

/** Of all workers. */
function sumOf(memories: readonly BigUint64Array[], index: number): bigint {
  return memories.reduce((sum, memory) => sum + loadSlot(memory, index), 0n);
}

/** An untorn read: the worker stores whole 64-bit values while this reads. */
function loadSlot(memory: BigUint64Array, index: number): bigint {
  return index < memory.length ? Atomics.load(memory, index) : 0n;
}
