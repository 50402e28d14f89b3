// Every endpoint over a real unix socket: what it answers, that the answer is what contract.ts says, and what it does.
import { Ajv } from 'ajv';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { plainSchema } from '../../../src/api/bodies.js';
import { ENDPOINTS, type EndpointName, ErrorBody } from '../../../src/api/contract.js';
import { createError } from '../../../src/errors.js';
import { startApi, type TestApi } from './support/api.js';
import type { Answer, Ask } from './support/client.js';

let api: TestApi;
const called = new Set<string>();

beforeEach(async () => {
  api = await startApi({
    parts: {
      ipvsadm: async (words, stdin) => ({ stdout: `${words.join(' ')}|${stdin}`, stderr: '', exitCode: 0 }),
      explain: (request) => ({ packet: request.sentence.protocol, flags: request.tcpFlags }) as never,
      lastReload: () => ({ at: 1, ok: true, message: 'nothing changed' }),
    },
  });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
});
afterAll(() => {
  expect([...called].sort()).toEqual(
    Object.keys(ENDPOINTS)
      .filter((name) => name !== 'events')
      .sort(),
  );
});

const ajv = new Ajv({ strict: false });

/** Calls an endpoint that is to succeed, and holds its answer against its schema. */
async function call(
  name: EndpointName,
  parameters: Readonly<Record<string, string>> = {},
  what: Ask = {},
  query = '',
): Promise<Answer> {
  const { method, path, reply } = ENDPOINTS[name];
  const url = path.replaceAll(/\{([a-z]+)\}/g, (_, key: string) => encodeURIComponent(parameters[key] ?? ''));
  const answer = await api.ask(method, `/api/v1${url}${query}`, what);
  expect(answer.text).not.toContain('"error"');
  expect(answer.status).toBe(200);
  const validate = ajv.compile(plainSchema(reply));
  expect(validate(answer.json) ? [] : validate.errors).toEqual([]);
  called.add(name);
  return answer;
}

async function refused(method: string, path: string, status: number, code: string, what: Ask = {}): Promise<Answer> {
  const before = api.desired.version;
  const answer = await api.ask(method, path, what);
  expect([answer.status, answer.json?.error?.code]).toEqual([status, code]);
  expect(ajv.validate(plainSchema(ErrorBody), answer.json)).toBe(true);
  expect(answer.json.error.remedy).not.toBe('');
  expect(api.desired.version).toBe(before);
  return answer;
}

const web = { service: 'web', server: '192.0.2.11:8080' };

test('status', async () => {
  const { json, headers } = await call('status');
  expect(json).toMatchObject({
    version: api.desired.version,
    ready: true,
    draining: false,
    workers: 2,
    services: 2,
    servers: { up: 1, down: 0, unchecked: 2 },
    sessions: '0',
    lastReload: { at: 1, ok: true, message: 'nothing changed' },
    pid: process.pid,
  });
  expect(headers.etag).toBe(`"${api.desired.version}"`);
  expect(headers['content-type']).toContain('application/json');
  expect(headers['cache-control']).toBe('no-store');
});

test('services join configuration, counters, health and origin', async () => {
  api.binding.setServer(0, 0, 'connections', (1n << 60n) + 1n);
  api.binding.setServer(1, 0, 'connections', 2n);
  const { json } = await call('services');
  expect(json.map((service: { name: string }) => service.name)).toEqual(['web', 'dns']);
  expect(json[0]).toMatchObject({
    address: '203.0.113.10',
    port: 80,
    protocol: 'tcp',
    quorum: true,
    origin: 'file',
    mode: 'fullnat',
  });
  expect(json[0].counters.connections).toBe(String((1n << 60n) + 3n));
  expect(json[0].servers[0]).toMatchObject({
    server: '192.0.2.11:8080',
    weight: 1,
    effectiveWeight: 1,
    state: 'unchecked',
    counters: { connections: String((1n << 60n) + 3n), inBytes: '0' },
  });
  expect(json[1].servers[0]).toMatchObject({ server: '[2001:db8:2::11]:53', state: 'up', mode: 'direct', weight: 5 });
});

test('what health checks find is seen at once', async () => {
  const [id] = [...api.checkers.targets.keys()];
  api.checkers.report([{ id: id ?? '', up: false, weight: undefined, reason: 'no answer' } as never]);
  await expect.poll(async () => (await api.ask('GET', '/api/v1/services/dns')).json.servers[0].effectiveWeight).toBeUndefined();
  const { json } = await call('service', { service: 'dns' });
  expect(json).toMatchObject({ quorum: false, servers: [{ state: 'down', weight: 5 }] });
  expect((await call('status')).json.servers).toEqual({ up: 0, down: 1, unchecked: 2 });
  const health = await call('health');
  expect(health.json.services).toEqual([{ name: 'dns', quorum: false }]);
  expect(health.json.checks[0]).toMatchObject({ service: 'dns', server: '[2001:db8:2::11]:53', type: 'dns' });
});

test('one service, one server, by any spelling of its address', async () => {
  expect((await call('service', { service: 'web' })).json.name).toBe('web');
  expect((await call('server', web)).json).toMatchObject({ address: '192.0.2.11', port: 8080 });
  expect((await call('server', { service: 'dns', server: '[2001:db8:2:0::11]:53' })).json.server).toBe('[2001:db8:2::11]:53');
  const missing = await refused('GET', '/api/v1/services/wbe', 404, 'MILLRACE_E_NOT_FOUND');
  expect(missing.json.error.remedy).toBe('Services are: web, dns.');
  const server = await refused('GET', '/api/v1/services/web/servers/192.0.2.99:80', 404, 'MILLRACE_E_NOT_FOUND');
  expect(server.json.error.remedy).toContain('192.0.2.11:8080');
  await refused('GET', '/api/v1/services/web/servers/www', 404, 'MILLRACE_E_NOT_FOUND');
});

test('a service is put, put again, and deleted', async () => {
  const body = { address: '203.0.113.20', port: 443, protocol: 'tcp', servers: [{ address: '192.0.2.21' }] };
  const put = await call('putService', { service: 'tls' }, { body });
  expect(put.json).toMatchObject({ dryRun: false, changes: { servicesAdded: ['tls'] }, version: api.desired.version });
  expect(put.headers.etag).toBe(`"${api.desired.version}"`);
  expect((await call('service', { service: 'tls' })).json).toMatchObject({ origin: 'api', servers: [{ origin: 'api' }] });
  const again = await call('putService', { service: 'tls' }, { body: { ...body, name: 'tls' } });
  expect(again.json).toMatchObject({ version: put.json.version, changes: { servicesAdded: [], servicesChanged: [] } });
  expect((await call('deleteService', { service: 'tls' })).json.changes.servicesRemoved).toEqual(['tls']);
  await refused('DELETE', '/api/v1/services/tls', 404, 'MILLRACE_E_NOT_FOUND');
});

test('a wrong service is refused with every problem and its path', async () => {
  const body = { address: '203.0.113.300', port: 443, protocol: 'tcp', servers: [{ adress: '192.0.2.21' }] };
  const { json } = await refused('PUT', '/api/v1/services/tls', 422, 'MILLRACE_E_CONFIG_INVALID', { body });
  const paths = json.error.problems.map((problem: { path: string }) => problem.path);
  expect(paths).toEqual(expect.arrayContaining(['address', 'servers[0].adress']));
  // What only the whole configuration shows, from the desired state.
  const twice = { address: '203.0.113.10', port: 80, protocol: 'tcp', servers: [] };
  const clash = await refused('PUT', '/api/v1/services/other', 422, 'MILLRACE_E_CONFIG_INVALID', { body: twice });
  expect(clash.json.error.problems[0].path).toMatch(/^services\[2\]/);
  const named = await refused('PUT', '/api/v1/services/other', 400, 'MILLRACE_E_REQUEST_INVALID', {
    body: { ...twice, name: 'x' },
  });
  expect(named.json.error.problems[0]).toMatchObject({ path: 'name' });
});

test('a server is put, weighed, and deleted', async () => {
  const added = { service: 'web', server: '192.0.2.13:80' };
  await call('putServer', added, { body: { weight: 3 } });
  expect(api.desired.operations.at(-1)).toEqual({
    op: 'put-server',
    service: 'web',
    server: { address: '192.0.2.13', weight: 3 },
  });
  expect((await call('server', added)).json).toMatchObject({ weight: 3, origin: 'api' });
  await call('putServer', { service: 'web', server: '192.0.2.14:81' }, { body: { address: '192.0.2.14' } });
  expect(api.desired.operations.at(-1)).toMatchObject({ server: { address: '192.0.2.14', port: 81 } });
  await call('setWeight', added, { body: { weight: 0 } });
  expect((await call('server', added)).json).toMatchObject({ weight: 0, state: 'drained' });
  await call('deleteServer', added);
  await refused('DELETE', '/api/v1/services/web/servers/192.0.2.13:80', 404, 'MILLRACE_E_NOT_FOUND');
  await refused('PATCH', '/api/v1/services/web/servers/192.0.2.13:80', 404, 'MILLRACE_E_NOT_FOUND', { body: { weight: 1 } });
  const body = { port: 82 };
  await refused('PUT', '/api/v1/services/web/servers/192.0.2.13:80', 400, 'MILLRACE_E_REQUEST_INVALID', { body });
  await refused('PATCH', '/api/v1/services/web/servers/192.0.2.11:8080', 400, 'MILLRACE_E_REQUEST_INVALID', {
    body: { weight: '1' },
  });
});

test('drain and undrain, one server and all', async () => {
  await call('drain', {}, { body: web });
  expect((await call('server', web)).json.state).toBe('drained');
  await call('undrain', {}, { body: web });
  expect((await call('server', web)).json.state).toBe('unchecked');
  await call('drain', {}, { body: { service: 'web' } });
  expect(api.desired.operations.at(-1)).toEqual({ op: 'drain', service: 'web' });
  await refused('POST', '/api/v1/drain', 404, 'MILLRACE_E_NOT_FOUND', { body: { service: 'web', server: '192.0.2.1:1' } });
  await refused('POST', '/api/v1/drain', 400, 'MILLRACE_E_REQUEST_INVALID', {
    body: { service: 'web', sever: '192.0.2.11:8080' },
  });
});

test('configuration: effective, sections, reset, reload', async () => {
  const { json } = await call('config');
  expect(json.version).toBe(api.desired.version);
  expect(json.config.services[0].servers[1].port).toBe(80);
  await call('setSection', { section: 'echoReplies' }, { body: false });
  expect(api.desired.config.echoReplies).toBe(false);
  const route = { prefix: '0.0.0.0/0', via: '192.0.2.1', interface: 'lan' };
  await call('setSection', { section: 'routes' }, { body: [route] });
  const wrong = await refused('PUT', '/api/v1/config/routes', 422, 'MILLRACE_E_CONFIG_INVALID', {
    body: [{ ...route, via: 'gw' }],
  });
  expect(wrong.json.error.problems[0].path).toBe('[0].via');
  await refused('PUT', '/api/v1/config/workers', 404, 'MILLRACE_E_NOT_FOUND', { body: 3 });
  await refused('PUT', '/api/v1/config/routes', 422, 'MILLRACE_E_CONFIG_INVALID');
  await call('resetConfig', {}, { body: { service: 'web' } });
  expect(api.desired.operations.at(-1)).toEqual({ op: 'reset', service: 'web' });
  await call('resetConfig');
  expect(api.desired.operations.at(-1)).toEqual({ op: 'reset' });
  expect(api.desired.config.echoReplies).toBe(true);
  expect((await call('reload')).json.changes.otherChanged).toBe(false);
});

test('a dry run changes nothing, and a misspelt one neither', async () => {
  const before = api.desired.version;
  const { json } = await call('setWeight', web, { body: { weight: 7 } }, '?dryRun=true');
  expect(json).toMatchObject({ dryRun: true, version: before, changes: { servicesChanged: ['web'] } });
  const path = '/api/v1/services/web/servers/192.0.2.11:8080';
  const typo = await refused('PATCH', `${path}?dryrun=true`, 400, 'MILLRACE_E_REQUEST_INVALID', { body: { weight: 7 } });
  expect(typo.json.error.problems[0].remedy).toBe('did you mean "dryRun"?');
  await refused('PATCH', `${path}?dryRun=yes`, 400, 'MILLRACE_E_REQUEST_INVALID', { body: { weight: 7 } });
  await refused('PATCH', `${path}?dryRun=true&dryRun=false`, 400, 'MILLRACE_E_REQUEST_INVALID', { body: { weight: 7 } });
});

test('If-Match', async () => {
  const { headers } = await call('service', { service: 'web' });
  const body = { weight: 7 };
  const first = await call('setWeight', web, { body, headers: { 'if-match': headers.etag ?? '' } });
  expect(first.headers.etag).not.toBe(headers.etag);
  const path = '/api/v1/services/web/servers/192.0.2.11:8080';
  const again = { body: { weight: 8 }, headers: { 'if-match': headers.etag ?? '' } };
  await refused('PATCH', path, 412, 'MILLRACE_E_VERSION_CONFLICT', again);
  await refused('PATCH', path, 412, 'MILLRACE_E_VERSION_CONFLICT', { body, headers: { 'if-match': `W/${first.headers.etag}` } });
  await refused('PATCH', path, 400, 'MILLRACE_E_REQUEST_INVALID', { body, headers: { 'if-match': 'abc' } });
  await call('setWeight', web, { body: { weight: 9 }, headers: { 'if-match': `"x", ${first.headers.etag}` } });
  await call('setWeight', web, { body: { weight: 10 }, headers: { 'if-match': '*' } });
});

test('workers and interfaces', async () => {
  api.binding.setCounter(1, 'rx_packets', (1n << 63n) + 5n);
  const { json } = await call('workers');
  expect(json).toHaveLength(2);
  expect(json[1]).toMatchObject({ worker: 1, counters: { rxPackets: String((1n << 63n) + 5n) } });
  const interfaces = await call('interfaces');
  expect(interfaces.json[0]).toMatchObject({ name: 'wan', xdp: { received: expect.stringMatching(/^[0-9]+$/) } });
});

/** A session as the dataplane has it. */
const row = {
  ...{ client: '198.51.100.7', clientPort: 4242, vip: '203.0.113.10', vipPort: 80, local: '192.0.2.101', localPort: 1025 },
  ...{ server: '192.0.2.11', serverPort: 8080, service: 0, serverSlot: 0, worker: 1, expires: 59_999, packetsIn: 3 },
  ...{ packetsOut: 2, protocol: 6, state: 1, mode: 0 },
};

test('sessions are listed page by page, counted and ended', async () => {
  api.binding.sessionPage = { rows: [row], matched: 1, next: { worker: 1, id: 8 } };
  const { json } = await call('sessions', {}, {}, '?service=web&client=198.51.100.0/24&protocol=tcp&limit=1');
  expect(json).toEqual({
    sessions: [
      {
        ...{ protocol: 'tcp', client: '198.51.100.7:4242', vip: '203.0.113.10:80', local: '192.0.2.101:1025' },
        ...{ server: '192.0.2.11:8080', service: 'web', mode: 'fullnat', state: 'ESTABLISHED', expires: 59, packetsIn: 3 },
        ...{ packetsOut: 2, worker: 1 },
      },
    ],
    cursor: '1-8',
  });
  api.binding.sessionPage = { rows: [], matched: 7 };
  expect((await call('sessions', {}, {}, '?cursor=1-8&server=192.0.2.11:8080&clientPort=4242')).json).toEqual({ sessions: [] });
  expect((await call('countSessions')).json).toEqual({ sessions: 7 });
  expect((await call('endSessions', {}, { body: { service: 'dns' } })).json).toEqual({ sessions: 7 });
  expect((await call('endSessions', {}, { body: { all: true } })).json).toEqual({ sessions: 7 });
  expect(api.binding.sessionRequests).toMatchObject([
    { services: [0], client: '198.51.100.0/24', protocol: 6, limit: 1, fromWorker: 0, fromId: 0, end: false },
    { servers: [0], clientPort: 4242, limit: 100, fromWorker: 1, fromId: 8, end: false },
    { services: [], limit: 0, end: false },
    { services: [1], limit: 0, end: true },
    { services: [], limit: 0, end: true },
  ]);
});

test.each([
  ['service=wbe', 422, 'MILLRACE_E_INPUT_INVALID', 'there is no service "wbe"'],
  ['server=192.0.2.99:80', 422, 'MILLRACE_E_INPUT_INVALID', 'there is no server "192.0.2.99:80"'],
  ['client=somewhere', 422, 'MILLRACE_E_INPUT_INVALID', 'neither an address nor a prefix'],
  ['clientPort=0', 400, 'MILLRACE_E_REQUEST_INVALID', 'clientPort'],
  ['protocol=ip', 400, 'MILLRACE_E_REQUEST_INVALID', 'protocol'],
  ['clint=192.0.2.1', 400, 'MILLRACE_E_REQUEST_INVALID', 'clint'],
])('sessions of "%s" are neither listed nor counted', async (query, status, code, message) => {
  for (const path of ['/api/v1/sessions', '/api/v1/sessions/count']) {
    expect((await refused('GET', `${path}?${query}`, status, code)).json.error.message).toContain(message);
  }
  expect(api.binding.sessionRequests).toEqual([]);
});

test.each([
  ['cursor=next', 422, 'MILLRACE_E_INPUT_INVALID'],
  ['cursor=0-4294967295', 422, 'MILLRACE_E_INPUT_INVALID'],
  ['cursor=0-111111111111111', 400, 'MILLRACE_E_REQUEST_INVALID'],
  ['cursor=0-11111111111', 422, 'MILLRACE_E_INPUT_INVALID'],
  ['limit=0', 400, 'MILLRACE_E_REQUEST_INVALID'],
  ['limit=10001', 400, 'MILLRACE_E_REQUEST_INVALID'],
])('a page with %s is refused', async (query, status, code) => {
  await refused('GET', `/api/v1/sessions?${query}`, status, code);
  expect(api.binding.sessionRequests).toEqual([]);
});

test('no session is ended by accident', async () => {
  const path = '/api/v1/sessions/end';
  for (const body of [{}, { all: false }]) {
    const { json } = await refused('POST', path, 400, 'MILLRACE_E_REQUEST_INVALID', { body });
    expect(json.error).toMatchObject({ message: 'this would end every session', remedy: expect.stringContaining('"all": true') });
  }
  await refused('POST', path, 400, 'MILLRACE_E_REQUEST_INVALID');
  await refused('POST', path, 400, 'MILLRACE_E_REQUEST_INVALID', { body: { servce: 'web' } });
  await refused('POST', path, 422, 'MILLRACE_E_INPUT_INVALID', { body: { service: 'wbe' } });
  expect(api.binding.sessionRequests).toEqual([]);
});

test('ipvsadm and explain', async () => {
  const { json } = await call('ipvsadm', {}, { body: { arguments: ['-R'], stdin: '-A -t 203.0.113.1:80' } });
  expect(json.stdout).toBe('-R|-A -t 203.0.113.1:80');
  const packet = 'tcp 198.51.100.7:4242 -> 203.0.113.10:80';
  const explained = await call('explain', {}, { body: { packet, flags: ['syn', 'ack'] } });
  expect(explained.json).toEqual({ packet: 'tcp', flags: 18 });
  await refused('POST', '/api/v1/explain', 422, 'MILLRACE_E_INPUT_INVALID', { body: { packet: 'hello' } });
});

test('errors of the state have their statuses, mistakes of ours do not leave the process', async () => {
  const cases = [
    ['MILLRACE_E_CHANGE_NEEDS_RESTART', 409],
    ['MILLRACE_E_NOT_RUNNING', 503],
    ['MILLRACE_E_LIMIT_EXCEEDED', 422],
    ['MILLRACE_E_NETLINK_FAILED', 503],
  ] as const;
  for (const [code, status] of cases) {
    api.desired.failure = createError(code, 'for a test');
    await refused('DELETE', '/api/v1/services/web', status, code);
  }
  api.desired.failure = new TypeError('secret detail');
  const { text } = await refused('DELETE', '/api/v1/services/web', 500, 'MILLRACE_E_INTERNAL');
  expect(text).not.toContain('secret');
  expect(api.failures).toHaveLength(1);
});

test('OpenAPI has every endpoint, and the schema of the configuration', async () => {
  const { json, status } = await api.ask('GET', '/api/v1/openapi.json');
  expect(status).toBe(200);
  for (const { method, path } of Object.values(ENDPOINTS))
    expect(json.paths[`/api/v1${path}`]).toHaveProperty(method.toLowerCase());
  const put = json.paths['/api/v1/services/{service}'].put;
  expect(put.requestBody.content['application/json'].schema.properties.servers.items.properties.weight).toMatchObject({
    maximum: 65_535,
    default: 1,
  });
  expect(put.parameters.map((parameter: { name: string }) => parameter.name)).toEqual(
    expect.arrayContaining(['service', 'dryRun']),
  );
  expect(json.openapi).toBe('3.1.0');
});
