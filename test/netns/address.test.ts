// The client's address reaches the server whatever happens to packets on the way: real kernels at both ends, bad wires on both sides of
// the balancer. `npm run test:address` runs it in full and prints what was found.
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Family, families, plans } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { accounted } from '../../src/lab/balancer-events.js';
import {
  AddressServers,
  Agent,
  allRight,
  type ClientResult,
  judgeConnections,
  type Method,
  methodServices,
  methods,
  portOf,
  type Speaker,
  speakers,
  writeAddressConfig,
} from './support/address-lab.js';
import { BadWires } from './support/bad-wire.js';
import { full, useLab } from './support/lab-fixture.js';

const lab = useLab();
/** Per method, speaker and shape, the three ways together. */
const connections = full ? 20_000 : 36;
const bad = { loss: 500, duplication: 500, reordering: 500 };
const perfect = { loss: 0, duplication: 0, reordering: 0 };
const rows: Record<string, unknown>[] = [];
const resultFile = process.env['MILLRACE_ADDRESS_FILE'];

/** Client, server: "64" is an IPv6 client of an IPv4 server. */
const ways: readonly { readonly name: string; readonly family: Family; readonly address: string }[] = [
  ...families.map((family) => ({ name: family === 'ipv4' ? '44' : '66', family, address: plans[family].vip })),
  { name: '64', family: 'ipv6', address: plans.ipv6.routedVip },
];

let balancer: Balancer;
let agent: Agent;
let servers: AddressServers;
let wires: BadWires;

beforeAll(async () => {
  wires = await BadWires.insert(lab());
  await wires.behave(perfect);
  // SYNs with data, without a cookie.
  await lab().topology.runChecked('client', ['sysctl', '-qw', 'net.ipv4.tcp_fastopen=5']);
  // One SYN or answer in five is lost: some connections need more tries than a kernel makes by itself.
  await lab().topology.runChecked('client', ['sysctl', '-qw', 'net.ipv4.tcp_syn_retries=12']);
  await lab().topology.runChecked('rs1', ['sysctl', '-qw', 'net.ipv4.tcp_synack_retries=12']);
  agent = await Agent.start(lab());
  servers = await AddressServers.start(agent);
  balancer = await lab().startBalancer(writeAddressConfig(lab(), methodServices()));
});

afterAll(async () => {
  await balancer?.[Symbol.asyncDispose]();
  await servers?.[Symbol.asyncDispose]();
  await agent?.[Symbol.asyncDispose]();
  await wires?.[Symbol.asyncDispose]();
  if (resultFile !== undefined) writeFileSync(resultFile, JSON.stringify(rows));
});

const shapes = ['plain', 'bytes', 'at-once'] as const;
type Shape = (typeof shapes)[number];
const names = { plain: 'as usual', bytes: 'one byte per segment', 'at-once': 'SYN, data and FIN at once' } as const;

interface Found {
  readonly each: number;
  readonly results: Readonly<Record<string, ClientResult>>;
}

/** Connections of one kind, from all families at once. */
async function judge(method: Method, speaker: Speaker, shape: Shape, count: number): Promise<Found> {
  const each = Math.ceil(count / ways.length);
  const results = await Promise.all(
    ways.map(async ({ name, family, address }) => {
      const result = await judgeConnections(lab(), {
        family,
        address,
        port: portOf(method, speaker),
        count: each,
        atOnce: full ? 350 : each,
        bytes: shape === 'bytes' ? 12 : 3000,
        shape,
        serverFirst: speaker === 'server',
        seconds: full ? 900 : 250,
      });
      return [name, result] as const;
    }),
  );
  return { each, results: Object.fromEntries(results) };
}

const kinds = methods.flatMap((method) =>
  shapes.flatMap((shape) =>
    speakers.map((speaker) => ({ method, shape, speaker, name: `${method}, ${speaker} first, ${names[shape]}` })),
  ),
);

describe.each([
  ['good wires', perfect],
  ['5 % lost, 5 % twice, 5 % late, on both sides', bad],
] as const)('%s', (condition, rates) => {
  const count = rates === perfect ? 60 : connections;
  const found = new Map<string, Found>();
  beforeAll(async () => {
    await wires.behave(rates, 7);
    // Waiting for retransmissions is what takes the time: in the short form all kinds wait together, in the long one both speakers.
    const groups = full ? kinds.filter(({ speaker }) => speaker === 'client') : [undefined];
    for (const group of groups) {
      const chosen = kinds.filter(
        ({ method, shape }) => group === undefined || (method === group.method && shape === group.shape),
      );
      await Promise.all(
        chosen.map(async ({ method, speaker, shape, name }) => found.set(name, await judge(method, speaker, shape, count))),
      );
    }
  }, 3_600_000);
  afterAll(async () => {
    rows.push({ condition, ...(await wires.end()) });
    await wires.behave(perfect);
  });

  test.each(kinds)('$name', ({ name }) => {
    const { each, results } = found.get(name) ?? { each: 0, results: {} };
    rows.push({
      condition,
      kind: name,
      ...Object.fromEntries(Object.entries(results).map(([way, result]) => [way, `${result.ok}/${each}`])),
    });
    expect(each).toBeGreaterThan(0);
    expect(results).toEqual(Object.fromEntries(ways.map((way) => [way.name, allRight(each)])));
  });
});

test('a client that resets at once leaves a right address or none', async () => {
  for (const method of methods) {
    const result = await judgeConnections(lab(), {
      family: 'ipv4',
      address: plans.ipv4.vip,
      port: portOf(method, 'client'),
      count: 60,
      shape: 'abort',
    });
    expect(result).toEqual(allRight(60));
  }
});

test('every packet is accounted for, and no server has met a header that it could not read', async () => {
  const stats = await balancer.stats((now) => accounted(now.totals) === now.totals.rxPackets);
  expect(stats.totals.drops).not.toHaveProperty('client_address_fragment');
  const { counters = {} } = await agent.status();
  expect(counters['connections_found']).toBeGreaterThan(connections);
  expect(counters['connections_refused']).toBe(0);
  expect(counters['connections_late'], 'all segments that made a connection have said whose it is').toBe(0);
  for (const [name, counts] of await servers.end()) expect(counts.malformed, name).toBe(0);
});
