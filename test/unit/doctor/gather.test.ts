// Gathering: the formats of /proc and /sys, a host read from memory, and this host for real.

import { release } from 'node:os';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FactSource, gatherFacts } from '../../../src/doctor/gather.js';
import {
  isUserNamespace,
  parseCapabilities,
  parseCpuList,
  parseKernelConfig,
  parseMemlock,
  parseMounts,
  statusField,
} from '../../../src/doctor/parse.js';
import { FakeBinding } from '../module/support/fake-binding.js';

test('capability masks become names', () => {
  // The mask of an unprivileged container: what Docker leaves a process (capabilities(7), include/uapi/linux/capability.h).
  expect(parseCapabilities('00000000a80425fb')).toEqual(
    [
      'CHOWN',
      'DAC_OVERRIDE',
      'FOWNER',
      'FSETID',
      'KILL',
      'SETGID',
      'SETUID',
      'SETPCAP',
      'NET_BIND_SERVICE',
      'NET_RAW',
      'SYS_CHROOT',
      'MKNOD',
      'AUDIT_WRITE',
      'SETFCAP',
    ].map((name) => `CAP_${name}`),
  );
  expect(parseCapabilities('000001ffffffffff')).toHaveLength(41);
  expect(parseCapabilities('0000008000000000')).toEqual(['CAP_BPF']);
  expect(parseCapabilities('8000000000000000')).toEqual(['CAP_63']);
  expect(parseCapabilities('not hex')).toBeNull();
});

test('CPU lists, limits, mounts, configurations and maps are read', () => {
  expect(parseCpuList('0-2,8\n')).toEqual([0, 1, 2, 8]);
  expect(parseCpuList('\n')).toEqual([]);
  expect(parseMemlock('Max locked memory         8388608              unlimited            bytes\n')).toEqual({
    soft: 8_388_608,
    hard: Number.POSITIVE_INFINITY,
  });
  expect(parseMemlock('nothing')).toBeNull();
  expect(parseMounts('bpf /sys/fs/bpf bpf rw 0 0\nx /with\\040blank tmpfs rw 0 0\n')).toEqual([
    { type: 'bpf', path: '/sys/fs/bpf' },
    { type: 'tmpfs', path: '/with blank' },
  ]);
  expect(parseKernelConfig('# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C="text"\n')).toEqual({ CONFIG_B: 'y', CONFIG_C: 'text' });
  expect(isUserNamespace('         0          0 4294967295\n')).toBe(false);
  expect(isUserNamespace('         0     100000      65536\n')).toBe(true);
  expect(statusField('Name:\tnode\nCapEff:\t00ff\n', 'CapEff')).toBe('00ff');
  expect(statusField('Name:\tnode\n', 'CapEff')).toBeNull();
});

test('no text makes a reader throw', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const read of [parseCapabilities, parseCpuList, parseMemlock, parseMounts, parseKernelConfig, isUserNamespace])
        read(text);
    }),
  );
});

function files(contents: Record<string, string | Buffer>): FactSource {
  return {
    read: (path) => {
      const content = contents[path];
      return content === undefined ? null : Buffer.from(content);
    },
    list: (path) => [
      ...new Set(
        Object.keys(contents)
          .filter((file) => file.startsWith(`${path}/`))
          .map((file) => file.slice(path.length + 1).split('/')[0] ?? ''),
      ),
    ],
  };
}

test('a host is read from its files', () => {
  const facts = gatherFacts({
    load: () => new FakeBinding(),
    files: files({
      '/proc/self/status': 'CapEff:\t0000008000003000\nCpus_allowed_list:\t1-2\n',
      '/proc/self/uid_map': '0 0 4294967295\n',
      '/proc/self/limits': 'Max locked memory  65536  65536  bytes\n',
      '/proc/mounts': 'bpf /sys/fs/bpf bpf rw 0 0\n',
      '/proc/config.gz': gzipSync('CONFIG_XDP_SOCKETS=y\n'),
      '/sys/kernel/btf/vmlinux': 'x',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '10\n',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '4\n',
      '/sys/devices/system/cpu/online': '0-3\n',
      '/sys/devices/system/cpu/isolated': '2-3\n',
      '/sys/devices/system/node/node0/cpulist': '0-1\n',
      '/sys/devices/system/node/node1/cpulist': '2-3\n',
      '/proc/1/environ': 'PATH=/bin\0container=lxc\0',
    }),
  });
  expect(facts).toMatchObject({
    capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'],
    userNamespace: false,
    memlock: { soft: 65_536, hard: 65_536 },
    kernelConfig: { source: '/proc/config.gz', values: { CONFIG_XDP_SOCKETS: 'y' } },
    btf: true,
    hugePages: [{ sizeKiB: 2048, total: 10, free: 4 }],
    cpus: { online: [0, 1, 2, 3], allowed: [1, 2], isolated: [2, 3], numaNodes: [{ node: 0 }, { node: 1 }] },
    container: 'lxc',
    native: { loaded: true, versions: { addon: '0.1.0' } },
    probe: { xdp: '', afXdp: '', bpfLink: '' },
  });
  expect(facts.interfaces?.map((probe) => probe.name)).toEqual(['wan', 'lan']);
});

test('a host without /proc and /sys gives unknowns, not errors', () => {
  const facts = gatherFacts({
    files: files({}),
    load: () => {
      throw new Error('no addon');
    },
  });
  expect(facts).toMatchObject({
    capabilities: null,
    memlock: null,
    mounts: null,
    cpus: null,
    btf: null,
    kernelConfig: null,
    probe: null,
  });
  expect(facts.native).toEqual({ loaded: false, error: 'no addon' });
});

test.each([
  [{ '/.dockerenv': '' }, 'docker'],
  [{ '/run/.containerenv': '' }, 'podman'],
  [{ '/proc/1/cgroup': '0::/kubepods.slice/pod1\n' }, 'kubernetes'],
  [{ '/proc/1/cgroup': '0::/init.scope\n' }, ''],
])('the container of %j is "%s"', (contents, container) => {
  expect(gatherFacts({ files: files(contents), load: () => new FakeBinding() }).container).toBe(container);
});

test('the build configuration may lie in /boot', () => {
  const path = `/boot/config-${release()}`;
  const facts = gatherFacts({ files: files({ [path]: 'CONFIG_BPF=y\n' }), load: () => new FakeBinding() });
  expect(facts.kernelConfig).toEqual({ source: path, values: { CONFIG_BPF: 'y' } });
});

test('this host is read without an exception, whatever it is', () => {
  const facts = gatherFacts({ load: () => new FakeBinding() });
  expect(facts.platform).toBe(process.platform);
  expect(facts.kernelRelease).toBe(release());
});
