// Made-up hosts, from a good one that each test spoils in its own way, and the configuration that runs on it.
import type { ConfigInput } from '../../../../src/config/schema.js';
import { type CreateEnvironment, createIn } from '../../../../src/create-load-balancer.js';
import type { HostFacts } from '../../../../src/doctor/facts.js';
import type { ConfigSource, LoadBalancer, OperationOptions } from '../../../../src/load-balancer.js';
import { FakeCheckers } from '../../health/support/fake-checkers.js';
import { FakeBinding, fakeProbe } from './fake-binding.js';

export const goodHost: HostFacts = {
  platform: 'linux',
  arch: 'x64',
  nodeVersion: 'v20.20.2',
  nodeApiVersion: '9',
  glibcVersion: '2.36',
  kernelRelease: '6.1.0-13-amd64',
  uid: 0,
  container: '',
  userNamespace: false,
  kernelConfig: { source: '/boot/config-6.1.0-13-amd64', values: { CONFIG_XDP_SOCKETS: 'y', CONFIG_BPF_SYSCALL: 'y' } },
  btf: true,
  capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_IPC_LOCK', 'CAP_BPF', 'CAP_SYS_ADMIN'],
  memlock: { soft: 8 * 1024 * 1024, hard: 8 * 1024 * 1024 },
  mounts: [
    { type: 'bpf', path: '/sys/fs/bpf' },
    { type: 'cgroup2', path: '/sys/fs/cgroup' },
  ],
  hugePages: [{ sizeKiB: 2048, total: 64, free: 64 }],
  cpus: { online: [0, 1], allowed: [0, 1], isolated: [], numaNodes: [{ node: 0, cpus: [0, 1] }] },
  native: { loaded: true, versions: { addon: '0.1.0' } },
  probe: { xdp: '', afXdp: '', bpfLink: '' },
  interfaces: [fakeProbe('lo', { kind: '', driver: '' }), fakeProbe('wan')],
};

export const goodConfig: ConfigInput = {
  workers: 2,
  interfaces: [{ name: 'wan' }, { name: 'lan' }],
  localAddresses: ['192.0.2.101', '192.0.2.102'],
  services: [
    {
      name: 'web',
      address: '203.0.113.10',
      port: 80,
      protocol: 'tcp',
      servers: [{ address: '192.0.2.11', port: 8080 }, { address: '192.0.2.12' }],
    },
  ],
};

export interface TestBalancer extends AsyncDisposable {
  readonly lb: LoadBalancer;
  readonly binding: FakeBinding;
  readonly checkers: FakeCheckers;
}

export function environmentOf(
  binding: FakeBinding,
  facts: HostFacts = goodHost,
  checkers = new FakeCheckers(),
): CreateEnvironment {
  return {
    platform: facts.platform,
    load: () => binding,
    gather: (load) => {
      const loaded = facts.platform === 'linux' ? load() : undefined;
      return { ...facts, interfaces: loaded?.probeInterfaces() ?? null, probe: loaded?.probeKernel() ?? null };
    },
    checkers: ({ report }) => {
      checkers.report = report;
      return checkers;
    },
    now: () => 1_700_000_000_000,
  };
}

/** A balancer over a fake addon on a good host. */
export async function startTestBalancer(
  config: ConfigSource = goodConfig,
  options: OperationOptions = {},
): Promise<TestBalancer> {
  const binding = new FakeBinding();
  const checkers = new FakeCheckers();
  const lb = await createIn(environmentOf(binding, goodHost, checkers), config, options);
  return { lb, binding, checkers, [Symbol.asyncDispose]: () => lb.close() };
}
