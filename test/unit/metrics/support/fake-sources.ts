// A load balancer of plain data for the metrics: statistics, configuration and health as a test says, with the real counter list.
import { EventEmitter } from 'node:events';
import type { Config, ConfigInput, ServiceConfig } from '../../../../src/config/schema.js';
import { validateConfig } from '../../../../src/config/validate.js';
import { serverKey } from '../../../../src/control/availability.js';
import { type ServerStats, type Stats, toCounterSet } from '../../../../src/control/stats.js';
import type { HealthStatus } from '../../../../src/health/monitor.js';
import { targetsOf } from '../../../../src/health/target.js';
import type { LoadBalancerEvents } from '../../../../src/load-balancer.js';
import type { MetricsSources } from '../../../../src/metrics/metrics.js';
import { ReloadRecorder } from '../../../../src/metrics/reload-recorder.js';
import { countersFromDefinition } from '../../module/support/fake-binding.js';

export const START = 1_700_000_000_000;

export function serverStats(change: Partial<ServerStats> & Pick<ServerStats, 'service' | 'address' | 'port'>): ServerStats {
  return {
    removed: false,
    connections: 0n,
    inPackets: 0n,
    inBytes: 0n,
    outPackets: 0n,
    outBytes: 0n,
    active: 0n,
    inactive: 0n,
    rateLimitedIn: 0n,
    rateLimitedOut: 0n,
    ...change,
  };
}

export class FakeBalancer {
  readonly events = new EventEmitter<LoadBalancerEvents>();
  readonly counterInfo = countersFromDefinition();
  cpus: readonly number[] = [2, -1];
  /** By worker, then by name. */
  counters: Readonly<Record<string, bigint>>[] = [{}, {}];
  servers: ServerStats[] = [];
  /** By service. */
  rates: Readonly<Record<string, { in: bigint; out: bigint; noRoom: bigint }>> = {};
  presented: readonly ServiceConfig[] | undefined;
  down = new Set<string>();
  quorumLost = new Set<string>();
  checks: HealthStatus['checks'] | undefined;
  /** What health() waits for. */
  gate: Promise<unknown> = Promise.resolve();
  asked = { config: 0, health: 0 };
  #config: Config;

  constructor(config: ConfigInput) {
    this.#config = validateConfig(config);
    this.servers = this.#config.services.flatMap((service) =>
      service.servers.map((server) => {
        const port = server.port ?? (typeof service.port === 'number' ? service.port : 0);
        return serverStats({ service: service.name, address: server.address, port });
      }),
    );
  }

  get config(): Config {
    this.asked.config += 1;
    return this.#config;
  }

  apply(config: ConfigInput): void {
    this.#config = validateConfig(config);
    const changes = { servicesAdded: [], servicesRemoved: [], servicesChanged: [], otherChanged: true };
    this.events.emit('applied', { generation: 1, changes });
  }

  set(address: string, change: Partial<ServerStats>): void {
    this.servers = this.servers.map((server) => (server.address === address ? { ...server, ...change } : server));
  }

  stats(): Stats {
    const sets = this.counters.map((values) =>
      toCounterSet(this.counterInfo, (index) => values[this.counterInfo[index]?.name ?? ''] ?? 0n),
    );
    const [first] = sets;
    if (first === undefined) throw new Error('no workers');
    const xdp = { toKernel: 3n, rxDropped: 1n, rxRingFull: 2n, fillRingEmpty: 4n, rxInvalid: 5n, txInvalid: 6n };
    return {
      time: START,
      totals: { ...first, passedToKernel: 3n },
      workers: sets,
      services: this.#config.services.map(({ name }) => ({
        service: name,
        rateLimitedIn: this.rates[name]?.in ?? 0n,
        rateLimitedOut: this.rates[name]?.out ?? 0n,
        clientAddressNoRoom: this.rates[name]?.noRoom ?? 0n,
      })),
      servers: this.servers,
      interfaces: this.#config.interfaces.map(({ name }) => ({
        name,
        index: 2,
        attachMode: 'native' as const,
        fallbackReason: '',
        zeroCopy: true,
        queues: 2,
        mtu: 1500,
        mac: '02:00:00:00:00:01',
        xdp: { received: 103n, toWorkers: 100n, ...xdp },
      })),
    };
  }

  presentedServices(): readonly ServiceConfig[] {
    return this.presented ?? this.#config.services;
  }

  healthSummary(): Pick<HealthStatus, 'services' | 'servers'> {
    const checked = this.#config.services.filter((service) => (service.healthChecks ?? []).length > 0);
    return {
      services: checked.map(({ name }) => ({ name, quorum: !this.quorumLost.has(name) })),
      servers: checked.flatMap((service) =>
        service.servers.map((server) => {
          const key = serverKey(service, server);
          return { service: service.name, server: key, up: !this.down.has(key) };
        }),
      ),
    };
  }

  async health(): Promise<HealthStatus> {
    this.asked.health += 1;
    await this.gate;
    const checks =
      this.checks ??
      targetsOf(this.#config).map(({ id, service, server, type }) => ({
        id,
        service,
        server,
        type,
        up: true,
        streak: 4,
        checks: 4,
        failures: 1,
        spent: 10,
        last: { at: START, milliseconds: 2.5, good: true, reason: 'ok' },
      }));
    return { ...this.healthSummary(), checks, lateness: [] };
  }

  /** Sources of createMetrics. */
  sources(more: Partial<MetricsSources> = {}): MetricsSources {
    return {
      balancer: this,
      counterInfo: this.counterInfo,
      versions: { millrace: '0.1.0', node: '20.20.2', napi: '9', native: { addon: '0.1.0', libxdp: '1.3.0' } },
      reloads: new ReloadRecorder(() => START),
      now: () => START,
      ...more,
    };
  }
}

export const baseConfig: ConfigInput = {
  workers: 2,
  interfaces: [{ name: 'wan' }],
  localAddresses: ['192.0.2.101', '192.0.2.102'],
  localPorts: '1025-2024',
  services: [
    {
      name: 'web',
      address: '203.0.113.10',
      port: 80,
      protocol: 'tcp',
      healthChecks: [{ type: 'tcp' }, { type: 'http' }],
      servers: [
        { address: '192.0.2.11', port: 8080, weight: 3 },
        { address: '192.0.2.12', port: 8080 },
      ],
    },
    {
      name: 'dns',
      address: '2001:db8:1::10',
      port: 53,
      protocol: 'udp',
      mode: 'nat',
      servers: [{ address: '2001:db8:2::11', port: 53 }],
    },
  ],
};
