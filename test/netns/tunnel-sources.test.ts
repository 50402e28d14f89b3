// Errors about packets of a tunnel whose outer sources are a range: they are sent to addresses that no interface has.
import { describe, expect, test } from 'vitest';
import { echoPort, type Family, families, interfaces, plans } from '../../src/lab/addresses.js';
import { macs } from '../../src/lab/topology.js';
import { packet } from '../support/packet/index.js';
import { useLab } from './support/lab-fixture.js';
import { RawLink } from './support/raw-link.js';

const lab = useLab();
const ranges = { ipv4: '172.16.0.0/16', ipv6: 'fd00:1::/64' } as const;
const etherLength = 14;
const headerLength = { ipv4: 20, ipv6: 40 } as const;
const sourceOffset = { ipv4: etherLength + 12, ipv6: etherLength + 8 } as const;
const addressLength = { ipv4: 4, ipv6: 16 } as const;
const unreachableType = { ipv4: 3, ipv6: 1 } as const;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const contains = (frame: Uint8Array, part: string) => Buffer.from(frame).includes(part);

function addressText(family: Family, bytes: Uint8Array): string {
  if (family === 'ipv4') return bytes.join('.');
  return (hex(bytes).match(/.{4}/g) ?? []).join(':');
}

function question(family: Family, sourcePort: number, text: string): Uint8Array {
  const [source = ''] = plans[family].clients;
  const fields = { source, destination: plans[family].vip };
  const start = packet().eth({ source: macs.client, destination: macs.wan });
  return (family === 'ipv4' ? start.ipv4(fields) : start.ipv6(fields))
    .udp({ sourcePort, destinationPort: echoPort })
    .payload(text)
    .build();
}

/** Host or address unreachable: the server about what the tunnel sent it, and to which outer source. */
function unreachable(family: Family, outer: Uint8Array): { frame: Uint8Array; source: string } {
  const bytes = outer.subarray(sourceOffset[family], sourceOffset[family] + addressLength[family]);
  const source = addressText(family, bytes);
  const start = packet().eth({ source: macs.rs1, destination: macs.lan });
  const fields = { source: plans[family].servers.rs1, destination: source };
  const error =
    family === 'ipv4' ? start.ipv4(fields).icmp({ type: 3, code: 1 }) : start.ipv6(fields).icmpv6({ type: 1, code: 3 });
  return { frame: error.payload(outer.subarray(etherLength)).build(), source };
}

describe.each(['ipip', 'gre', 'gue'] as const)('%s', (mode) => {
  test.each(families)('errors about outer packets from a range reach the client: %s', async (family) => {
    await lab().useMode(mode);
    const config = lab().writeConfig({ mode, tunnelSources: [ranges[family]], weights: { rs2: 0 } });
    await using balancer = await lab().startBalancer(config);
    await using server = await RawLink.open(lab().topology.namespace('rs1'), interfaces.server);
    await using client = await RawLink.open(lab().topology.namespace('client'), interfaces.client);

    // Several flows: their errors arrive on the queues of all workers, and only one knows each session.
    const sources = new Set<string>();
    for (let i = 0; i < 8; i++) {
      const text = `question ${i} of ${family} through ${mode}`;
      const sent = question(family, 42_000 + i, text);
      client.send(sent);
      const { frame, source } = unreachable(family, await server.receive((seen) => (contains(seen, text) ? seen : undefined)));
      sources.add(source);
      client.clear();
      server.send(frame);
      const type = etherLength + headerLength[family];
      const told = await client.receive((heard) =>
        heard[type] === unreachableType[family] && contains(heard, text) ? heard : undefined,
      );
      // Quoted is the packet that the client wrote, from its addresses to its last byte.
      expect(hex(told.subarray(type + 8))).toContain(hex(sent.subarray(sourceOffset[family])));
    }
    expect(sources.size).toBe(8);
    const prefix = family === 'ipv4' ? '172.16.' : 'fd00:0001:0000:0000:';
    for (const source of sources) expect(source.startsWith(prefix), source).toBe(true);
    const { totals } = await balancer.stats(({ totals }) => totals.forwarded >= 16);
    expect(totals.drops).toEqual({});
  });
});
