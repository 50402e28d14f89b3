// Health checks and a load balancer together: who is checked, what reaches the dataplane, in how many passes. Workers and addon are
// stand-ins.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { Notifier } from '../../../src/health/notify.js';
import { goodConfig, startTestBalancer, type TestBalancer } from '../module/support/hosts.js';

type Service = ConfigInput['services'][number];

function config(change: Partial<Service> = {}, name = 'web'): ConfigInput {
  const [web] = goodConfig.services;
  if (web === undefined) throw new Error('no service');
  return { ...goodConfig, services: [{ ...web, name, healthChecks: [{ type: 'tcp' }], ...change }] };
}

const first = 'web 192.0.2.11:8080 0';
const second = 'web 192.0.2.12:80 0';
const down = (id: string) => ({ id, up: false, reason: 'refused' });
const up = (id: string) => ({ id, up: true, reason: 'connected' });

/** What the dataplane has of the service. */
const shown = ({ binding }: TestBalancer): string[] =>
  (binding.applied.at(-1)?.services[0]?.servers ?? []).map((server) => `${server.address}*${server.weight}`);

test('every server is checked as configured, and its own checks replace those of the service', async () => {
  await using balancer = await startTestBalancer(
    config({
      servers: [
        { address: '192.0.2.11', port: 8080 },
        { address: '192.0.2.12', healthChecks: [{ type: 'ping' }, { type: 'http', port: 9000, interval: 10 }] },
      ],
    }),
  );
  const targets = [...balancer.checkers.targets.values()].map((target) => [target.id, target.type, target.address, target.port]);
  expect(targets).toEqual([
    [first, 'tcp', '192.0.2.11', 8080],
    [second, 'ping', '192.0.2.12', 80],
    ['web 192.0.2.12:80 1', 'http', '192.0.2.12', 9000],
  ]);
  expect(balancer.checkers.targets.get('web 192.0.2.12:80 1')).toMatchObject({ interval: 10_000, retryInterval: 10_000 });
});

test('a server that fails leaves the dataplane, without the configuration changing, and comes back', async () => {
  await using balancer = await startTestBalancer(config());
  const events: unknown[] = [];
  balancer.lb.events.on('health', (event) => events.push(event));
  const before = balancer.lb.config;
  balancer.checkers.report([down(first)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.12*1']);
  expect(balancer.lb.config).toEqual(before);
  expect(balancer.lb.healthSummary().servers).toEqual([
    { service: 'web', server: '192.0.2.11:8080', up: false },
    { service: 'web', server: '192.0.2.12:80', up: true },
  ]);
  balancer.checkers.report([up(first)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.11*1', '192.0.2.12*1']);
  expect(events).toEqual([
    { kind: 'server-down', service: 'web', server: '192.0.2.11:8080', reason: 'refused' },
    { kind: 'server-up', service: 'web', server: '192.0.2.11:8080', reason: 'connected' },
  ]);
});

test('changes while the dataplane is busy go together in one pass', async () => {
  const services = Array.from({ length: 500 }, (_, i) => ({
    name: `s${i}`,
    address: `203.0.${113 + (i >> 8)}.${i & 255}`,
    port: 80,
    protocol: 'tcp' as const,
    healthChecks: [{ type: 'tcp' as const }],
    servers: [{ address: '192.0.2.11' }, { address: '192.0.2.12' }],
  }));
  await using balancer = await startTestBalancer({ ...goodConfig, services });
  let release = (): void => undefined;
  balancer.binding.gate = new Promise((resolve) => {
    release = resolve;
  });
  // The first is on its way to the dataplane while all others come.
  for (let i = 0; i < 500; i++) balancer.checkers.report([down(`s${i} 192.0.2.11:80 0`)]);
  release();
  await expect.poll(() => balancer.binding.applied.at(-1)?.services.every((service) => service.servers.length === 1)).toBe(true);
  const passes = balancer.binding.updated.map((pass) => pass.length);
  expect(passes.length).toBeLessThanOrEqual(2);
  expect(passes.reduce((sum, pass) => sum + pass, 0)).toBe(500);
});

test('a setting of weights and a reload keep what health checks have found', async () => {
  await using balancer = await startTestBalancer(config());
  balancer.checkers.report([down(first)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.12*1']);
  await balancer.lb.setWeight('web', '192.0.2.12', 7);
  expect(shown(balancer)).toEqual(['192.0.2.12*7']);
  await balancer.lb.addServer('web', { address: '192.0.2.13' });
  expect(shown(balancer)).toEqual(['192.0.2.12*7', '192.0.2.13*1']);
  // Only the newcomer is asked for anew.
  expect(balancer.checkers.asked).toEqual([first, second, 'web 192.0.2.13:80 0']);
});

test('a service that is not checked any more is shown as configured', async () => {
  await using balancer = await startTestBalancer(config());
  balancer.checkers.report([down(first)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.12*1']);
  await balancer.lb.apply(goodConfig);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.11*1', '192.0.2.12*1']);
  expect(balancer.checkers.targets.size).toBe(0);
});

test('with alpha nothing is shown before the first good check', async () => {
  await using balancer = await startTestBalancer(config({ health: { alpha: true } }));
  expect(balancer.binding.applied[0]?.services[0]?.servers).toEqual([]);
  balancer.checkers.report([up(second)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.12*1']);
});

test('slow start raises the weight by and by, to the end', async () => {
  const servers = [
    { address: '192.0.2.11', port: 8080, weight: 100 },
    { address: '192.0.2.12', weight: 100 },
  ];
  await using balancer = await startTestBalancer(config({ health: { slowStart: 1 }, servers }));
  balancer.checkers.report([down(first)]);
  balancer.checkers.report([up(first)]);
  const weights = new Set<string>();
  await expect
    .poll(
      () => {
        for (const pass of balancer.binding.updated) {
          for (const server of pass[0]?.servers ?? []) if (server.address === '192.0.2.11') weights.add(String(server.weight));
        }
        return weights.size > 3 && shown(balancer)[0] === '192.0.2.11*100';
      },
      { timeout: 10_000 },
    )
    .toBe(true);
});

test('commands run at changes, in order, with what happened in their environment', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  try {
    const file = join(directory, 'told');
    const program = join(directory, 'tell.sh');
    writeFileSync(program, `#!/bin/sh\necho "$1 $MILLRACE_EVENT $MILLRACE_SERVICE $MILLRACE_SERVER" >> ${file}\n`, {
      mode: 0o755,
    });
    const tell = (word: string): string[] => [program, word];
    const notify = { up: tell('up'), down: tell('down'), quorumUp: tell('q+'), quorumDown: tell('q-'), stop: tell('stop') };
    const balancer = await startTestBalancer(config({ health: { notify, omega: true } }));
    balancer.checkers.report([down(first), down(second), up(second)]);
    await balancer.lb.close();
    expect(readFileSync(file, 'utf8').trim().split('\n')).toEqual([
      'down server-down web 192.0.2.11:8080',
      'down server-down web 192.0.2.12:80',
      'q- quorum-down web ',
      'up server-up web 192.0.2.12:80',
      'q+ quorum-up web ',
      'down server-down web 192.0.2.12:80',
      'q- quorum-down web ',
      'stop stop web',
    ]);
    expect(balancer.checkers.closed).toBe(true);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a command that fails is a warning and hinders nothing', async () => {
  await using balancer = await startTestBalancer(config({ health: { notify: { down: ['/nowhere/notify'] } } }));
  const warnings: string[] = [];
  balancer.lb.events.on('warning', (warning) => warnings.push(warning.message));
  balancer.checkers.report([down(first)]);
  await expect.poll(() => warnings.join()).toContain('/nowhere/notify of service web');
  expect(shown(balancer)).toEqual(['192.0.2.12*1']);
});

test('what the dataplane did not take is offered again, and the operator is told once', async () => {
  await using balancer = await startTestBalancer(config());
  const warnings: string[] = [];
  balancer.lb.events.on('warning', (warning) => warnings.push(warning.message));
  balancer.binding.failures.set('update', { code: 'limit_exceeded', message: 'full', errno: 0 });
  balancer.checkers.report([down(first)]);
  await expect.poll(() => warnings.join()).toContain('did not reach the dataplane and is tried again');
  expect(shown(balancer)).toEqual(['192.0.2.11*1', '192.0.2.12*1']);
  await expect.poll(() => shown(balancer), { timeout: 10_000 }).toEqual(['192.0.2.12*1']);
  expect(warnings.filter((warning) => warning.includes('did not reach'))).toHaveLength(1);
});

test('a server that is drained, or that alpha keeps out, is so from the first pass on', async () => {
  const servers = [
    { address: '192.0.2.11', port: 8080, weight: 100 },
    { address: '192.0.2.12', weight: 100 },
  ];
  const health = { alpha: true, slowStart: 100 };
  await using balancer = await startTestBalancer(config({ health, servers }));
  balancer.checkers.report([up(first), up(second)]);
  await expect.poll(() => shown(balancer)).toHaveLength(2);
  await balancer.lb.setWeight('web', '192.0.2.11', 0);
  expect(shown(balancer)[0]).toBe('192.0.2.11*0');
  await balancer.lb.addServer('web', { address: '192.0.2.13', weight: 100 });
  expect(
    balancer.binding.applied.flatMap(({ services }) => services[0]?.servers ?? []).map(({ address }) => address),
  ).not.toContain('192.0.2.13');
});

test('a check that is added to a server that is down begins as its worker does', async () => {
  await using balancer = await startTestBalancer(config());
  balancer.checkers.report([down(first)]);
  await expect.poll(() => shown(balancer)).toEqual(['192.0.2.12*1']);
  await balancer.lb.apply(config({ healthChecks: [{ type: 'tcp' }, { type: 'ping' }] }));
  expect(balancer.checkers.standings.get('web 192.0.2.11:8080 1')).toMatchObject({ up: false });
  expect(balancer.checkers.standings.size).toBe(1);
});

test('many commands at once are run a few at a time, and one that cannot be run is a warning', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  try {
    const program = join(directory, 'count.sh');
    writeFileSync(
      program,
      `#!/bin/sh\nmkdir ${directory}/run.$$\nls -d ${directory}/run.* | wc -l >> ${directory}/seen\nsleep 0.05\nrmdir ${directory}/run.$$\n`,
      { mode: 0o755 },
    );
    const complaints: string[] = [];
    const notifier = new Notifier((message) => complaints.push(message));
    for (let i = 0; i < 60; i++) {
      notifier.run([program], { kind: 'server-down', service: `s${i}`, server: '', reason: '' });
    }
    // What no process can be given: the next command of the service is run all the same.
    notifier.run(['/bin/true'], { kind: 'server-down', service: 'odd', server: '', reason: 'a\0b' });
    notifier.run([program], { kind: 'server-up', service: 'odd', server: '', reason: '' });
    await notifier.idle();
    const seen = readFileSync(join(directory, 'seen'), 'utf8').trim().split('\n').map(Number);
    expect(seen).toHaveLength(61);
    expect(Math.max(...seen)).toBeLessThanOrEqual(16);
    expect(complaints).toEqual([expect.stringContaining('null bytes')]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
