// What a change costs with many services, counted instead of timed: which services are checked, made anew and handed over. A change of one
// service that looks at the others again makes these numbers rise with the number of services, and this file fails.
import { beforeEach, expect, test, vi } from 'vitest';
import { checkSemantics } from '../../../src/config/semantics.js';
import type { Operation } from '../../../src/state/desired.js';
import { startTestBalancer } from '../module/support/hosts.js';
import { fileOf, service, startTestState, type TestState } from './support/parts.js';

vi.mock('../../../src/config/semantics.js', async (original) => {
  const real = await original<typeof import('../../../src/config/semantics.js')>();
  return { ...real, checkSemantics: vi.fn(real.checkSemantics) };
});

const MANY = 250;
const manyServices = () => Array.from({ length: MANY }, (_, i) => service(`s${i}`, i + 1, { 1: 1, 2: 2, 3: 3 }));
const file = fileOf(...manyServices());
const weigh = (i: number, weight: number): Operation => ({ op: 'set-weight', service: `s${i}`, server: '192.0.2.1', weight });

beforeEach(() => {
  vi.mocked(checkSemantics).mockClear();
});

/** Services that went through the semantic rules since the last call. */
function servicesChecked(): number {
  const calls = vi.mocked(checkSemantics).mock.calls;
  const count = calls.reduce((sum, [value]) => sum + (value as { readonly services: readonly unknown[] }).services.length, 0);
  vi.mocked(checkSemantics).mockClear();
  return count;
}

/** What `work` does to a state with many services. */
async function effectOf({ state, binding }: TestState, work: () => Promise<unknown>) {
  const [services, tables] = [new Set(state.config.services), new Set(binding.applied.at(-1)?.services)];
  binding.calls.length = 0;
  servicesChecked();
  await work();
  return {
    calls: [...binding.calls],
    checked: servicesChecked(),
    newServices: state.config.services.filter((one) => !services.has(one)).map(({ name }) => name),
    newTables: binding.applied
      .at(-1)
      ?.services.filter((one) => !tables.has(one))
      .map(({ name }) => name),
  };
}

test('the first check of a file looks at each service once, whoever takes part', async () => {
  const whole = structuredClone(file);
  servicesChecked();
  await using _ = await startTestState(whole);
  // The file is checked by who loads it, which a stand-in does here; nobody else needs to.
  expect(servicesChecked()).toBe(0);
});

test('weights and drains check nothing and make one service anew', async () => {
  await using many = await startTestState(file);
  const { state } = many;
  const one = { calls: ['update'], checked: 0, newServices: ['s7'], newTables: ['s7'] };
  expect(await effectOf(many, () => state.change([weigh(7, 9)]))).toEqual(one);
  expect(await effectOf(many, () => state.change([{ op: 'drain', service: 's7' }]))).toEqual(one);
  expect(await effectOf(many, () => state.change([{ op: 'undrain', service: 's7' }]))).toEqual(one);
  const both = { ...one, newServices: ['s7', 's9'], newTables: ['s7', 's9'] };
  expect(await effectOf(many, () => state.change([weigh(7, 3), weigh(9, 3)]))).toEqual(both);
});

test('a server that is put or deleted is checked with its service and those that it can contradict, wherever the change comes from', async () => {
  await using many = await startTestState(file);
  const { state } = many;
  const put: Operation = { op: 'put-server', service: 's7', server: { address: '192.0.2.4' } };
  const deleted: Operation = { op: 'delete-server', service: 's7', server: '192.0.2.2' };
  for (const operation of [put, deleted]) {
    const effect = await effectOf(many, () => state.change([operation]));
    expect(effect).toMatchObject({ calls: ['update'], newServices: ['s7'], newTables: ['s7'] });
    expect(effect.checked).toBe(1);
  }
  // What the API has touched before is not checked again with every further change.
  for (let i = 20; i < 40; i++) await state.change([{ ...put, service: `s${i}` }]);
  const later = await effectOf(many, () => state.change([{ ...put, service: 's50' }]));
  expect(later.checked).toBe(1);
  expect(later.newServices).toEqual(['s50']);
});

test('a service more, a service less: the others stay the objects that they were', async () => {
  await using many = await startTestState(file);
  const { state } = many;
  const added = await effectOf(many, () => state.change([{ op: 'put-service', service: service('new', 252, { 1: 1 }) }]));
  expect(added).toMatchObject({ newServices: ['new'], newTables: ['new'] });
  expect(added.checked).toBe(1);
  const removed = await effectOf(many, () => state.change([{ op: 'delete-service', name: 's3' }]));
  expect(removed).toMatchObject({ newServices: [], newTables: [] });
  expect(removed.checked).toBe(0);
});

test('a reload of a file with one other server hands over one service', async () => {
  await using many = await startTestState(file);
  const services = manyServices();
  services[4] = service('s4', 5, { 1: 1, 2: 2, 4: 3 });
  many.file = fileOf(...services);
  const effect = await effectOf(many, () => many.state.reload());
  expect(effect).toEqual({ calls: ['update'], checked: 0, newServices: ['s4'], newTables: ['s4'] });
});

test('the module edits one service without a check of the others', async () => {
  await using balancer = await startTestBalancer({ ...file, workers: 'auto' });
  servicesChecked();
  await balancer.lb.addServer('s7', { address: '192.0.2.4' });
  await balancer.lb.removeServer('s7', '192.0.2.1');
  await balancer.lb.setWeights([
    { service: 's7', server: '192.0.2.2', weight: 5 },
    { service: 's8', server: '192.0.2.2', weight: 5 },
  ]);
  // Each of the two edits: the service itself, and one that needs a local address for each worker.
  expect(servicesChecked()).toBe(4);
  expect(balancer.binding.updated.map((services) => services.map(({ name }) => name))).toEqual([['s7'], ['s7'], ['s7', 's8']]);
});

test('several weights are all set, or none', async () => {
  await using balancer = await startTestBalancer(file);
  const wrong = { service: 's8', server: '192.0.2.77', weight: 5 };
  await expect(balancer.lb.setWeights([{ service: 's7', server: '192.0.2.2', weight: 5 }, wrong])).rejects.toMatchObject({
    code: 'MILLRACE_E_INPUT_INVALID',
  });
  await expect(balancer.lb.setWeights([{ service: 'nobody', server: '192.0.2.2', weight: 5 }])).rejects.toThrow(
    'no service "nobody"',
  );
  expect(balancer.binding.updated).toEqual([]);
  expect(balancer.lb.config).toEqual(file);
});

test('ten thousand servers that fail at once are one pass, in which services that did not change are not', async () => {
  const servers = Array.from({ length: 41 }, (_, i) => ({ address: `192.0.2.${i + 1}` }));
  const services = manyServices().map((one) => ({ ...one, servers, healthChecks: [{ type: 'tcp' as const }] }));
  await using balancer = await startTestBalancer(fileOf(...services, service('quiet', 251, { 1: 1 })));
  const ids = [...balancer.checkers.targets.keys()];
  expect(ids.length).toBe(41 * MANY);
  // As four workers would report it.
  for (let i = 0; i < 4; i++) {
    const share = ids.filter((_, place) => place % 4 === i);
    balancer.checkers.report(share.map((id) => ({ id, up: false, reason: 'connection refused' })));
  }
  const shown = () => balancer.binding.applied.at(-1)?.services.reduce((sum, one) => sum + one.servers.length, 0);
  await expect.poll(shown, { timeout: 30_000 }).toBe(1);
  expect(balancer.binding.updated.map((pass) => pass.length)).toEqual([MANY]);
});
