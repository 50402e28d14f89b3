// The reconciler over a real LoadBalancer (the addon is a stand-in): what reaches the dataplane, the store and the caller, in which order,
// and what is left after a failure.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createIn } from '../../../src/create-load-balancer.js';
import { createError, MillraceError } from '../../../src/errors.js';
import type { WarningEvent } from '../../../src/load-balancer.js';
import type { Operation } from '../../../src/state/desired.js';
import { Reconciler } from '../../../src/state/desired-state.js';
import { overlayStore } from '../../../src/state/effective.js';
import { FakeBinding } from '../module/support/fake-binding.js';
import { environmentOf, goodConfig } from '../module/support/hosts.js';
import { fileOf, MemoryStore, service, startTestState, weightsOf } from './support/parts.js';

const file = fileOf(service('web', 1, { 1: 1, 2: 2 }), service('dns', 2, { 3: 1 }));
const nothing = { servicesAdded: [], servicesRemoved: [], servicesChanged: [], otherChanged: false };
const weigh = (weight: number): Operation => ({ op: 'set-weight', service: 'web', server: '192.0.2.1', weight });
const put: Operation = { op: 'put-service', service: service('new', 3, { 4: 4 }) };

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the promise was fulfilled');
}

function fullDisk(): MillraceError {
  return createError('MILLRACE_E_STATE_UNWRITABLE', 'state.json cannot be written: ENOSPC: no space left on device');
}

test('a change is in the dataplane and in the store when it resolves, and says what it changed', async () => {
  await using test = await startTestState(file);
  const { state, binding, store } = test;
  const before = state.version;
  expect(before).toMatch(/^[0-9a-f]{16}$/);
  const result = await state.change([put, { op: 'delete-service', name: 'dns' }]);
  expect(result).toEqual({
    version: state.version,
    changes: { ...nothing, servicesAdded: ['new'], servicesRemoved: ['dns'] },
    dryRun: false,
    stale: [],
  });
  expect(state.version).not.toBe(before);
  expect(binding.applied.at(-1)?.services.map(({ name }) => name)).toEqual(['web', 'new']);
  expect([...(await store.read()).services.keys()]).toEqual(['new', 'dns']);
  expect([...state.origins.keys()]).toEqual(['services.new', 'services.new.servers.192.0.2.4:80']);
  expect(state.balancer.config).toEqual(state.config);
});

test('the store is written after the dataplane has the change', async () => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  test.binding.failures.set('apply', { code: 'limit_exceeded', message: 'too many services' });
  const { version } = test.state;
  expect(await rejection(test.state.change([put]))).toMatchObject({ code: 'MILLRACE_E_LIMIT_EXCEEDED' });
  expect(store.writes).toBe(0);
  expect(test.state.version).toBe(version);
  expect(test.state.config).toEqual(file);
});

test('one weight, a drain and an undrain reach one service and nothing else', async () => {
  await using test = await startTestState(file);
  const { state, binding } = test;
  binding.calls.length = 0;
  const drained: Operation = { op: 'drain', service: 'web', server: '192.0.2.1' };
  const changes = { ...nothing, servicesChanged: ['web'] };
  expect(await state.change([weigh(5)])).toMatchObject({ changes });
  expect(await state.change([drained])).toMatchObject({ changes });
  expect(weightsOf(state.config, 'web')).toEqual(['192.0.2.1:80*0', '192.0.2.2:80*2']);
  expect(await state.change([{ ...drained, op: 'undrain' }])).toMatchObject({ changes });
  expect(weightsOf(state.config, 'web')).toEqual(['192.0.2.1:80*5', '192.0.2.2:80*2']);
  expect(await state.change([{ op: 'drain', service: 'dns' }])).toMatchObject({ changes: { servicesChanged: ['dns'] } });
  expect(binding.calls).toEqual(['update', 'update', 'update', 'update']);
  expect(binding.updated.map((services) => services.map(({ name }) => name))).toEqual([['web'], ['web'], ['web'], ['dns']]);
  expect(state.balancer.config).toEqual(state.config);
});

test('a server without a port beside one with a port can be weighed by itself', async () => {
  const any = fileOf({
    name: 'any',
    address: '203.0.113.1',
    port: 'any',
    protocol: 'tcp',
    mode: 'nat',
    servers: [{ address: '192.0.2.1' }, { address: '192.0.2.1', port: 81 }],
  });
  await using test = await startTestState(any);
  await test.state.change([{ op: 'set-weight', service: 'any', server: { address: '192.0.2.1', port: 0 }, weight: 9 }]);
  expect(test.state.config.services[0]?.servers).toMatchObject([{ weight: 9 }, { port: 81, weight: 1 }]);
  expect(test.state.balancer.config).toEqual(test.state.config);
});

test('several weights come together, in one step', async () => {
  await using test = await startTestState(file);
  const { state, binding } = test;
  binding.calls.length = 0;
  await state.change([
    { op: 'drain', service: 'web' },
    { op: 'drain', service: 'dns' },
  ]);
  expect(binding.calls).toEqual(['update']);
  expect(binding.updated.at(-1)?.map(({ name }) => name)).toEqual(['web', 'dns']);
  expect(state.balancer.config).toEqual(state.config);
});

test('what changes nothing is no change: no call, no write, the same version', async () => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  const { state, binding } = test;
  await state.change([put, weigh(5)]);
  const { version } = state;
  binding.calls.length = 0;
  for (const operation of [put, weigh(5), { op: 'undrain', service: 'web' } as const]) {
    expect(await state.change([operation])).toEqual({ version, changes: nothing, dryRun: false, stale: [] });
  }
  expect(await state.change([])).toMatchObject({ version });
  expect(await state.reload()).toEqual({ version, changes: nothing, dryRun: false, stale: [] });
  expect(binding.calls).toEqual([]);
  expect(store.writes).toBe(1);
});

test('a weight set while its server is drained is written and changes the version, but not the dataplane', async () => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  const { state, binding } = test;
  const { version } = await state.change([{ op: 'drain', service: 'web', server: '192.0.2.1' }]);
  binding.calls.length = 0;
  const result = await state.change([weigh(9)]);
  expect(result.changes).toEqual(nothing);
  expect(result.version).not.toBe(version);
  expect(binding.calls).toEqual([]);
  expect(store.writes).toBe(2);
});

test('all operations of a change come together or not at all', async () => {
  await using test = await startTestState(file);
  const { state, binding } = test;
  const { version } = state;
  binding.calls.length = 0;
  const wrong: Operation = { op: 'set-weight', service: 'web', server: '192.0.2.77', weight: 1 };
  expect(await rejection(state.change([put, weigh(5), wrong]))).toMatchObject({ code: 'MILLRACE_E_INPUT_INVALID' });
  const clash: Operation = { op: 'put-service', service: service('clash', 1, {}) };
  expect(await rejection(state.change([weigh(5), clash]))).toMatchObject({ code: 'MILLRACE_E_CONFIG_INVALID' });
  expect(state.version).toBe(version);
  expect(binding.calls).toEqual([]);
});

test('a dry run says what would change, refuses what would be refused, and changes nothing', async () => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  const { state, binding } = test;
  const { version } = state;
  binding.calls.length = 0;
  const dry = { dryRun: true };
  expect(await state.change([put, weigh(5)], dry)).toEqual({
    version,
    changes: { ...nothing, servicesAdded: ['new'], servicesChanged: ['web'] },
    dryRun: true,
    stale: [],
  });
  const sessions = { op: 'set-section', section: 'sessions', value: { maxPerWorker: 64 } } as const;
  expect(await rejection(state.change([sessions], dry))).toMatchObject({ code: 'MILLRACE_E_CHANGE_NEEDS_RESTART' });
  test.file = fileOf(service('web', 1, { 1: 1 }));
  expect(await state.reload(dry)).toMatchObject({ version, changes: { servicesRemoved: ['dns'], servicesChanged: ['web'] } });
  expect(state.version).toBe(version);
  expect(state.config).toEqual(file);
  expect(binding.calls).toEqual([]);
  expect(store.writes).toBe(0);
});

test('a change for another version than the one in force is refused, also when that came while it waited', async () => {
  await using test = await startTestState(file);
  const { state } = test;
  const expected = state.version;
  const [first, second] = await Promise.allSettled([
    state.change([weigh(5)], { expected }),
    state.change([weigh(6)], { expected }),
  ]);
  expect(first).toMatchObject({ status: 'fulfilled' });
  expect(second).toMatchObject({ status: 'rejected', reason: { code: 'MILLRACE_E_VERSION_CONFLICT' } });
  expect(await rejection(state.reload({ expected }))).toMatchObject({ code: 'MILLRACE_E_VERSION_CONFLICT' });
  await state.change([weigh(1)], { expected: state.version });
});

test.each<[string, Operation[]]>([
  ['one weight', [weigh(5)]],
  ['a service', [put]],
])('when the disk is full the dataplane is as it was before: %s', async (_, operations) => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  const { state, binding } = test;
  const { version } = state;
  const before = structuredClone(binding.applied.at(-1)?.services);
  store.failure = fullDisk();
  expect(await rejection(state.change(operations))).toBeInstanceOf(MillraceError);
  expect(binding.applied.length).toBeGreaterThan(2);
  expect(binding.applied.at(-1)?.services).toEqual(before);
  expect(state.version).toBe(version);
  expect(state.config).toEqual(file);
  expect(state.balancer.config).toEqual(file);
  await state.change(operations);
  expect(state.version).not.toBe(version);
});

test('a change that can neither be written nor taken back is told as what it is', async () => {
  const store = new MemoryStore();
  await using test = await startTestState(file, store);
  const { state, binding } = test;
  const write = store.write.bind(store);
  store.write = async () => {
    binding.failures.set('update', { code: 'netlink_failed', message: 'made up' });
    throw fullDisk();
  };
  const error = await rejection(state.change([weigh(5)]));
  expect(error).toMatchObject({ code: 'MILLRACE_E_STATE_UNWRITABLE' });
  expect((error as Error).message).toMatch(/ENOSPC.*could not be taken back \(made up\) and is in force until the next restart/);
  expect(state.balancer.config).toEqual(state.config);
  store.write = write;
  await state.change([weigh(6)]);
  expect(weightsOf(state.config, 'web')).toEqual(['192.0.2.1:80*6', '192.0.2.2:80*2']);
});

test('a signal cancels what waits and nothing that has begun', async () => {
  await using test = await startTestState(file);
  const { state } = test;
  const abort = new AbortController();
  const first = state.change([weigh(5)]);
  const second = state.change([weigh(6)], { signal: abort.signal });
  abort.abort(new Error('changed my mind'));
  await first;
  expect(await rejection(second)).toMatchObject({ message: 'changed my mind' });
  expect(weightsOf(state.config, 'web')?.[0]).toBe('192.0.2.1:80*5');
});

test('a reload takes the new file and keeps what the API has changed', async () => {
  await using test = await startTestState(file);
  const { state } = test;
  const warnings: WarningEvent[] = [];
  state.balancer.events.on('warning', (warning) => warnings.push(warning));
  await state.change([weigh(5), { op: 'delete-service', name: 'dns' }, put]);
  test.file = fileOf(service('web', 1, { 2: 2 }), service('more', 4, {}));
  const result = await state.reload();
  expect(result.changes).toEqual({ ...nothing, servicesAdded: ['more'], servicesChanged: ['web'] });
  expect(result.stale).toEqual([
    'the deletion of service "dns" through the API is forgotten: the file does not have it any more',
    'the weight 5 of server 192.0.2.1:80 of service "web" waits: service "web" has no such server at the moment',
  ]);
  expect(warnings.map(({ message }) => message)).toEqual(result.stale);
  expect(state.stale).toEqual(result.stale.slice(1));
  test.file = file;
  await state.reload();
  expect(state.config.services.map(({ name }) => name)).toEqual(['web', 'dns', 'new']);
  expect(weightsOf(state.config, 'web')).toEqual(['192.0.2.1:80*5', '192.0.2.2:80*2']);
  expect(state.balancer.config).toEqual(state.config);
});

test('a reload that does not go together with the API is refused by the name of the service', async () => {
  await using test = await startTestState(file);
  const { state } = test;
  const { version } = await state.change([put]);
  test.file = fileOf(service('other', 3, {}));
  const error = await rejection(state.reload());
  expect(error).toMatchObject({ code: 'MILLRACE_E_CONFIG_INVALID' });
  expect((error as Error).message).toContain('services.new.');
  expect(state.version).toBe(version);
});

test('order of services alone reaches the dataplane: matches are tried in it', async () => {
  await using test = await startTestState(file);
  test.file = fileOf(service('dns', 2, { 3: 1 }), service('web', 1, { 1: 1, 2: 2 }));
  const result = await test.state.reload();
  expect(result.changes).toEqual(nothing);
  expect(test.binding.applied.at(-1)?.services.map(({ name }) => name)).toEqual(['dns', 'web']);
});

test('a start after a restart has file, API and version as before; a broken state starts nothing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-state-'));
  try {
    const configFile = join(directory, 'millrace.yaml');
    const stateFile = join(directory, 'state.json');
    await writeFile(configFile, JSON.stringify(goodConfig));
    const starts: FakeBinding[] = [];
    const start = () =>
      Reconciler.start({
        configFile,
        store: overlayStore(stateFile),
        create: (config) => {
          const binding = new FakeBinding();
          starts.push(binding);
          return createIn(environmentOf(binding), config);
        },
      });
    const first = await start();
    await first.change([
      { op: 'drain', service: 'web', server: { address: '192.0.2.11', port: 8080 } },
      { op: 'put-service', service: service('new', 3, { 4: 4 }) },
    ]);
    await first.balancer.close();
    const second = await start();
    expect(second.config).toEqual(first.config);
    expect(second.version).toBe(first.version);
    expect(starts[1]?.applied[0]?.services).toMatchObject([{ servers: [{ weight: 0 }, { weight: 1 }] }, { name: 'new' }]);
    await second.change([{ op: 'reset' }]);
    await second.balancer.close();
    await writeFile(stateFile, '{"torn');
    expect(await rejection(start())).toMatchObject({ code: 'MILLRACE_E_STATE_INVALID' });
    expect(starts).toHaveLength(2);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a start forgets deletions that the file has made meanwhile, on disk too, and says so', async () => {
  const store = new MemoryStore();
  {
    await using before = await startTestState(file, store);
    await before.state.change([{ op: 'delete-service', name: 'dns' }]);
  }
  await using after = await startTestState(fileOf(service('web', 1, { 1: 1 })), store);
  const warning = await new Promise<WarningEvent>((resolve) => after.state.balancer.events.once('warning', resolve));
  expect(warning.message).toContain('the deletion of service "dns"');
  expect((await store.read()).services.size).toBe(0);
});
