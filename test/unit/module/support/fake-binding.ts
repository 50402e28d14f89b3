// A stand-in for the addon: remembers what it was asked, and lets a test write counters as a worker would.
// It is only passed in as a parameter; production code has no branch for it.
import { readFileSync } from 'node:fs';
import {
  NATIVE_ABI_VERSION,
  type NativeBinding,
  type NativeCounterInfo,
  type NativeInterfaceProbe,
  type NativeInterfaceStatus,
  type NativeLogInfo,
  type NativeLogReader,
  type NativeOptions,
  type NativeReplayOptions,
  type NativeReplayResult,
  type NativeServiceConfig,
  type NativeSessionPage,
  type NativeSessionRequest,
  type NativeTables,
  RATE_LIMIT_FIELDS,
  SERVER_STATS_FIELDS,
} from '../../../../src/native-binding.js';
import { FakeIngress } from '../../realserver/support/fake-ingress.js';

/** The counters of native/core/counters.def, read from the list itself. */
export function countersFromDefinition(): readonly NativeCounterInfo[] {
  const text = readFileSync(new URL('../../../../native/core/counters.def', import.meta.url), 'utf8');
  const entries = [...text.matchAll(/^MILLRACE_(COUNTER|DROP)\((\w+), (\w+), "([^"]*)"\)$/gm)];
  const of = (macro: string, kind: 'counter' | 'drop'): NativeCounterInfo[] =>
    entries
      .filter((entry) => entry[1] === macro)
      .map((entry) => ({ name: entry[2] ?? '', kind, unit: entry[3] ?? '', help: entry[4] ?? '' }));
  return [...of('COUNTER', 'counter'), ...of('DROP', 'drop')];
}

export function fakeProbe(name: string, change: Partial<NativeInterfaceProbe> = {}): NativeInterfaceProbe {
  return {
    name,
    index: 2,
    kind: 'veth',
    driver: 'veth',
    mtu: 1500,
    mac: '02:00:00:00:00:01',
    up: true,
    carrier: true,
    master: '',
    rxQueues: 2,
    txQueues: 2,
    xdpProgram: null,
    xdpFeatures: { basic: true, redirect: true, zeroCopy: false },
    ntuple: false,
    addresses: [],
    ...change,
  };
}

function fakeStatus(name: string): NativeInterfaceStatus {
  return {
    name,
    index: 2,
    attachMode: 'native',
    fallbackReason: '',
    zeroCopy: false,
    queues: 2,
    mtu: 1500,
    mac: '02:00:00:00:00:01',
    xdp: {
      received: 0n,
      toWorkers: 0n,
      toKernel: 3n,
      rxDropped: 0n,
      rxRingFull: 0n,
      fillRingEmpty: 0n,
      rxInvalid: 0n,
      txInvalid: 0n,
    },
  };
}

export class FakeBinding implements NativeBinding {
  readonly abiVersion = NATIVE_ABI_VERSION;
  readonly calls: string[] = [];
  readonly applied: NativeTables[] = [];
  readonly updated: (readonly NativeServiceConfig[])[] = [];
  readonly sessionRequests: NativeSessionRequest[] = [];
  sessionPage: NativeSessionPage = { rows: [], matched: 0 };
  options: NativeOptions | undefined;
  counterMemory: BigUint64Array[] = [];
  serverMemory: BigUint64Array[] = [];
  serverRateMemory: BigUint64Array[] = [];
  serviceRateMemory: BigUint64Array[] = [];
  serviceCrowdedMemory: BigUint64Array[] = [];
  interfaceStatus: NativeInterfaceStatus[] = [];
  /** Set to make the next call of that name fail. */
  readonly failures = new Map<string, unknown>();
  /** Awaited by start() and apply(), so that a test decides when they end. */
  gate: Promise<void> = Promise.resolve();
  kernel = { xdp: '', afXdp: '', bpfLink: '' };
  probes: NativeInterfaceProbe[] = [fakeProbe('wan'), fakeProbe('lan')];
  replayed: { options: NativeOptions; tables: NativeTables; replay: NativeReplayOptions } | undefined;
  readonly info = countersFromDefinition();
  readonly realserver = new FakeIngress();

  versions(): Readonly<Record<string, string>> {
    return { addon: '0.1.0' };
  }

  counterInfo(): readonly NativeCounterInfo[] {
    return this.info;
  }

  createDataplane(options: NativeOptions) {
    this.#call('createDataplane');
    this.options = options;
    this.counterMemory = Array.from({ length: options.workers }, () => new BigUint64Array(this.info.length));
    this.serverMemory = Array.from({ length: options.workers }, () => new BigUint64Array(16 * SERVER_STATS_FIELDS.length));
    const rates = () => Array.from({ length: options.workers }, () => new BigUint64Array(16 * RATE_LIMIT_FIELDS.length));
    this.serverRateMemory = rates();
    this.serviceRateMemory = rates();
    this.serviceCrowdedMemory = rates();
    this.interfaceStatus = options.interfaces.map((entry) => fakeStatus(entry.name));
    const memory = (arrays: BigUint64Array[], worker: number): ArrayBuffer => {
      const array = arrays[worker];
      if (array === undefined || !(array.buffer instanceof ArrayBuffer)) throw new RangeError(`no worker ${worker}`);
      return array.buffer;
    };
    return {
      start: async () => {
        await this.gate;
        this.#call('start');
      },
      apply: async (tables: NativeTables) => {
        await this.gate;
        this.#call('apply');
        this.applied.push(tables);
        let slot = 0;
        return {
          generation: this.applied.length,
          services: tables.services.map((service, index) => ({
            name: service.name,
            slot: index,
            servers: service.servers.map(({ address, port }) => ({ address, port, slot: slot++, removed: false })),
          })),
        };
      },
      update: async (services: readonly NativeServiceConfig[]) => {
        await this.gate;
        this.#call('update');
        this.updated.push(services);
        const tables = this.applied.at(-1);
        if (tables === undefined) throw new Error('updated before it was applied');
        const all = tables.services;
        const now = all.map((known) => services.find((service) => service.name === known.name) ?? known);
        this.applied.push({ ...tables, services: now });
        let slot = 1000;
        return {
          generation: this.applied.length,
          services: services.map((service) => ({
            name: service.name,
            slot: all.findIndex((known) => known.name === service.name),
            servers: service.servers.map(({ address, port }) => ({ address, port, slot: slot++, removed: false })),
          })),
        };
      },
      sessions: async (request: NativeSessionRequest) => {
        this.#call('sessions');
        this.sessionRequests.push(request);
        return this.sessionPage;
      },
      counters: (worker: number) => memory(this.counterMemory, worker),
      serverStats: (worker: number) => memory(this.serverMemory, worker),
      serverRates: (worker: number) => memory(this.serverRateMemory, worker),
      serviceRates: (worker: number) => memory(this.serviceRateMemory, worker),
      serviceCrowded: (worker: number) => memory(this.serviceCrowdedMemory, worker),
      logHandle: () => 7,
      interfaces: () => this.interfaceStatus,
      stop: async () => {
        this.#call('stop');
      },
      ref: () => this.#call('ref'),
      unref: () => this.#call('unref'),
    };
  }

  replay(options: NativeOptions, tables: NativeTables, replay: NativeReplayOptions): NativeReplayResult {
    this.#call('replay');
    this.replayed = { options, tables, replay };
    const perWorker = Array.from({ length: replay.workers }, (_, worker) => ({ rx_packets: BigInt(worker + 1), forwarded: 0n }));
    return {
      packets: 3,
      passedToKernel: 0,
      sent: 3,
      counters: {
        rx_packets: perWorker.reduce((sum, worker) => sum + worker.rx_packets, 0n),
        forwarded: 0n,
        rx_bytes: 2n ** 60n,
      },
      perWorker,
      servers: [{ service: 'web', server: '192.0.2.11:80', stats: { connections: 1n, inPackets: 2n, outPackets: 1n } }],
    };
  }

  probeInterfaces(): readonly NativeInterfaceProbe[] {
    return this.probes;
  }

  probeKernel() {
    return this.kernel;
  }

  openCheckSocket(): number {
    throw new Error('no test of this binding opens sockets');
  }

  logInfo(): NativeLogInfo {
    return { events: [], recordBytes: 64, fields: [] };
  }

  openLogs(): NativeLogReader {
    throw new Error('no test of this binding reads logs');
  }

  sendNow(): number {
    throw new Error('no test of this binding writes to sockets');
  }

  notifyServiceManager(socket: string, text: string): void {
    this.#call(`notify ${socket} ${text}`);
  }

  attachLabSteering(): void {
    this.#call('attachLabSteering');
  }

  /** Writes one counter of one worker. */
  setCounter(worker: number, name: string, value: bigint): void {
    const slot = this.info.findIndex((counter) => counter.name === name);
    const memory = this.counterMemory[worker];
    if (slot < 0 || memory === undefined) throw new RangeError(`no counter ${name} of worker ${worker}`);
    memory[slot] = value;
  }

  setServer(worker: number, slot: number, field: (typeof SERVER_STATS_FIELDS)[number], value: bigint): void {
    const memory = this.serverMemory[worker];
    if (memory === undefined) throw new RangeError(`no worker ${worker}`);
    memory[slot * SERVER_STATS_FIELDS.length + SERVER_STATS_FIELDS.indexOf(field)] = value;
  }

  setRate(
    of: 'server' | 'service',
    worker: number,
    slot: number,
    field: (typeof RATE_LIMIT_FIELDS)[number],
    value: bigint,
  ): void {
    const memory = (of === 'server' ? this.serverRateMemory : this.serviceRateMemory)[worker];
    if (memory === undefined) throw new RangeError(`no worker ${worker}`);
    memory[slot * RATE_LIMIT_FIELDS.length + RATE_LIMIT_FIELDS.indexOf(field)] = value;
  }

  #call(name: string): void {
    this.calls.push(name);
    const failure = this.failures.get(name);
    if (failure === undefined) return;
    this.failures.delete(name);
    throw failure;
  }
}
