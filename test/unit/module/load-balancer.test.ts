// The object that createLoadBalancer resolves with: changes, refusals, order, events, closing. The addon is a stand-in.
import { on, once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { createIn } from '../../../src/create-load-balancer.js';
import {
  ConfigurationError,
  createError,
  InterfaceError,
  MillraceError,
  NativeLoadError,
  UnsupportedHostError,
} from '../../../src/errors.js';
import { FakeBinding } from './support/fake-binding.js';
import { environmentOf, goodConfig, goodHost, startTestBalancer } from './support/hosts.js';

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the promise was fulfilled');
}

async function code(promise: Promise<unknown>): Promise<unknown> {
  const error = await rejection(promise);
  return error instanceof MillraceError ? error.code : error;
}

const server = (address: string) => ({ address, port: 8080 });

test('creation starts the dataplane and applies the configuration, in this order', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  expect(binding.calls).toEqual(['createDataplane', 'start', 'apply']);
  expect(binding.options).toMatchObject({ workers: 2, cpus: [0, 1], interfaces: [{ name: 'wan' }, { name: 'lan' }] });
  expect(binding.applied[0]?.services[0]?.servers).toMatchObject([
    { address: '192.0.2.11', port: 8080, weight: 1 },
    { address: '192.0.2.12', port: 80, weight: 1 },
  ]);
  expect(lb.config.services[0]).toMatchObject({ name: 'web', scheduler: 'wrr', mode: 'fullnat' });
});

test('a wrong configuration is refused with all its problems before the addon is loaded', async () => {
  const binding = new FakeBinding();
  let loads = 0;
  const environment = {
    ...environmentOf(binding),
    load: () => {
      loads += 1;
      return binding;
    },
  };
  const error = await rejection(createIn(environment, { ...goodConfig, localPorts: '9-1', localAddresses: ['nonsense'] }));
  expect(error).toBeInstanceOf(ConfigurationError);
  expect((error as ConfigurationError).problems.map((problem) => problem.path)).toEqual(
    expect.arrayContaining(['localPorts', 'localAddresses[0]']),
  );
  expect(loads).toBe(0);
});

test('a file and its URL are read like the object', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  try {
    const file = join(directory, 'millrace.yaml');
    // JSON is YAML: the same object, as text.
    await writeFile(file, JSON.stringify(goodConfig));
    await using fromPath = await startTestBalancer(file);
    await using fromUrl = await startTestBalancer(pathToFileURL(file));
    await using fromObject = await startTestBalancer();
    expect(fromPath.lb.config).toEqual(fromObject.lb.config);
    expect(fromUrl.lb.config).toEqual(fromObject.lb.config);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("a host without privileges is refused with the doctor's text, and nothing is started", async () => {
  const binding = new FakeBinding();
  binding.kernel = { xdp: 'EPERM', afXdp: 'EPERM', bpfLink: 'EPERM' };
  const error = await rejection(createIn(environmentOf(binding, { ...goodHost, uid: 1000, capabilities: [] }), goodConfig));
  expect(error).toBeInstanceOf(UnsupportedHostError);
  expect(error).toMatchObject({ code: 'MILLRACE_E_UNSUPPORTED_HOST' });
  expect((error as Error).message).toContain('missing: CAP_NET_ADMIN (attaches XDP programs), CAP_BPF or CAP_SYS_ADMIN');
  expect((error as Error).message).toContain('user id 1000');
  expect(binding.calls).toEqual([]);
});

test('another operating system is refused without asking for an addon', async () => {
  const environment = {
    ...environmentOf(new FakeBinding(), { ...goodHost, platform: 'darwin', arch: 'arm64' }),
    load: () => {
      throw new Error('the addon was loaded');
    },
  };
  const error = await rejection(createIn(environment, goodConfig));
  expect(error).toBeInstanceOf(UnsupportedHostError);
  expect((error as Error).message).toContain('Linux 5.10 or newer');
});

test('an addon that does not load is reported as such', async () => {
  const environment = {
    ...environmentOf(new FakeBinding()),
    load: () => {
      throw createError('MILLRACE_E_NATIVE_MISSING', 'not there');
    },
  };
  expect(await rejection(createIn(environment, goodConfig))).toBeInstanceOf(NativeLoadError);
});

test.each(['start', 'apply'])('when %s fails the dataplane is stopped and the native error is translated', async (step) => {
  const binding = new FakeBinding();
  binding.failures.set(step, { code: 'interface_busy', message: 'wan is used by process 17', errno: 16 });
  const error = await rejection(createIn(environmentOf(binding), goodConfig));
  expect(error).toBeInstanceOf(InterfaceError);
  expect(error).toMatchObject({ code: 'MILLRACE_E_INTERFACE_BUSY', message: 'wan is used by process 17 (EBUSY)' });
  expect(binding.calls.at(-1)).toBe('stop');
});

test('a signal that fires while the dataplane starts stops it and rejects with the reason', async () => {
  const binding = new FakeBinding();
  const abort = new AbortController();
  let open = (): void => undefined;
  binding.gate = new Promise((resolve) => {
    open = resolve;
  });
  const creation = createIn(environmentOf(binding), goodConfig, { signal: abort.signal });
  abort.abort(new Error('changed my mind'));
  open();
  expect(await rejection(creation)).toMatchObject({ message: 'changed my mind' });
  expect(binding.calls).not.toContain('apply');
});

test('servers and services come, change weight and go, each as one whole table', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  const servers = () =>
    binding.applied.at(-1)?.services[0]?.servers.map(({ address, port, weight }) => `${address}:${port}*${weight}`);

  const event = await lb.addServer('web', { address: '192.0.2.13' });
  expect(event).toMatchObject({ generation: 2, changes: { servicesChanged: ['web'], servicesAdded: [] } });
  expect(servers()).toEqual(['192.0.2.11:8080*1', '192.0.2.12:80*1', '192.0.2.13:80*1']);

  await lb.setWeight('web', server('192.0.2.11'), 0);
  expect(servers()).toEqual(['192.0.2.11:8080*0', '192.0.2.12:80*1', '192.0.2.13:80*1']);

  await lb.removeServer('web', { address: '192.0.2.12' });
  expect(servers()).toEqual(['192.0.2.11:8080*0', '192.0.2.13:80*1']);

  await lb.addService({ name: 'dns', address: '203.0.113.10', port: 53, protocol: 'udp', servers: [] });
  expect(binding.applied.at(-1)?.services.map((service) => service.name)).toEqual(['web', 'dns']);

  await lb.removeService('web');
  expect(binding.applied.at(-1)?.services.map((service) => service.name)).toEqual(['dns']);
});

test.each([
  ['a service that is not there', (lb: Lb) => lb.removeService('wbe'), 'there is no service "wbe"'],
  ['a server that is not there', (lb: Lb) => lb.removeServer('web', server('192.0.2.99')), 'has no server 192.0.2.99 port 8080'],
  [
    'a server with another port',
    (lb: Lb) => lb.setWeight('web', { address: '192.0.2.11', port: 80 }, 1),
    'has no server 192.0.2.11 port 80',
  ],
])('%s is named in the refusal', async (_, change, text) => {
  await using balancer = await startTestBalancer();
  const error = await rejection(change(balancer.lb));
  expect(error).toMatchObject({ code: 'MILLRACE_E_INPUT_INVALID' });
  expect((error as Error).message).toContain(text);
  expect(balancer.binding.applied).toHaveLength(1);
});

type Lb = Awaited<ReturnType<typeof startTestBalancer>>['lb'];

test('a server is found by its address alone, unless several share it', async () => {
  await using balancer = await startTestBalancer();
  await balancer.lb.setWeight('web', '192.0.2.11', 3);
  expect(balancer.binding.applied.at(-1)?.services[0]?.servers[0]).toMatchObject({
    address: '192.0.2.11',
    port: 8080,
    weight: 3,
  });
  await balancer.lb.addServer('web', { address: '192.0.2.11', port: 8081 });
  const error = await rejection(balancer.lb.removeServer('web', '192.0.2.11'));
  expect(error).toMatchObject({ code: 'MILLRACE_E_INPUT_INVALID', message: 'service "web" has several servers 192.0.2.11' });
  await balancer.lb.removeServer('web', { address: '192.0.2.11', port: 8081 });
  expect(balancer.lb.config.services[0]?.servers).toHaveLength(2);
});

test('a server is found however its IPv6 address is written', async () => {
  await using balancer = await startTestBalancer({
    ...goodConfig,
    localAddresses: ['2001:db8:2::101', '2001:db8:2::102'],
    services: [{ name: 'six', address: '2001:db8::10', port: 80, protocol: 'tcp', servers: [{ address: '2001:db8:2::11' }] }],
  });
  await balancer.lb.setWeight('six', { address: '2001:0db8:0002:0::11' }, 7);
  expect(balancer.binding.applied.at(-1)?.services[0]?.servers[0]?.weight).toBe(7);
});

test('a change that breaks a rule leaves everything as it was', async () => {
  await using balancer = await startTestBalancer();
  const before = balancer.lb.config;
  expect(await code(balancer.lb.addServer('web', { address: '192.0.2.11', port: 8080 }))).toBe('MILLRACE_E_CONFIG_INVALID');
  expect(balancer.lb.config).toEqual(before);
  expect(balancer.binding.applied).toHaveLength(1);
});

test('an apply that the dataplane refuses leaves the configuration as it was', async () => {
  await using balancer = await startTestBalancer();
  const before = balancer.lb.config;
  balancer.binding.failures.set('apply', { code: 'address_on_kernel', message: '192.0.2.101 is on lan', errno: 0 });
  const moved = { ...goodConfig, services: goodConfig.services.map((service) => ({ ...service, port: 81 })) };
  expect(await code(balancer.lb.apply(moved))).toBe('MILLRACE_E_ADDRESS_ON_KERNEL');
  balancer.binding.failures.set('update', { code: 'limit_exceeded', message: 'more than 262144 servers', errno: 0 });
  expect(await code(balancer.lb.addServer('web', { address: '192.0.2.13' }))).toBe('MILLRACE_E_LIMIT_EXCEEDED');
  expect(balancer.lb.config).toEqual(before);
});

test('a change of what is fixed is refused with the old and the new value', async () => {
  await using balancer = await startTestBalancer();
  const change = balancer.lb.apply({ ...goodConfig, workers: 1, dataplane: { ringSize: 1024 } });
  const error = await rejection(change);
  expect(error).toMatchObject({ code: 'MILLRACE_E_CHANGE_NEEDS_RESTART' });
  expect((error as Error).message).toContain('workers (running with 2, asked for 1)');
  expect((error as Error).message).toContain('dataplane.ringSize (running with 2048, asked for 1024)');
  expect(balancer.binding.applied).toHaveLength(1);
});

test('with workers: auto more local addresses do not ask for a restart', async () => {
  const auto = { ...goodConfig, workers: 'auto' as const, localAddresses: ['192.0.2.101'] };
  await using balancer = await startTestBalancer(auto);
  expect(balancer.lb.workers).toBe(1);
  await balancer.lb.apply({ ...auto, localAddresses: ['192.0.2.101', '192.0.2.102'] });
  expect(balancer.binding.applied.at(-1)?.localAddresses).toHaveLength(2);
});

test('with workers: auto too few local addresses for the running workers are refused', async () => {
  const auto = { ...goodConfig, workers: 'auto' as const };
  await using balancer = await startTestBalancer(auto);
  expect(balancer.lb.workers).toBe(2);
  expect(await code(balancer.lb.apply({ ...auto, localAddresses: ['192.0.2.101'] }))).toBe('MILLRACE_E_CONFIG_INVALID');
});

test('changes that are asked for at once are made one after the other, each on the result of the one before', async () => {
  await using balancer = await startTestBalancer();
  const added = ['192.0.2.21', '192.0.2.22', '192.0.2.23'];
  const events = await Promise.all(added.map((address) => balancer.lb.addServer('web', { address })));
  expect(events.map((event) => event.generation)).toEqual([2, 3, 4]);
  expect(balancer.lb.config.services[0]?.servers.map((entry) => entry.address).slice(2)).toEqual(added);
});

test('a change whose signal fires while it waits for its turn never happens', async () => {
  await using balancer = await startTestBalancer();
  const abort = new AbortController();
  const first = balancer.lb.addServer('web', { address: '192.0.2.21' });
  const second = balancer.lb.addServer('web', { address: '192.0.2.22' }, { signal: abort.signal });
  abort.abort();
  expect(await rejection(second)).toMatchObject({ name: 'AbortError' });
  await first;
  await balancer.lb.addServer('web', { address: '192.0.2.23' });
  expect(balancer.lb.config.services[0]?.servers.map((entry) => entry.address)).not.toContain('192.0.2.22');
});

test('listeners attached right after creation hear of the start and its warnings', async () => {
  const binding = new FakeBinding();
  const lb = await createIn(environmentOf(binding, { ...goodHost, hugePages: null }), goodConfig);
  const [[started], [warning]] = await Promise.all([once(lb.events, 'started'), once(lb.events, 'warning')]);
  expect(started).toMatchObject({ workers: 2, services: ['web'] });
  expect(warning).toMatchObject({ message: expect.stringContaining('huge-pages') });
  await lb.close();
});

test('generic XDP is a warning', async () => {
  const binding = new FakeBinding();
  const creation = createIn(environmentOf(binding), goodConfig);
  const lb = await creation;
  binding.interfaceStatus = [];
  await lb.close();
  const slow = new FakeBinding();
  const create = slow.createDataplane.bind(slow);
  slow.createDataplane = (options) => {
    const dataplane = create(options);
    slow.interfaceStatus = slow.interfaceStatus.map((status) => ({ ...status, attachMode: 'skb' as const }));
    return dataplane;
  };
  const second = await createIn(environmentOf(slow), goodConfig);
  const messages: string[] = [];
  second.events.on('warning', (event) => messages.push(event.message));
  await once(second.events, 'started');
  await second.close();
  expect(messages.filter((message) => message.includes('generic (skb) mode'))).toHaveLength(2);
});

test('events can be iterated over', async () => {
  await using balancer = await startTestBalancer();
  const iterator = on(balancer.lb.events, 'applied');
  await balancer.lb.addServer('web', { address: '192.0.2.13' });
  const { value } = await iterator.next();
  expect(value).toMatchObject([{ generation: 2 }]);
});

test('close can be called again and again, and stops once', async () => {
  const { lb, binding } = await startTestBalancer();
  const stopped = once(lb.events, 'stopped');
  await Promise.all([lb.close(), lb.close()]);
  await lb[Symbol.asyncDispose]();
  await stopped;
  expect(binding.calls.filter((call) => call === 'stop')).toHaveLength(1);
  expect(lb.closed).toBe(true);
});

test('close waits for the change under way and refuses those that wait', async () => {
  const { lb, binding } = await startTestBalancer();
  let open = (): void => undefined;
  binding.gate = new Promise((resolve) => {
    open = resolve;
  });
  const running = lb.apply({ ...goodConfig, services: [] });
  // One turn, so that the first change is inside the dataplane.
  await new Promise((resolve) => setImmediate(resolve));
  const waiting = lb.addServer('web', { address: '192.0.2.13' });
  const closed = lb.close();
  open();
  await expect(running).resolves.toMatchObject({ generation: 2 });
  expect(await code(waiting)).toBe('MILLRACE_E_NOT_RUNNING');
  await closed;
  expect(binding.calls).toEqual(['createDataplane', 'start', 'apply', 'apply', 'stop']);
});

test('after close changes are refused and ref and unref do nothing', async () => {
  const { lb, binding } = await startTestBalancer();
  lb.unref().ref();
  await lb.close();
  lb.ref().unref();
  expect(binding.calls.filter((call) => call === 'ref' || call === 'unref')).toEqual(['unref', 'ref']);
  expect(await code(lb.apply(goodConfig))).toBe('MILLRACE_E_NOT_RUNNING');
});

test('the signal of the creation, fired later, closes the balancer', async () => {
  const abort = new AbortController();
  const { lb, binding } = await startTestBalancer(goodConfig, { signal: abort.signal });
  const stopped = once(lb.events, 'stopped');
  abort.abort();
  await stopped;
  expect(binding.calls.at(-1)).toBe('stop');
});

test('a failure to close after the signal is an error event', async () => {
  const abort = new AbortController();
  const { lb, binding } = await startTestBalancer(goodConfig, { signal: abort.signal });
  binding.failures.set('stop', { code: 'netlink_failed', message: 'no', errno: 0 });
  const failed = once(lb.events, 'error').catch((error: unknown) => [error]);
  abort.abort();
  expect((await failed)[0]).toMatchObject({ code: 'MILLRACE_E_NETLINK_FAILED' });
});

test('a dry run of apply says what would change, refuses what would be refused, and changes nothing', async () => {
  await using balancer = await startTestBalancer();
  const { binding, lb } = balancer;
  const before = lb.config;
  binding.calls.length = 0;
  const event = await lb.apply({ ...goodConfig, services: [] }, { dryRun: true });
  expect(event).toMatchObject({ generation: 1, changes: { servicesRemoved: ['web'] } });
  expect(await code(lb.apply({ ...goodConfig, localPorts: '2000-3000' }, { dryRun: true }))).toBe(
    'MILLRACE_E_CHANGE_NEEDS_RESTART',
  );
  expect(binding.calls).toEqual([]);
  expect(lb.config).toEqual(before);
});

test('who reads the logs gets the handle, the names of interfaces and the slots of now, until it is closed', async () => {
  const balancer = await startTestBalancer();
  const { lb } = balancer;
  const source = lb.logSource();
  expect(source).toMatchObject({ handle: 7, interfaces: ['wan', 'lan'] });
  expect(source.slots().services.map(({ name }) => name)).toEqual(['web']);
  await lb.addServer('web', server('192.0.2.13'));
  expect(source.slots().services[0]?.servers).toHaveLength(3);
  await lb.close();
  expect(() => lb.logSource()).toThrow(expect.objectContaining({ code: 'MILLRACE_E_NOT_RUNNING' }));
});
