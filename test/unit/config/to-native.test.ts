// What the addon gets from a configuration and a host.
import { expect, test } from 'vitest';
import { type HostDescription, toNative } from '../../../src/config/to-native.js';
import { validateConfig } from '../../../src/config/validate.js';
import { ConfigurationError } from '../../../src/errors.js';

const host: HostDescription = {
  allowedCpus: [2, 3, 5, 7],
  interfaces: [
    { name: 'wan', rxQueues: 8 },
    { name: 'lan', rxQueues: 3 },
    { name: 'other', rxQueues: 1 },
  ],
};
type Input = Parameters<typeof validateConfig>[0];

function configured(changes: Partial<Input> = {}) {
  return validateConfig({
    interfaces: [{ name: 'wan' }, { name: 'lan' }],
    localAddresses: ['192.0.2.101', '192.0.2.102', '192.0.2.103', '192.0.2.104'],
    services: [{ name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp', servers: [{ address: '192.0.2.11' }] }],
    ...changes,
  });
}

test('workers: auto takes the queues of the interface that has the fewest, and one CPU each', () => {
  const { options, notes } = toNative(configured(), host);
  expect(options.workers).toBe(3);
  expect(options.cpus).toEqual([2, 3, 5]);
  expect(notes).toEqual(['workers: 3 (auto: limited by the number of receive queues of lan)']);
});

test('workers: auto never takes more than the CPUs', () => {
  expect(toNative(configured(), { ...host, allowedCpus: [1] }).options).toMatchObject({ workers: 1, cpus: [1] });
});

test('workers: auto never takes more than the local addresses of a family that is in use', () => {
  const { options, notes } = toNative(configured({ localAddresses: ['192.0.2.101', '192.0.2.102', '2001:db8::1'] }), host);
  expect(options.workers).toBe(2);
  expect(notes[0]).toContain('IPv4 local addresses');
});

test('without a known interface, as in replay, workers: auto is bounded by CPUs and addresses only', () => {
  expect(toNative(configured(), { allowedCpus: [0], interfaces: [] }).options.workers).toBe(1);
});

test('listed CPUs are taken in their order, as many as there are workers', () => {
  expect(toNative(configured({ workers: 2, cpus: [7, 3, 2] }), host).options.cpus).toEqual([7, 3]);
});

test('a listed CPU that the process may not use is a configuration error', () => {
  try {
    toNative(configured({ workers: 2, cpus: [2, 4] }), host);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as ConfigurationError).problems).toMatchObject([
      { path: 'cpus[1]', reason: 'this process may not run on CPU 4' },
    ]);
  }
});

test('more workers than CPUs run unpinned, with a note', () => {
  const { options, notes } = toNative(configured({ workers: 4 }), { ...host, allowedCpus: [0, 1] });
  expect(options.cpus).toEqual([-1, -1, -1, -1]);
  expect(notes).toEqual([expect.stringContaining('4 workers share 2 CPUs')]);
});

test('addresses, prefixes and MACs arrive in one spelling', () => {
  const { tables, options } = toNative(
    configured({
      interfaces: [{ name: 'wan', mac: '02:AB:00:00:00:01', mtu: 1500, addresses: ['2001:DB8:0:0::1/64'] }],
      localAddresses: ['2001:db8:0:1::0001'],
      routes: [{ prefix: '2001:db8:2:0::/48', via: '2001:db8:0::fe', interface: 'wan' }],
      neighbours: [{ address: '2001:db8::0:fe', mac: '02:00:00:00:00:FE', interface: 'wan' }],
      services: [
        {
          name: 'web',
          address: '2001:db8:3::0:10',
          port: 80,
          protocol: 'udp',
          servers: [{ address: '2001:0db8:0:1::11', port: 81 }],
        },
      ],
    }),
    host,
  );
  expect(options.interfaces).toEqual([{ name: 'wan', mac: '02:ab:00:00:00:01', mtu: 1500, addresses: ['2001:db8::1/64'] }]);
  expect(tables).toMatchObject({
    localAddresses: ['2001:db8:0:1::1'],
    routes: [{ prefix: '2001:db8:2::/48', via: '2001:db8::fe', interface: 'wan' }],
    neighbours: [{ address: '2001:db8::fe', mac: '02:00:00:00:00:fe', interface: 'wan' }],
    services: [{ address: '2001:db8:3::10', servers: [{ address: '2001:db8:0:1::11', port: 81, weight: 1 }] }],
  });
});

test('a server without a port has the port of its service', () => {
  expect(toNative(configured(), host).tables.services[0]?.servers).toEqual([
    {
      address: '192.0.2.11',
      port: 80,
      weight: 1,
      id: 0,
      mode: 'fullnat',
      tunnelPort: 6080,
      upperThreshold: 0,
      lowerThreshold: 0,
      rateLimit: { packetsPerSecond: 0, bitsPerSecond: 0 },
    },
  ]);
});

test('what servers are told of clients reaches the dataplane with its defaults', () => {
  const web = { name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp' as const, servers: [] };
  const { tables } = toNative(
    configured({
      services: [
        { ...web, clientAddress: { method: 'toa', kinds: { ipv6: 253 }, onSyn: true } },
        {
          ...web,
          name: 'tlvs',
          port: 81,
          clientAddress: {
            method: 'proxy-v2',
            serverFirst: true,
            tlvs: {
              uniqueId: true,
              custom: [
                { type: 0xe0, text: 'é' },
                { type: 0xe1, hex: '0A0b' },
              ],
            },
          },
          acceptProxy: { from: ['198.51.100.0/24', '2001:0db8::1'] },
        },
        { ...web, name: 'front', port: 82, acceptProxy: { from: ['198.51.100.7'] } },
        {
          ...web,
          name: 'udp',
          port: 83,
          protocol: 'udp' as const,
          clientAddress: { method: 'proxy-v2', datagrams: 3, whenTooBig: 'drop' },
        },
        { ...web, name: 'plain', port: 84 },
      ],
    }),
    host,
  );
  const none = {
    method: 'none',
    kindIpv4: 254,
    kindIpv6: 254,
    onSyn: false,
    carrier: 'protocol',
    serverFirst: false,
    datagrams: 255,
    whenTooBig: 'fragment',
    uniqueId: false,
    crc32c: false,
    tlvs: [],
    acceptFrom: [],
  };
  expect(tables.services.map((service) => service.clientAddress)).toEqual([
    { ...none, method: 'toa', kindIpv6: 253, onSyn: true },
    {
      ...none,
      method: 'proxy-v2',
      serverFirst: true,
      uniqueId: true,
      tlvs: [
        { type: 0xe0, value: 'c3a9' },
        { type: 0xe1, value: '0a0b' },
      ],
      acceptFrom: ['198.51.100.0/24', '2001:db8::1'],
    },
    { ...none, acceptFrom: ['198.51.100.7'] },
    { ...none, method: 'proxy-v2', datagrams: 3, whenTooBig: 'drop' },
    undefined,
  ]);
});

test('limits, access list and timeouts of a service reach the dataplane whole', () => {
  const web = { name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp' as const };
  const server = { address: '192.0.2.11', upperThreshold: 8, lowerThreshold: 4, rateLimit: { bitsPerSecond: 1e9 } };
  const { tables } = toNative(
    configured({
      sessions: { timeouts: { tcp: { established: 100, timeWait: 7 } } },
      services: [
        {
          ...web,
          servers: [server],
          maxConnections: 50,
          rateLimit: { packetsPerSecond: 10 },
          onRemoval: 'reset',
          acl: { allow: ['198.51.100.0/24'] },
          timeouts: { tcp: { established: 30 } },
        },
        { ...web, name: 'open', port: 81, servers: [], acl: { deny: ['2001:0db8::/32'] } },
        { ...web, name: 'plain', port: 82, servers: [] },
      ],
    }),
    host,
  );
  const [limited, open, plain] = tables.services;
  expect(limited).toMatchObject({
    maxConnections: 50,
    rateLimit: { packetsPerSecond: 10, bitsPerSecond: 0 },
    onRemoval: 'reset',
    access: { allowOthers: false, allow: ['198.51.100.0/24'], deny: [] },
    servers: [{ upperThreshold: 8, lowerThreshold: 4, rateLimit: { packetsPerSecond: 0, bitsPerSecond: 1e9 } }],
  });
  expect(limited?.timeouts?.tcp).toMatchObject({ established: 30, timeWait: 7, synRecv: 60 });
  expect(open?.access).toEqual({ allowOthers: true, allow: [], deny: ['2001:db8::/32'] });
  expect(plain).toMatchObject({ maxConnections: 0, onRemoval: 'keep' });
  expect(plain?.access ?? plain?.timeouts).toBeUndefined();
});

test('every scheduler option has a value, whatever was written', () => {
  const server = { address: '192.0.2.11', id: 7 };
  const quic = { name: 'quic', address: '203.0.113.10', port: 443, protocol: 'udp' as const, servers: [server] };
  const schedulerOptions = { connectionId: 'katran' as const, tableSize: 65_537 as const };
  const { tables } = toNative(configured({ services: [{ ...quic, scheduler: 'quic-cid', schedulerOptions }] }), host);
  expect(tables.services[0]).toMatchObject({ scheduler: 'quic-cid', servers: [{ id: 7 }] });
  expect(tables.services[0]?.schedulerOptions).toEqual({
    fallback: false,
    port: false,
    key: 'source',
    tableSize: 65_537,
    serverPorts: true,
    connectionId: 'katran',
  });
});

test('timeouts are those of the profile except where they are set', () => {
  const changed = { sessions: { timeouts: { profile: 'dpvs' as const, udp: { normal: 60 } } } };
  const { timeouts } = toNative(configured(changed), host).tables;
  expect(timeouts.tcp.established).toBe(90);
  expect(timeouts.udp).toEqual({ oneWay: 300, normal: 60 });
  expect(toNative(configured(), host).tables.timeouts.tcp.established).toBe(900);
});

test('frame size and local ports arrive as numbers', () => {
  const { options } = toNative(configured({ localPorts: '2000-3000', dataplane: { frameSize: 4096, seed: '7' } }), host);
  expect(options).toMatchObject({ frameSize: 4096, localPortRange: [2000, 3000], seed: '7' });
  expect(toNative(configured(), host).options.frameSize).toBe(0);
});
