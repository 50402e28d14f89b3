// The metrics as a scrape sees them, from made-up sources and the real list of counters.
import { describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { createMetrics, type MetricsSources } from '../../../src/metrics/metrics.js';
import { ReloadRecorder } from '../../../src/metrics/reload-recorder.js';
import { baseConfig, FakeBalancer, START, serverStats } from './support/fake-sources.js';
import { type ParsedFamily, parseExposition, sample } from './support/parse-exposition.js';

async function scrape(balancer: FakeBalancer, more: Partial<MetricsSources> = {}): Promise<ReadonlyMap<string, ParsedFamily>> {
  const metrics = createMetrics(balancer.sources(more));
  try {
    return parseExposition((await metrics.metrics()).body);
  } finally {
    metrics.close();
  }
}

function withMetrics(metrics: NonNullable<ConfigInput['metrics']>): ConfigInput {
  return { ...baseConfig, metrics };
}

const web = { service: 'web', real: '192.0.2.11:8080' };

describe('workers', () => {
  test('every counter of the native list is a metric of its own or part of one', async () => {
    const balancer = new FakeBalancer(baseConfig);
    balancer.counters = [Object.fromEntries(balancer.counterInfo.map(({ name }, i) => [name, BigInt(i + 1)])), {}];
    const families = await scrape(balancer);
    const own = { worker: '0', core: '2' };
    balancer.counterInfo.forEach(({ name, kind, unit, help }, i) => {
      const traffic = /^(rx|tx)_(packets|bytes)$/.exec(name);
      const value =
        kind === 'drop'
          ? sample(families, 'millrace_drops_total', { reason: name, stage: unit, ...own })
          : traffic !== null
            ? sample(families, `millrace_${traffic[2]}_total`, { direction: traffic[1] ?? '', ...own })
            : sample(families, `millrace_worker_${name}${help.endsWith('(gauge)') ? '' : '_total'}`, own);
      expect([name, value]).toEqual([name, i + 1]);
    });
    expect(families.get('millrace_worker_sessions')?.type).toBe('gauge');
    expect(families.get('millrace_worker_sessions_created_total')?.type).toBe('counter');
  });

  test('a counter that is added to the list appears without further work', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const added = { name: 'quic_migrations', kind: 'counter', unit: 'sessions', help: 'sessions that moved' } as const;
    const counterInfo = [...balancer.counterInfo, added];
    const stats = balancer.stats();
    balancer.stats = () => ({ ...stats, workers: stats.workers.map((worker) => ({ ...worker, quicMigrations: 7n })) });
    const families = await scrape(balancer, { counterInfo });
    expect(sample(families, 'millrace_worker_quic_migrations_total', { worker: '1' })).toBe(7);
    expect(families.get('millrace_worker_quic_migrations_total')?.help).toBe('Sessions that moved.');
  });

  test('a worker that is not pinned has no core', async () => {
    const families = await scrape(new FakeBalancer(baseConfig));
    expect(sample(families, 'millrace_worker_sessions_limit', { worker: '1' })).toBe(1_048_576);
    expect(sample(families, 'millrace_workers')).toBe(2);
  });
});

describe('services', () => {
  test('sessions, packets and bytes are those of each real server', async () => {
    const balancer = new FakeBalancer(baseConfig);
    balancer.set('192.0.2.11', {
      connections: 9n,
      active: 2n,
      inactive: 3n,
      inPackets: 10n,
      outPackets: 20n,
      inBytes: 2n ** 40n,
      outBytes: 40n,
    });
    const families = await scrape(balancer);
    expect(sample(families, 'millrace_sessions', { ...web, state: 'active' })).toBe(2);
    expect(sample(families, 'millrace_sessions', { ...web, state: 'inactive' })).toBe(3);
    expect(sample(families, 'millrace_session_created_total', web)).toBe(9);
    expect(sample(families, 'millrace_service_packets_total', { ...web, direction: 'in' })).toBe(10);
    expect(sample(families, 'millrace_service_packets_total', { ...web, direction: 'out' })).toBe(20);
    expect(sample(families, 'millrace_service_bytes_total', { ...web, direction: 'in' })).toBe(2 ** 40);
    expect(sample(families, 'millrace_service_bytes_total', { ...web, direction: 'out' })).toBe(40);
    expect(sample(families, 'millrace_real_up', { service: 'dns', real: '[2001:db8:2::11]:53' })).toBe(1);
  });

  test('without perServer services are summed up, and what a real server counted stays when it goes', async () => {
    const balancer = new FakeBalancer(withMetrics({ perServer: false }));
    const metrics = createMetrics(balancer.sources());
    const created = async () =>
      sample(parseExposition((await metrics.metrics()).body), 'millrace_session_created_total', { service: 'web' });
    balancer.set('192.0.2.11', { connections: 100n, active: 1n });
    balancer.set('192.0.2.12', { connections: 10n, active: 2n });
    expect(await created()).toBe(110);
    const [service] = baseConfig.services;
    if (service === undefined) throw new Error('no service');
    balancer.servers = balancer.servers.filter(({ address }) => address !== '192.0.2.11');
    balancer.apply({ ...withMetrics({ perServer: false }), services: [{ ...service, servers: service.servers.slice(1) }] });
    expect(await created()).toBe(110);
    balancer.set('192.0.2.12', { connections: 11n });
    expect(await created()).toBe(111);
    const text = (await metrics.metrics()).body;
    expect(text).not.toContain('real=');
    expect(sample(parseExposition(text), 'millrace_sessions', { service: 'web', state: 'active' })).toBe(2);
    metrics.close();
  });

  test('a real server that health checks took out keeps its counters, and is down with weight 0', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources());
    balancer.set('192.0.2.11', { connections: 5n });
    await metrics.metrics();
    balancer.down.add('192.0.2.11:8080');
    balancer.servers = balancer.servers.filter(({ address }) => address !== '192.0.2.11');
    const services = balancer.config.services;
    balancer.presented = services.map((service) => ({
      ...service,
      servers: service.servers.filter(({ address }) => address !== '192.0.2.11'),
    }));
    const families = parseExposition((await metrics.metrics()).body);
    expect(sample(families, 'millrace_real_up', web)).toBe(0);
    expect(sample(families, 'millrace_real_weight', web)).toBe(3);
    expect(sample(families, 'millrace_real_effective_weight', web)).toBe(0);
    expect(sample(families, 'millrace_session_created_total', web)).toBe(5);
    expect(families.has('millrace_service_reals')).toBe(false);
    balancer.apply(withMetrics({ perServer: false }));
    const summed = parseExposition((await metrics.metrics()).body);
    expect(sample(summed, 'millrace_service_reals', { service: 'web', state: 'up' })).toBe(1);
    expect(sample(summed, 'millrace_service_reals', { service: 'web', state: 'down' })).toBe(1);
    expect(summed.has('millrace_real_up')).toBe(false);
    metrics.close();
  });

  test('the sorry server appears while it stands in', async () => {
    const balancer = new FakeBalancer(baseConfig);
    balancer.quorumLost.add('web');
    const [service] = balancer.config.services;
    const [server] = service?.servers ?? [];
    if (service === undefined || server === undefined) throw new Error('no server');
    balancer.presented = [{ ...service, servers: [{ ...server, address: '192.0.2.99', weight: 1 }] }];
    balancer.servers = [serverStats({ service: 'web', address: '192.0.2.99', port: 8080, active: 4n })];
    const families = await scrape(balancer);
    const sorry = { service: 'web', real: '192.0.2.99:8080' };
    expect(sample(families, 'millrace_service_quorum', { service: 'web' })).toBe(0);
    expect(sample(families, 'millrace_real_effective_weight', sorry)).toBe(1);
    expect(sample(families, 'millrace_sessions', { ...sorry, state: 'active' })).toBe(4);
    expect(() => sample(families, 'millrace_real_up', sorry)).toThrow('no sample');
  });

  test('rate limits appear where there are any', async () => {
    const [first, second] = baseConfig.services;
    if (first === undefined || second === undefined) throw new Error('no service');
    const limited = {
      ...first,
      rateLimit: { packetsPerSecond: 10 },
      servers: first.servers.map((server, i) => (i === 0 ? { ...server, rateLimit: { packetsPerSecond: 5 } } : server)),
    };
    const balancer = new FakeBalancer({ ...baseConfig, services: [limited, second] });
    balancer.rates = { web: { in: 3n, out: 4n, noRoom: 0n } };
    balancer.set('192.0.2.11', { rateLimitedIn: 7n });
    const name = 'millrace_service_rate_limited_packets_total';
    const families = await scrape(balancer);
    expect([...(families.get(name)?.samples ?? [])].map(([, value]) => value)).toEqual([3, 4, 7, 0]);
    expect(sample(families, name, { ...web, direction: 'in' })).toBe(7);
    balancer.apply({ ...baseConfig, metrics: { perServer: false }, services: [limited, second] });
    const summed = await scrape(balancer);
    expect(sample(summed, name, { service: 'web', direction: 'in' })).toBe(10);
    expect(summed.get(name)?.samples.size).toBe(2);
  });

  test('a rule of the outbound gateway is one service without real servers', async () => {
    const snat = [{ name: 'out', match: [{ source: '10.0.0.0/8' }], pool: ['198.51.100.1', '198.51.100.2'] }];
    const balancer = new FakeBalancer({ ...baseConfig, snat });
    balancer.servers = [...balancer.servers, serverStats({ service: 'out', address: '0.0.0.0', port: 0, connections: 6n })];
    const families = await scrape(balancer);
    expect(sample(families, 'millrace_session_created_total', { service: 'out' })).toBe(6);
    expect([...(families.get('millrace_real_up')?.samples.keys() ?? [])].join()).not.toContain('out');
  });

  test('the use of local ports is that of the busiest real server over its services', async () => {
    const [first, second] = baseConfig.services;
    if (first === undefined || second === undefined) throw new Error('no service');
    const balancer = new FakeBalancer({ ...baseConfig, services: [first, { ...first, name: 'web2', port: 81 }, second] });
    balancer.set('192.0.2.11', { active: 100n, inactive: 100n });
    balancer.set('192.0.2.12', { active: 150n });
    balancer.set('2001:db8:2::11', { active: 1999n });
    const families = await scrape(balancer);
    expect(sample(families, 'millrace_local_ports', { family: 'ipv4' })).toBe(2000);
    expect(sample(families, 'millrace_local_port_use_ratio', { family: 'ipv4' })).toBe(0.2);
    expect(families.get('millrace_local_ports')?.samples.size).toBe(1);
  });
});

describe('health', () => {
  test('durations by kind of check, the last of each real server, and failures', async () => {
    const families = await scrape(new FakeBalancer(baseConfig));
    expect(sample(families, 'millrace_health_check_duration_seconds_sum', { type: 'http' })).toBe(0.02);
    expect(sample(families, 'millrace_health_check_duration_seconds_count', { type: 'http' })).toBe(8);
    expect(sample(families, 'millrace_health_check_failures_total', { service: 'web' })).toBe(4);
    const last = 'millrace_health_check_last_duration_seconds';
    expect(sample(families, last, { ...web, check: '0', type: 'tcp' })).toBe(0.0025);
    expect(sample(families, last, { ...web, check: '1', type: 'http' })).toBe(0.0025);
    expect(families.get(last)?.samples.size).toBe(4);
  });

  test('transitions are counted as they are told, from 0 on', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources());
    const of = async (name: string, to: string) =>
      sample(parseExposition((await metrics.metrics()).body), name, { service: 'web', to });
    expect(await of('millrace_health_transitions_total', 'down')).toBe(0);
    const event = { service: 'web', server: '192.0.2.11:8080', reason: 'refused' };
    balancer.events.emit('health', { kind: 'server-down', ...event });
    balancer.events.emit('health', { kind: 'server-up', ...event });
    balancer.events.emit('health', { kind: 'server-down', ...event });
    balancer.events.emit('health', { kind: 'server-held', ...event });
    expect(await of('millrace_health_transitions_total', 'down')).toBe(2);
    expect(await of('millrace_health_transitions_total', 'up')).toBe(1);
    expect(await of('millrace_health_transitions_total', 'held')).toBe(1);
    metrics.close();
    expect(balancer.events.listenerCount('health') + balancer.events.listenerCount('applied')).toBe(0);
  });

  test('health checks that do not answer delay a scrape by a second and cost no other metric', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources());
    await metrics.metrics();
    let open: (value?: unknown) => void = () => undefined;
    balancer.gate = new Promise((resolve) => {
      open = resolve;
    });
    const families = parseExposition((await metrics.metrics()).body);
    expect(sample(families, 'millrace_health_check_failures_total', { service: 'web' })).toBe(4);
    expect(sample(families, 'millrace_health_status_age_seconds')).toBeGreaterThan(0);
    await metrics.metrics();
    expect(balancer.asked.health).toBe(2);
    open();
    const later = parseExposition((await metrics.metrics()).body);
    expect(sample(later, 'millrace_health_status_age_seconds')).toBe(0);
    balancer.gate = Promise.reject(new Error('closed'));
    await expect(metrics.metrics()).resolves.toMatchObject({
      body: expect.stringContaining('millrace_health_check_failures_total'),
    });
    metrics.close();
  });
});

describe('configuration and node', () => {
  test('cluster and node are labels of every sample, and follow the configuration', async () => {
    const balancer = new FakeBalancer(withMetrics({ cluster: 'edge', node: 'lb-1', ipvsNames: true }));
    const metrics = createMetrics(balancer.sources());
    for (const family of parseExposition((await metrics.metrics()).body).values()) {
      for (const key of family.samples.keys()) {
        expect(key).toContain('cluster="edge"');
        expect(key).toContain('node="lb-1"');
      }
    }
    balancer.apply(withMetrics({ cluster: 'core' }));
    const body = (await metrics.metrics()).body;
    expect(body).toContain('cluster="core"');
    expect(body).not.toMatch(/"edge"|"lb-1"|node_ipvs/);
    metrics.close();
  });

  test('reloads, changes and the version', async () => {
    let now = START;
    const reloads = new ReloadRecorder(() => now);
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources({ reloads, configVersion: () => '00ff00ff00ff00ff', now: () => now }));
    const of = async (name: string, labels = {}) => sample(parseExposition((await metrics.metrics()).body), name, labels);
    expect(await of('millrace_config_last_reload_successful')).toBe(1);
    expect(await of('millrace_config_last_reload_success_timestamp_seconds')).toBe(START / 1000);
    expect(await of('millrace_config_hash_info', { hash: '00ff00ff00ff00ff' })).toBe(1);
    now += 5000;
    reloads.reloaded(false, 'line 3: no');
    expect(await of('millrace_config_last_reload_successful')).toBe(0);
    expect(await of('millrace_config_last_reload_success_timestamp_seconds')).toBe(START / 1000);
    expect(reloads.last).toEqual({ at: now, ok: false, message: 'line 3: no' });
    reloads.reloaded(true, 'nothing changed');
    balancer.apply(baseConfig);
    expect(await of('millrace_config_last_reload_successful')).toBe(1);
    expect(await of('millrace_config_last_reload_success_timestamp_seconds')).toBe(now / 1000);
    expect(await of('millrace_config_reloads_total', { outcome: 'success' })).toBe(1);
    expect(await of('millrace_config_reloads_total', { outcome: 'failure' })).toBe(1);
    expect(await of('millrace_config_changes_total')).toBe(1);
    expect(await of('millrace_config_last_change_timestamp_seconds')).toBe(now / 1000);
    metrics.close();
  });

  test('the configuration, of which the balancer hands out copies, is asked for once per change', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources());
    await metrics.metrics();
    await metrics.metrics();
    expect(balancer.asked.config).toBe(1);
    balancer.apply(baseConfig);
    await metrics.metrics();
    expect(balancer.asked.config).toBe(2);
    metrics.close();
  });

  test('scrapes at the same time share one', async () => {
    const balancer = new FakeBalancer(baseConfig);
    const metrics = createMetrics(balancer.sources());
    const [a, b] = await Promise.all([metrics.metrics(), metrics.metrics()]);
    expect(a).toBe(b);
    expect(balancer.asked.health).toBe(1);
    metrics.close();
  });

  test('build, process and interfaces', async () => {
    const families = await scrape(new FakeBalancer(baseConfig));
    const build = { version: '0.1.0', nodejs: '20.20.2', addon: '0.1.0', libxdp: '1.3.0' };
    expect(sample(families, 'millrace_build_info', build)).toBe(1);
    expect(sample(families, 'millrace_process_resident_memory_bytes')).toBeGreaterThan(1_000_000);
    expect(sample(families, 'millrace_interface_drops_total', { interface: 'wan', reason: 'rx_ring_full' })).toBe(2);
    expect(sample(families, 'millrace_interface_passed_packets_total', { interface: 'wan', to: 'kernel' })).toBe(3);
    expect(sample(families, 'millrace_interface_info', { interface: 'wan', attach_mode: 'native', zero_copy: 'true' })).toBe(1);
  });
});

test('with ipvsNames services are there under the names and labels of node_exporter', async () => {
  const [first, second] = baseConfig.services;
  if (first === undefined || second === undefined) throw new Error('no service');
  const marked = {
    name: 'marked',
    mark: 4098,
    match: [{ destination: '203.0.113.20', ports: '8000-8100' }],
    servers: [{ address: '192.0.2.13' }],
  };
  const unmarked = { name: 'unmarked', match: [{ destination: '203.0.113.21' }], servers: [{ address: '192.0.2.13' }] };
  const balancer = new FakeBalancer({
    ...baseConfig,
    metrics: { ipvsNames: true },
    services: [first, second, marked, unmarked],
  });
  balancer.set('192.0.2.11', {
    connections: 5n,
    inPackets: 1n,
    outPackets: 2n,
    inBytes: 3n,
    outBytes: 4n,
    active: 6n,
    inactive: 7n,
  });
  const families = await scrape(balancer);
  for (const [what, value] of Object.entries({
    connections: 5,
    incoming_packets: 1,
    outgoing_packets: 2,
    incoming_bytes: 3,
    outgoing_bytes: 4,
  })) {
    expect([what, sample(families, `node_ipvs_${what}_total`)]).toEqual([what, value]);
  }
  const backend = {
    local_address: '203.0.113.10',
    local_port: '80',
    remote_address: '192.0.2.11',
    remote_port: '8080',
    proto: 'TCP',
    local_mark: '',
  };
  expect(sample(families, 'node_ipvs_backend_connections_active', backend)).toBe(6);
  expect(sample(families, 'node_ipvs_backend_connections_inactive', backend)).toBe(7);
  expect(sample(families, 'node_ipvs_backend_weight', backend)).toBe(3);
  const mark = {
    local_address: '',
    local_port: '0',
    remote_address: '192.0.2.13',
    remote_port: '0',
    proto: 'FWM',
    local_mark: '00001002',
  };
  expect(sample(families, 'node_ipvs_backend_weight', mark)).toBe(1);
  const v6 = {
    local_address: '2001:db8:1::10',
    local_port: '53',
    remote_address: '2001:db8:2::11',
    remote_port: '53',
    proto: 'UDP',
    local_mark: '',
  };
  expect(sample(families, 'node_ipvs_backend_weight', v6)).toBe(1);
  expect(families.get('node_ipvs_backend_weight')?.samples.size).toBe(4);
});
