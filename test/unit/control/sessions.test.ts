// Sessions by names: what the dataplane is asked, and how its answer reads.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { pageRequest, type SessionFilter, sessionRequest } from '../../../src/control/sessions.js';
import { SESSION_MODES, SESSION_STATES } from '../../../src/native-binding.js';
import { startTestBalancer } from '../module/support/hosts.js';

const slots = {
  services: [
    { name: 'web', slot: 3, servers: [{ address: '192.0.2.11', port: 80, slot: 7, removed: false }] },
    {
      name: 'old',
      slot: 4,
      servers: [
        { address: '192.0.2.11', port: 80, slot: 8, removed: false },
        { address: '2001:db8::1', port: 81, slot: 9, removed: true },
      ],
    },
  ],
};

test('names become slots', () => {
  expect(pageRequest(slots, {}, { limit: 5 })).toMatchObject({
    client: '',
    services: [],
    servers: [],
    limit: 5,
    fromWorker: 0,
  });
  expect(sessionRequest(slots, { service: 'old', protocol: 'udp', clientPort: 9 })).toMatchObject({
    services: [4],
    protocol: 17,
    clientPort: 9,
  });
  expect(sessionRequest(slots, { server: '192.0.2.11:80' }).servers).toEqual([7, 8]);
  expect(sessionRequest(slots, { service: 'old', server: '[2001:db8::1]:81' }).servers).toEqual([9]);
  expect(sessionRequest(slots, { client: '198.51.100.7' }).client).toBe('198.51.100.7/32');
  expect(pageRequest(slots, { client: '2001:db8::/32' }, { cursor: '1-77' })).toMatchObject({
    client: '2001:db8::/32',
    fromWorker: 1,
    fromId: 77,
  });
});

test.each([
  [{ service: 'no' }, {}, /no service "no"/],
  [{ server: '192.0.2.99:80' }, {}, /no server/],
  [{ client: 'somewhere' }, {}, /neither an address nor a prefix/],
  [{}, { cursor: 'x' }, /no cursor/],
  [{}, { cursor: '0-4294967295' }, /no cursor/],
  [{}, { limit: 10_001 }, /not possible/],
  [{}, { limit: 0 }, /not possible/],
  [{ clientPort: 0 }, {}, /no port/],
  [{ clientPort: 65_536 }, {}, /no port/],
  [{ protocol: 'tpc' }, {}, /no protocol "tpc"/],
  [{ protocol: 'constructor' }, {}, /no protocol/],
])('%j %j is refused', (filter, page, message) => {
  expect(() => pageRequest(slots, filter as SessionFilter, page)).toThrow(message);
});

test('the balancer lists, counts and ends', async () => {
  await using balancer = await startTestBalancer();
  balancer.binding.sessionPage = {
    rows: [
      {
        ...{ client: '198.51.100.7', clientPort: 4242, vip: '203.0.113.10', vipPort: 80, local: '192.0.2.101', localPort: 1025 },
        ...{ server: '192.0.2.11', serverPort: 8080, service: 0, serverSlot: 0, worker: 1, expires: 59_999, packetsIn: 3 },
        ...{ packetsOut: 2, protocol: 6, state: 1, mode: 0 },
      },
    ],
    matched: 1,
    next: { worker: 1, id: 8 },
  };
  expect(await balancer.lb.sessions({ service: 'web' })).toEqual({
    sessions: [
      {
        ...{ protocol: 'tcp', client: '198.51.100.7:4242', vip: '203.0.113.10:80', local: '192.0.2.101:1025' },
        ...{ server: '192.0.2.11:8080', service: 'web', mode: 'fullnat', state: 'ESTABLISHED', expires: 59, packetsIn: 3 },
        ...{ packetsOut: 2, worker: 1 },
      },
    ],
    cursor: '1-8',
  });
  expect(await balancer.lb.countSessions()).toBe(1);
  expect(await balancer.lb.endSessions({ client: '198.51.100.0/24' })).toBe(1);
  expect(balancer.binding.sessionRequests.map(({ limit, end }) => [limit, end])).toEqual([
    [100, false],
    [0, false],
    [0, true],
  ]);
});

test('states and modes are in the order of the dataplane', () => {
  const members = (file: string, name: string): string[] => {
    const text = readFileSync(new URL(`../../../native/sessions/${file}`, import.meta.url), 'utf8');
    const body = new RegExp(`enum class ${name} : std::uint8_t \\{([^}]*)\\}`).exec(text)?.[1] ?? '';
    return [...body.matchAll(/^\s*k(\w+)/gm)].map((match) => match[1] ?? '').filter((member) => member !== 'Count');
  };
  const states = members('session.h', 'SessionState');
  expect(states).toHaveLength(SESSION_STATES.length);
  const plain = (text: string): string => text.toLowerCase().replaceAll('_', '').replace('sctp', '').replace('udpnormal', 'udp');
  expect(SESSION_STATES.map(plain)).toEqual(states.map(plain));
  const modes = members('forward_mode.h', 'ForwardMode').map((mode) => mode.toLowerCase().replace('tunnel', ''));
  expect([...SESSION_MODES]).toEqual(modes);
});
