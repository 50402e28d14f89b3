// Every command about a running daemon, in every output format, against a daemon that answers the contract on a real socket.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { FakeDaemon, Refusal } from '../client/support/fake-daemon.js';
import { counters, statusView, workerView } from '../client/support/views.js';
import { lines, run } from './support.js';

let daemon: FakeDaemon;
beforeEach(async () => {
  daemon = await new FakeDaemon().start();
  vi.stubEnv('MILLRACE_SOCKET', daemon.socket);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await daemon[Symbol.asyncDispose]();
});

test('status', async () => {
  const { code, out } = await run('status');
  expect(code).toBe(0);
  expect(lines(out)).toEqual([
    'state          ready',
    'process        4711, running for 1 d 2 h',
    'configuration  version feedbeeffeedbeef, generation 3',
    'workers        2',
    'services       2',
    'servers        1 up, 1 down, 1 unchecked',
    'sessions       15',
    'last reload    2025-11-24 16:01:00Z done',
  ]);
  const wide = await run('status', '-o', 'wide');
  expect(lines(wide.out).slice(9)).toEqual([
    'worker  cpu  sessions  received  sent  dropped',
    '     0    0         7      1000   900        5',
    '     1    1         7      1000   900        5',
  ]);
  expect(JSON.parse((await run('status', '-o', 'json')).out)).toEqual(statusView());
  expect(parse((await run('status', '--output=yaml')).out)).toEqual(statusView());
});

test('status: a failed reload, and a daemon that drains', async () => {
  daemon.answers.status = () =>
    statusView({ draining: true, lastReload: { at: 1_764_000_060_000, ok: false, message: 'line 3:\u001b[2J wrong' } });
  const { out } = await run('status');
  expect(out).toContain('state          draining\n');
  expect(out).toContain('last reload    2025-11-24 16:01:00Z failed: line 3: [2J wrong\n');
});

test('services', async () => {
  expect(lines((await run('services')).out)).toEqual([
    'service  clients connect to     scheduler  mode     usable  active  connections',
    'web      tcp 203.0.113.10:80    wlc        fullnat  1/2          6           20',
    'dns      udp [2001:db8::10]:53  wlc        fullnat  1/1          3           10',
  ]);
  expect(lines((await run('services', '-o', 'wide')).out)[1]).toBe(
    'web      tcp 203.0.113.10:80    wlc        fullnat  1/2          6           20         4         200     20000          400     100000  file',
  );
  const json = JSON.parse((await run('services', '-o', 'json')).out);
  expect(json.map((service: { name: string }) => service.name)).toEqual(['web', 'dns']);
  expect(parse((await run('services', '-o', 'yaml')).out)).toEqual(json);
});

test('services NAME: the service and its servers; JSON is the one service', async () => {
  expect(lines((await run('services', 'web')).out)).toEqual([
    'service  clients connect to   scheduler  mode     usable  active  connections',
    'web      tcp 203.0.113.10:80  wlc        fullnat  1/2          6           20',
    '',
    'service  server           mode     state  weight  active  connections',
    'web      192.0.2.11:8080  fullnat  up          1       3           10',
    'web      192.0.2.12:8080  fullnat  down    0 (1)       3           10',
  ]);
  expect(JSON.parse((await run('services', 'web', '-o', 'json')).out)).toMatchObject({ name: 'web', counters: counters(2) });
});

test('servers', async () => {
  expect(lines((await run('servers')).out)).toEqual([
    'service  server             mode     state      weight  active  connections',
    'web      192.0.2.11:8080    fullnat  up              1       3           10',
    'web      192.0.2.12:8080    fullnat  down        0 (1)       3           10',
    'dns      [2001:db8::53]:53  fullnat  unchecked       1       3           10',
  ]);
  expect(lines((await run('servers', 'dns', '-o', 'wide')).out)).toEqual([
    'service  server             mode     state      weight  active  connections  inactive  in packets  in bytes  out packets  out bytes  origin',
    'dns      [2001:db8::53]:53  fullnat  unchecked       1       3           10         2         100     10000          200      50000  file',
  ]);
  const json = JSON.parse((await run('servers', 'web', '-o', 'json')).out);
  expect(json).toMatchObject([
    { service: 'web', server: '192.0.2.11:8080', state: 'up' },
    { service: 'web', server: '192.0.2.12:8080', state: 'down' },
  ]);
  expect(parse((await run('servers', 'web', '-o', 'yaml')).out)).toEqual(json);
});

test('health: verdicts, and services without quorum; what a server said has no control characters', async () => {
  expect(lines((await run('health')).out)).toEqual([
    'service  server           check  state  streak  last                   ms  said',
    'web      192.0.2.11:8080  http   up          9  -                       -  no result yet',
    'web      192.0.2.12:8080  http   down        3  2025-11-24 16:00:00Z  1.3  status 503  [31m',
    'no quorum: web',
  ]);
  expect(lines((await run('health', '-o', 'wide')).out)[2]).toContain('     12         3  status 503');
  const json = JSON.parse((await run('health', '-o', 'json')).out);
  expect(json.checks).toHaveLength(2);
  expect(parse((await run('health', '-o', 'yaml')).out)).toEqual(json);
  expect(JSON.parse((await run('health', 'dns', '-o', 'json')).out)).toEqual({ services: [], checks: [] });
  expect((await run('health', 'dns')).out).toBe('no health checks are configured\n');
  expect((await run('health', 'nix')).code).toBe(1);
});

test.each(['drain', 'undrain'])('%s: one server, all servers, a dry run', async (command) => {
  expect(await run(command, 'web', '192.0.2.11:8080')).toEqual({ code: 0, out: 'service web changed\n', err: '' });
  expect((await run(command, 'web', '--dry-run')).out).toBe('service web would change\n');
  expect((await run(command, 'web', '-o', 'wide')).out).toBe('service web changed\nversion 0123456789abcdef\n');
  const json = JSON.parse((await run(command, 'web', '-o', 'json', '--expect', 'feed')).out);
  expect(json).toMatchObject({ dryRun: false, changes: { servicesChanged: ['web'] } });
  expect(parse((await run(command, 'web', '-o', 'yaml')).out)).toEqual(json);
  expect(daemon.seen.map(({ name, body, query }) => ({ name, body, query })).slice(0, 2)).toEqual([
    { name: command, body: { service: 'web', server: '192.0.2.11:8080' }, query: {} },
    { name: command, body: { service: 'web' }, query: { dryRun: 'true' } },
  ]);
  expect(daemon.seen[3]?.headers['if-match']).toBe('"feed"');
});

test('a server may be named by its address alone where that is clear, and in any way of writing it', async () => {
  await run('drain', 'dns', '2001:DB8:0::53');
  await run('drain', 'dns', '[2001:db8:0::53]:53');
  const bodies = daemon.seen.filter(({ name }) => name === 'drain').map(({ body }) => body);
  expect(bodies).toEqual([
    { service: 'dns', server: '[2001:db8::53]:53' },
    { service: 'dns', server: '[2001:db8::53]:53' },
  ]);
  const missing = await run('drain', 'web', '192.0.2.99');
  expect(missing).toMatchObject({ code: 1 });
  expect(missing.err).toContain('service "web" has no server 192.0.2.99');
  expect(missing.err).toContain('Write one of 192.0.2.11:8080, 192.0.2.12:8080.');
  expect((await run('drain', 'web', 'nonsense')).err).toContain('"nonsense" is no server');
  expect(daemon.seen.filter(({ name }) => name === 'drain')).toHaveLength(2);
});

test('weight', async () => {
  expect((await run('weight', 'web', '192.0.2.11:8080', '7')).out).toBe('service web changed\n');
  expect(daemon.seen[0]).toMatchObject({
    name: 'setWeight',
    params: { service: 'web', server: '192.0.2.11:8080' },
    body: { weight: 7 },
  });
  expect((await run('weight', 'web', '192.0.2.11:8080', '65536')).code).toBe(2);
});

test('reload and reset', async () => {
  daemon.answers.reload = (seen) => ({
    version: 'a1',
    dryRun: seen.query['dryRun'] === 'true',
    changes: { servicesAdded: ['new'], servicesRemoved: ['old'], servicesChanged: [], otherChanged: true },
    stale: ['the weight of 192.0.2.9:80 has no server any more'],
  });
  expect(lines((await run('reload')).out)).toEqual([
    'service new added',
    'service old removed',
    'other parts of the configuration changed',
    'no longer holds: the weight of 192.0.2.9:80 has no server any more',
  ]);
  expect((await run('reload', '--dry-run')).out).toContain('service new would be added\n');
  expect((await run('reset', 'web')).code).toBe(0);
  expect((await run('reset', '--all')).code).toBe(0);
  expect(daemon.seen.filter(({ name }) => name === 'resetConfig').map(({ body }) => body)).toEqual([{ service: 'web' }, {}]);
  expect((await run('reset')).code).toBe(2);
  expect((await run('reset', 'web', '--all')).code).toBe(2);
});

test('a change that changes nothing says so', async () => {
  daemon.answers.reload = (seen) => ({
    version: 'a1',
    dryRun: seen.query['dryRun'] === 'true',
    changes: { servicesAdded: [], servicesRemoved: [], servicesChanged: [], otherChanged: false },
    stale: [],
  });
  expect((await run('reload')).out).toBe('nothing changed\n');
  expect((await run('reload', '--dry-run')).out).toBe('nothing would change\n');
});

test('apply: a service, alone or as the configuration file has it, and a section', async () => {
  const file = join(daemon.socket, '..', 'part.yaml');
  const service = { name: 'web', address: '203.0.113.10', port: 80, servers: [] };
  writeFileSync(file, 'name: web\naddress: 203.0.113.10\nport: 80\nservers: []\n');
  expect((await run('apply', file)).out).toBe('service web changed\n');
  writeFileSync(file, 'services:\n  - name: web\n    address: 203.0.113.10\n    port: 80\n    servers: []\n');
  expect((await run('apply', file, '--dry-run')).out).toBe('service web would change\n');
  writeFileSync(file, 'localAddresses: [192.0.2.1]\n');
  expect((await run('apply', file, '--section', 'localAddresses')).code).toBe(0);
  writeFileSync(file, '[192.0.2.1]\n');
  expect((await run('apply', file, '--section', 'localAddresses')).code).toBe(0);
  expect(daemon.seen.map(({ name, params, body }) => ({ name, params, body }))).toEqual([
    { name: 'putService', params: { service: 'web' }, body: service },
    { name: 'putService', params: { service: 'web' }, body: service },
    { name: 'setSection', params: { section: 'localAddresses' }, body: ['192.0.2.1'] },
    { name: 'setSection', params: { section: 'localAddresses' }, body: ['192.0.2.1'] },
  ]);
});

test('apply: what the daemon finds wrong is shown at its place in the file', async () => {
  const file = join(daemon.socket, '..', 'wrong.yaml');
  writeFileSync(file, 'services:\n  - name: web\n    servers:\n      - address: 192.0.2.1\n        weight: many\n');
  const problems = [{ path: 'services[4].servers[0].weight', reason: 'expected a whole number', remedy: 'write 1' }];
  daemon.answers.putService = () => new Refusal(422, 'MILLRACE_E_CONFIG_INVALID', 'wrong', 'Correct it.', problems);
  const { code, err } = await run('apply', file);
  expect(code).toBe(1);
  expect(err).toContain(`${file}:5:17: expected a whole number\n    5 |         weight: many\n      |                 ^^^^`);
});

test.each([
  ['a: [', 'not valid YAML'],
  ['- 1', 'this is no service'],
  ['services: []', 'the file has 0 services'],
  ['name: 5', 'this is no service'],
  ['', 'this is no service'],
])('apply: %j is refused before anything is sent', async (text, reason) => {
  const file = join(daemon.socket, '..', 'odd.yaml');
  writeFileSync(file, text);
  const { code, err } = await run('apply', file);
  expect(code).toBe(1);
  expect(err).toContain(reason);
  expect(daemon.seen).toEqual([]);
});

test('events: one line each, in every format', async () => {
  const emit = async (): Promise<void> => {
    await vi.waitFor(() => expect(daemon.streams.size).toBe(1), { timeout: 20_000, interval: 5 });
    daemon.emit('7', 'health.down', { time: 1_764_000_000_000, service: 'web', reason: 'status 503 \u001b[2J', streak: 3 });
    daemon.emit('8', 'applied', { time: 1_764_000_001_000, generation: 4 });
  };
  const formats: Record<string, string> = {};
  for (const format of ['table', 'wide', 'json', 'yaml']) {
    const [printed] = await Promise.all([run('events', '--count', '2', '-o', format), emit()]);
    expect(printed.code).toBe(0);
    formats[format] = printed.out;
    await vi.waitFor(() => expect(daemon.streams.size).toBe(0), { timeout: 20_000, interval: 5 });
  }
  expect(lines(formats['table'] ?? '')).toEqual([
    '2025-11-24 16:00:00Z health.down service=web reason="status 503 \\u001b[2J" streak=3',
    '2025-11-24 16:00:01Z applied generation=4',
  ]);
  expect(lines(formats['wide'] ?? '')[1]).toBe('8 2025-11-24 16:00:01Z applied generation=4');
  const objects = lines(formats['json'] ?? '').map((line) => JSON.parse(line));
  expect(objects[1]).toEqual({ id: '8', kind: 'applied', time: 1_764_000_001_000, generation: 4 });
  expect(parseAllDocuments(formats['yaml'] ?? '').map((document) => document.toJS())).toEqual(objects);
});

test('--watch prints again and again; where it is no terminal, a daemon that goes away ends it', async () => {
  daemon.answers.workers = () => [workerView(0)];
  let asked = 0;
  daemon.answers.status = () => {
    asked += 1;
    return asked < 3 ? statusView({ generation: asked }) : new Refusal(503, 'MILLRACE_E_NOT_RUNNING', 'it stops');
  };
  const { code, out, err } = await run('status', '-o', 'json', '--watch', '0.1');
  const answers = lines(out).slice(0, 2);
  expect(answers.map((line) => JSON.parse(line).generation)).toEqual([1, 2]);
  // With -o json the error is JSON on standard output too.
  expect(JSON.parse(lines(out).slice(2).join('\n'))).toMatchObject({ ok: false, error: { message: 'it stops' } });
  expect([code, err]).toEqual([4, '']);
});

test('no daemon: exit code 5, message and remedy; as JSON with -o json', async () => {
  const { code, err, out } = await run('status', '--socket', '/nonexistent/api.sock');
  expect([code, out]).toEqual([5, '']);
  expect(err).toContain('no daemon answers at /nonexistent/api.sock: there is no such socket');
  expect(err).toContain('MILLRACE_E_NO_DAEMON');
  const json = await run('status', '--socket', '/nonexistent/api.sock', '-o', 'json');
  expect(json).toMatchObject({ code: 5, err: '' });
  expect(JSON.parse(json.out)).toMatchObject({ ok: false, error: { code: 'MILLRACE_E_NO_DAEMON' } });
});

test.each([
  [['status', '-o', 'xml']],
  [['status', '--watch', 'often']],
  [['status', '--dry-run']],
  [['events', '--count', '0']],
  [['drain']],
  [['drain', 'web', '--expect', 'a b']],
  [['apply', 'x', '--section', 'services']],
])('%j is wrong usage', async (argv) => {
  expect((await run(...argv)).code).toBe(2);
  expect(daemon.seen).toEqual([]);
});
