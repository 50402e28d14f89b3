// `millrace config --effective` and `millrace check --diff` from the outside.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { runCli } from '../../../src/cli/program.js';
import { effectiveConfig } from '../../../src/config/effective.js';
import type { ConfigInput } from '../../../src/config/schema.js';
import { validateConfig } from '../../../src/config/validate.js';
import type { Operation } from '../../../src/state/desired.js';
import { overlayStore } from '../../../src/state/effective.js';
import { applyOperations } from '../../../src/state/operations.js';
import { EMPTY_OVERLAY } from '../../../src/state/overlay.js';
import { catchOutput } from './support/output.js';

let directory: string;
const caught = catchOutput();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-cli-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

const base: ConfigInput = {
  workers: 2,
  interfaces: [{ name: 'wan' }],
  localAddresses: ['192.0.2.101', '192.0.2.102'],
  services: [
    {
      name: 'web',
      address: '203.0.113.1',
      port: 80,
      protocol: 'tcp',
      servers: [{ address: '192.0.2.1' }, { address: '192.0.2.2', weight: 2 }, { address: '192.0.2.3' }],
    },
    { name: 'dns', address: '203.0.113.2', port: 53, protocol: 'udp', servers: [{ address: '192.0.2.4' }] },
    { name: 'ntp', address: '203.0.113.3', port: 123, protocol: 'udp', servers: [] },
  ],
};

function written(name: string, config: ConfigInput): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(config));
  return path;
}

async function stateOf(...operations: Operation[]): Promise<string> {
  const path = join(directory, 'state.json');
  await overlayStore(path).write(applyOperations(EMPTY_OVERLAY, operations, validateConfig(base)));
  return path;
}

test('config --effective: what is not the file says where it comes from, and the text can be read again', async () => {
  const file = written('millrace.yaml', base);
  const state = await stateOf(
    { op: 'drain', service: 'web', server: '192.0.2.2' },
    { op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 7 },
    { op: 'delete-server', service: 'web', server: '192.0.2.3' },
    { op: 'put-server', service: 'web', server: { address: '192.0.2.9' } },
    { op: 'delete-service', name: 'dns' },
    { op: 'put-service', service: { name: 'new', address: '203.0.113.9', port: 9, protocol: 'tcp', servers: [] } },
    { op: 'set-section', section: 'echoReplies', value: false },
    { op: 'drain', service: 'ntp' },
  );
  expect(await runCli(['config', '--effective', file, '--state', state])).toBe(0);
  expect(caught.err).toBe('');
  const lines = caught.out.split('\n').map((line) => line.trim());
  expect(lines[0]).toMatch(/^# version [0-9a-f]{16}$/);
  expect(lines).toContain('# service "dns" of the file is deleted through the API');
  expect(lines).toContain('# server 192.0.2.3:80 of service "web" of the file is deleted through the API');
  expect(lines).toContain('weight: 0 # drained through the API; otherwise 2');
  expect(lines).toContain('weight: 7 # set through the API; the file has 1');
  expect(caught.out).toMatch(/# added through the API\n +(- )?address: 192\.0\.2\.9/);
  expect(caught.out).toMatch(/# added through the API\n +(- )?name: new/);
  expect(caught.out).toMatch(/# set through the API\nechoReplies: false/);
  const again = validateConfig(parse(caught.out));
  expect(again.services.map(({ name }) => name)).toEqual(['web', 'ntp', 'new']);
  expect(effectiveConfig(again)).toEqual(again);
  // Nothing was written, also not by the way.
  expect(readdirSync(directory).sort()).toEqual(['millrace.yaml', 'state.json']);
});

test('config --effective: without a state it is what check --effective prints, under its version', async () => {
  const file = written('millrace.yaml', base);
  expect(await runCli(['config', '--effective', file])).toBe(0);
  const text = caught.out;
  caught.out = '';
  expect(await runCli(['check', '--effective', file])).toBe(0);
  expect(parse(text)).toEqual(parse(caught.out));
});

test('config --effective: what waits is said', async () => {
  const state = await stateOf({ op: 'drain', service: 'dns', server: '192.0.2.4' });
  const file = written('millrace.yaml', { ...base, services: [] });
  expect(await runCli(['config', '--effective', file, '--state', state])).toBe(0);
  expect(caught.out).toContain(
    '# the drain of server 192.0.2.4:53 of service "dns" waits: there is no service "dns" at the moment\n',
  );
});

test('config --effective --json has version, configuration, origins and remarks', async () => {
  const file = written('millrace.yaml', base);
  const state = await stateOf({ op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 7 });
  expect(await runCli(['config', '--effective', file, '--state', state, '--json'])).toBe(0);
  expect(JSON.parse(caught.out)).toMatchObject({
    version: expect.stringMatching(/^[0-9a-f]{16}$/),
    config: { services: [{ name: 'web', servers: [{ weight: 7 }, {}, {}] }, {}, {}] },
    origins: { 'services.web.servers.192.0.2.1:80.weight': 'api' },
    stale: [],
  });
});

test('config: a broken state, a directory that is not there and a missing --effective are refused', async () => {
  const file = written('millrace.yaml', base);
  const state = join(directory, 'state.json');
  writeFileSync(state, '{"torn');
  expect(await runCli(['config', '--effective', file, '--state', state])).toBe(1);
  expect(caught.err).toContain(`${state} cannot be used: it is torn`);
  expect(caught.err).toContain('MILLRACE_E_STATE_INVALID');
  expect(await runCli(['config', '--effective', file, '--state', join(directory, 'none', 'x.json')])).toBe(4);
  expect(await runCli(['config', file])).toBe(2);
});

async function diff(now: ConfigInput, before: ConfigInput = base): Promise<string[]> {
  caught.out = '';
  expect(await runCli(['check', written('new.yaml', now), '--diff', written('old.yaml', before)])).toBe(0);
  return caught.out.split('\n').slice(0, -1);
}

function withWeb(change: (web: ConfigInput['services'][number]) => ConfigInput['services'][number]): ConfigInput {
  return { ...base, services: base.services.map((service, i) => (i === 0 ? change(service) : service)) };
}

test('check --diff: nothing differs, also where the spelling does', async () => {
  expect(await diff({ ...base, echoReplies: true, workers: 'auto' })).toEqual([
    expect.stringMatching(/^nothing changes from .*old/),
  ]);
});

test('check --diff: services that come, go and change, with their keys', async () => {
  const [web, dns] = withWeb((service) => ({
    ...service,
    scheduler: 'rr',
    health: { quorum: 2 },
    servers: [{ address: '192.0.2.2', weight: 5 }, { address: '192.0.2.1' }, { address: '192.0.2.8', port: 81 }],
  })).services;
  if (web === undefined || dns === undefined) throw new Error('not the base');
  const more = { name: 'more', address: '203.0.113.9', port: 9, protocol: 'tcp' as const, servers: [{ address: '192.0.2.1' }] };
  const lines = await diff({ ...base, services: [dns, web, more], routes: [{ prefix: '0.0.0.0/0', interface: 'wan' }] });
  expect(lines.slice(0, 4)).toEqual([
    '+ service more (1 server)',
    '- service ntp (0 servers)',
    '~ service web',
    '    scheduler: wrr -> rr',
  ]);
  expect(lines).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^ {4}health: not set -> \{"quorum":2/),
      '    servers.192.0.2.2:80.weight: 2 -> 5',
      '    servers.192.0.2.3:80: {"address":"192.0.2.3","weight":1} -> not set',
      '    servers.192.0.2.8:81: not set -> {"address":"192.0.2.8","port":81,"weight":1}',
      '~ order of services',
      '~ routes: [] -> [{"prefix":"0.0.0.0/0","interface":"wan"}]',
    ]),
  );
  expect(lines.join('\n')).not.toContain('192.0.2.1:80');
  expect(lines.join('\n')).not.toContain('restart');
});

test('check --diff: servers in another order are a change of the list', async () => {
  const lines = await diff(withWeb((web) => ({ ...web, servers: [...web.servers].reverse() })));
  expect(lines).toEqual(['~ service web', expect.stringMatching(/^ {4}servers: \["192\.0\.2\.1:80",.* -> /)]);
});

test('check --diff: what is fixed while a dataplane runs is told apart', async () => {
  const lines = await diff({
    ...base,
    workers: 1,
    cpus: [3],
    interfaces: [{ name: 'wan', mtu: 1400 }, { name: 'lan' }],
    dataplane: { ringSize: 1024 },
    sessions: { maxPerWorker: 64, timeouts: 'dpvs' },
  });
  expect(lines).toEqual([
    '~ sessions.timeouts: ipvs -> dpvs',
    'needs a restart; a running balancer refuses the whole reload because of:',
    '! workers: 2 -> 1',
    '! interfaces: ["wan"] -> ["wan","lan"]',
    '! dataplane.ringSize: 2048 -> 1024',
    '! sessions.maxPerWorker: 1048576 -> 64',
    '! cpus: not set -> [3], unless it runs with that',
  ]);
});

test('check --diff --json has the same as values; a wrong old file is explained as such; not with --effective', async () => {
  const [now, before] = [
    written(
      'new.yaml',
      withWeb((web) => ({ ...web, scheduler: 'rr' })),
    ),
    written('old.yaml', base),
  ];
  expect(await runCli(['check', now, '--diff', before, '--json'])).toBe(0);
  expect(JSON.parse(caught.out)).toMatchObject({
    ok: true,
    difference: { servicesChanged: [{ name: 'web', keys: [{ path: 'scheduler', from: 'wrr', to: 'rr' }] }], needsRestart: [] },
  });
  expect(await runCli(['check', now, '--diff', written('wrong.yaml', { ...base, localPorts: '9-1' })])).toBe(1);
  expect(caught.err).toContain('wrong.yaml:1:');
  expect(await runCli(['check', now, '--diff', before, '--effective'])).toBe(2);
});
