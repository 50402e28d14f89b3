// `millrace sessions` against a daemon that answers the contract on a real socket, page by page.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import type { Reply } from '../../../src/api/contract.js';
import { FakeDaemon, Refusal, type Seen } from '../client/support/fake-daemon.js';
import { sessionView } from '../client/support/views.js';
import { lines, run } from './support.js';

type Session = Reply<'sessions'>['sessions'][number];

let daemon: FakeDaemon;
let sessions: Session[];
/** Rows of a page at most, however many are asked for: a daemon may give fewer. */
let pageSize: number;

function page({ query }: Seen): Reply<'sessions'> {
  const from = Number((query['cursor'] ?? '0-0').split('-')[1]);
  const next = from + Math.min(Number(query['limit'] ?? 100), pageSize);
  return { sessions: sessions.slice(from, next), ...(next < sessions.length ? { cursor: `0-${next}` } : {}) };
}

beforeEach(async () => {
  daemon = await new FakeDaemon().start();
  sessions = [
    sessionView(),
    sessionView({
      ...{ protocol: 'udp', client: '[2001:db8:1::7]:53', vip: '[2001:db8::10]:53', server: '[2001:db8::53]:53', service: 'dns' },
      ...{
        local: '[2001:db8:1::7]:53',
        mode: 'direct',
        state: 'UDP_ONE_WAY',
        expires: 5,
        packetsIn: 1,
        packetsOut: 0,
        worker: 1,
      },
    }),
    sessionView({ protocol: 'icmp', service: '', mode: 'snat', state: 'NONE', client: '10.0.0.5:9\u001b[2J' }),
  ];
  pageSize = Number.POSITIVE_INFINITY;
  daemon.answers.sessions = page;
  daemon.answers.countSessions = () => ({ sessions: sessions.length });
  daemon.answers.endSessions = () => ({ sessions: 1 });
  vi.stubEnv('MILLRACE_SOCKET', daemon.socket);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await daemon[Symbol.asyncDispose]();
});

test('list: a table, more of it with -o wide; what comes from the network has no control characters', async () => {
  const table = await run('sessions', 'list');
  expect([table.code, table.err]).toEqual([0, '']);
  expect(lines(table.out)).toEqual([
    'protocol  client              vip                server             service  state            expires',
    'tcp       198.51.100.7:4242   203.0.113.10:80    192.0.2.11:8080    web      ESTABLISHED  14 min 59 s',
    'udp       [2001:db8:1::7]:53  [2001:db8::10]:53  [2001:db8::53]:53  dns      UDP_ONE_WAY          5 s',
    'icmp      10.0.0.5:9 [2J      203.0.113.10:80    192.0.2.11:8080    -        NONE         14 min 59 s',
  ]);
  expect(lines((await run('sessions', 'list', '-o', 'wide')).out)[1]).toMatch(
    / 14 min 59 s {2}192\.0\.2\.101:1025 +fullnat +3 +2 +0$/,
  );
  expect(daemon.seen[0]).toMatchObject({ name: 'sessions', query: { limit: '100' } });
});

test('list: JSON and YAML are the answer of the API', async () => {
  expect(JSON.parse((await run('sessions', 'list', '-o', 'json')).out)).toEqual({ sessions });
  expect(parse((await run('sessions', 'list', '-o', 'yaml')).out)).toEqual({ sessions });
  sessions = [];
  expect(JSON.parse((await run('sessions', 'list', '-o', 'json')).out)).toEqual({ sessions: [] });
  expect(parse((await run('sessions', 'list', '-o', 'yaml')).out)).toEqual({ sessions: [] });
  expect(lines((await run('sessions', 'list')).out)).toEqual(['protocol  client  vip  server  service  state  expires']);
});

test.each(['table', 'wide', 'json', 'yaml'])('list -o %s: pages make one list, up to --limit or to the end', async (format) => {
  sessions = Array.from({ length: 2345 }, (_, index) =>
    sessionView({ client: `${index < 1000 ? '10.0.0.1' : '[2001:db8::1]'}:${1 + index}` }),
  );
  const read = (out: string): { count: number; cursor: string | undefined } => {
    if (format === 'table' || format === 'wide') {
      const [title, ...rows] = lines(out);
      expect(title).toMatch(/^protocol /);
      return { count: rows.length, cursor: undefined };
    }
    const value: Reply<'sessions'> = format === 'json' ? JSON.parse(out) : parse(out);
    expect(value.sessions).toEqual(sessions.slice(0, value.sessions.length));
    return { count: value.sessions.length, cursor: value.cursor };
  };
  const isTable = format === 'table' || format === 'wide';
  const more = isTable ? 'millrace: there are more sessions: --limit N shows N, --all every one\n' : '';
  const cursor = (at: number) => (isTable ? undefined : `0-${at}`);

  const first = await run('sessions', 'list', '-o', format);
  expect([first.code, first.err, read(first.out)]).toEqual([0, more, { count: 100, cursor: cursor(100) }]);
  const some = await run('sessions', 'list', '-o', format, '--limit', '1500');
  expect([some.err, read(some.out)]).toEqual([more, { count: 1500, cursor: cursor(1500) }]);
  const all = await run('sessions', 'list', '-o', format, '--all');
  expect([all.err, read(all.out)]).toEqual(['', { count: 2345, cursor: undefined }]);
  expect(daemon.seen.map(({ query }) => [query['cursor'], query['limit']])).toEqual([
    [undefined, '100'],
    [undefined, '1000'],
    ['0-1000', '500'],
    [undefined, '1000'],
    ['0-1000', '1000'],
    ['0-2000', '1000'],
  ]);
  daemon.seen.length = 0;
  pageSize = 700;
  expect(read((await run('sessions', 'list', '-o', format, '--limit', '1000')).out).count).toBe(1000);
  expect(daemon.seen.map(({ query }) => query['limit'])).toEqual(['1000', '300']);
});

test('filters go to the daemon as they are; a server as it names it', async () => {
  const filter = ['--service', 'web', '--server', '192.0.2.11:8080', '--client', '198.51.100.0/24'];
  const words = [...filter, '--client-port', '4242', '--protocol', 'tcp'];
  const sent = { service: 'web', server: '192.0.2.11:8080', client: '198.51.100.0/24', protocol: 'tcp' };
  await run('sessions', 'list', ...words);
  await run('sessions', 'count', ...words);
  await run('sessions', 'end', ...words);
  expect(daemon.seen.map(({ name, query, body }) => ({ name, query, body }))).toEqual([
    { name: 'sessions', query: { ...sent, clientPort: '4242', limit: '100' }, body: undefined },
    { name: 'countSessions', query: { ...sent, clientPort: '4242' }, body: undefined },
    { name: 'endSessions', query: {}, body: { ...sent, clientPort: 4242 } },
  ]);
  daemon.seen.length = 0;
  await run('sessions', 'count', '--server', '[2001:DB8:0::53]');
  await run('sessions', 'count', '--server', '192.0.2.12', '--service', 'web');
  expect(daemon.seen.map(({ name, query }) => ({ name, query }))).toEqual([
    { name: 'services', query: {} },
    { name: 'countSessions', query: { server: '[2001:db8::53]:53' } },
    { name: 'service', query: {} },
    { name: 'countSessions', query: { service: 'web', server: '192.0.2.12:8080' } },
  ]);
  const missing = await run('sessions', 'count', '--server', '192.0.2.99');
  expect(missing.code).toBe(1);
  expect(missing.err).toContain('there is no server 192.0.2.99');
  expect(missing.err).toContain('Write one of 192.0.2.11:8080, 192.0.2.12:8080, [2001:db8::53]:53.');
});

test('count', async () => {
  expect(await run('sessions', 'count')).toEqual({ code: 0, out: '3\n', err: '' });
  expect(JSON.parse((await run('sessions', 'count', '-o', 'json')).out)).toEqual({ sessions: 3 });
  expect(parse((await run('sessions', 'count', '-o', 'yaml')).out)).toEqual({ sessions: 3 });
});

test('end: says how many; a dry run counts and ends none', async () => {
  expect(await run('sessions', 'end', '--client', '198.51.100.7')).toEqual({ code: 0, out: '1 session ended\n', err: '' });
  expect((await run('sessions', 'end', '--client', '198.51.100.7', '--dry-run')).out).toBe('3 sessions would be ended\n');
  expect((await run('sessions', 'end', '--all')).out).toBe('1 session ended\n');
  expect((await run('sessions', 'end', '--all', '--dry-run')).out).toBe('3 sessions would be ended\n');
  expect(JSON.parse((await run('sessions', 'end', '--all', '-o', 'json')).out)).toEqual({ sessions: 1 });
  expect(daemon.seen.map(({ name, query, body }) => ({ name, query, body })).slice(0, 4)).toEqual([
    { name: 'endSessions', query: {}, body: { client: '198.51.100.7' } },
    { name: 'countSessions', query: { client: '198.51.100.7' }, body: undefined },
    { name: 'endSessions', query: {}, body: { all: true } },
    { name: 'countSessions', query: {}, body: undefined },
  ]);
});

test('end: neither without a filter nor with both', async () => {
  const none = await run('sessions', 'end');
  expect(none.code).toBe(2);
  expect(none.err).toContain('end which sessions?');
  expect(none.err).toContain('--all for every session');
  expect((await run('sessions', 'end', '--dry-run')).code).toBe(2);
  expect((await run('sessions', 'end', '--all', '--service', 'web')).err).toContain('end some sessions, or all of them?');
  expect(daemon.seen).toEqual([]);
});

test('what the daemon refuses is told with its remedy', async () => {
  daemon.answers.sessions = () => new Refusal(422, 'MILLRACE_E_INPUT_INVALID', 'there is no service "nix"', 'Look at the list.');
  const { code, err, out } = await run('sessions', 'list', '--service', 'nix');
  expect([code, out]).toEqual([1, '']);
  expect(err).toContain('there is no service "nix"\n  Look at the list.');
});

test.each([
  [['list', '--limit', '0']],
  [['list', '--limit', 'all']],
  [['list', '--limit', '5', '--all']],
  [['list', '--client-port', '65536']],
  [['count', '--protocol', 'ip']],
  [['end', '--limit', '5']],
  [['kill']],
])('sessions %j is wrong usage', async (argv) => {
  expect((await run('sessions', ...argv)).code).toBe(2);
  expect(daemon.seen).toEqual([]);
});
