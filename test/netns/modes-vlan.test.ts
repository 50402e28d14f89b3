// Frames with one and with two VLAN tags through every mode: what the client sends and what the servers see, and the way back, byte by byte
// on the links, because hosts take tags off before anybody can look.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FORWARD_MODES, type ForwardMode } from '../../src/config/forward-mode.js';
import { echoPort, type Family, families, interfaces, plans } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { macs } from '../../src/lab/topology.js';
import { decodePacket, packet } from '../support/packet/index.js';
import { useLab } from './support/lab-fixture.js';
import { record } from './support/mode-table.js';
import { RawLink } from './support/raw-link.js';

/** `type` is that of the tag itself (IEEE 802.1Q 9.5). */
interface Tag {
  readonly type: number;
  readonly id: number;
  readonly priority: number;
}

const lab = useLab();
const stacks: readonly (readonly Tag[])[] = [
  [{ type: 0x8100, id: 100, priority: 5 }],
  [
    { type: 0x88a8, id: 2000, priority: 3 },
    { type: 0x8100, id: 7, priority: 6 },
  ],
];
const digit = { ipv4: '4', ipv6: '6' } as const;
const etherLength = 14;
const tagLength = 4;
const tunnels: readonly ForwardMode[] = ['ipip', 'gre', 'gue'];
const rewritten = (mode: ForwardMode) => answersPass(mode) || mode === 'l3dsr';
const answersPass = (mode: ForwardMode) => mode === 'fullnat' || mode === 'nat';

const contains = (frame: Uint8Array, text: string) => Buffer.from(frame).includes(text);
const tagsOf = (frame: Uint8Array, count: number) => Buffer.from(frame.subarray(12, 12 + count * tagLength)).toString('hex');

interface End {
  readonly mac: string;
  readonly address: string;
  readonly port: number;
}

function datagram(family: Family, tags: readonly Tag[], from: End, to: End, text: string): Uint8Array {
  let start = packet().eth({ source: from.mac, destination: to.mac, type: tags[0]?.type ?? 0 });
  // A tag is announced by the type in front of it.
  for (const [i, { id, priority }] of tags.entries()) {
    const next = tags[i + 1];
    start = start.vlan(next === undefined ? { id, priority } : { id, priority, type: next.type });
  }
  const fields = { source: from.address, destination: to.address };
  const ip = family === 'ipv4' ? start.ipv4(fields) : start.ipv6(fields);
  return ip.udp({ sourcePort: from.port, destinationPort: to.port }).payload(text).build();
}

/** The fields of the client's packet, which may be inside a tunnel's. */
function innermost(family: Family, frame: Uint8Array, text: string): ReturnType<typeof decodePacket>['fields'] {
  const payload = Buffer.from(frame).indexOf(text);
  const headers = (family === 'ipv4' ? 20 : 40) + 8;
  const type = family === 'ipv4' ? [0x08, 0x00] : [0x86, 0xdd];
  return decodePacket(Uint8Array.from([...frame.subarray(0, 12), ...type, ...frame.subarray(payload - headers)])).fields;
}

describe.each(FORWARD_MODES)('%s', (mode) => {
  let balancer: Balancer;
  let client: RawLink;
  let server: RawLink;
  beforeAll(async () => {
    await lab().useMode(mode);
    balancer = await lab().startBalancer(lab().writeConfig({ mode, weights: { rs2: 0 } }));
    client = await RawLink.open(lab().topology.namespace('client'), interfaces.client);
    server = await RawLink.open(lab().topology.namespace('rs1'), interfaces.server);
  });
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await balancer?.[Symbol.asyncDispose]();
  });

  test.each(families)('one tag and two stay where they are, there and back: %s', async (family) => {
    const { clients, vip, servers } = plans[family];
    for (const [i, tags] of stacks.entries()) {
      const here: End = { mac: macs.client, address: clients[0] ?? '', port: 43_000 + i };
      const there: End = { mac: macs.wan, address: vip, port: echoPort };
      const text = `tagged ${tags.length} times through ${mode}`;
      const sent = datagram(family, tags, here, there, text);
      client.send(sent);
      const seen = await server.receive((frame) => (contains(frame, text) ? frame : undefined));
      expect(tagsOf(seen, tags.length)).toBe(tagsOf(sent, tags.length));
      const outside = decodePacket(seen).fields;
      expect(outside.get('eth.destination')).toBe(macs.rs1);
      if (tunnels.includes(mode)) expect(outside.get('ip.destination')).toBe(servers.rs1);
      const inside = innermost(family, seen, text);
      expect(inside.get('ip.destination')).toBe(rewritten(mode) ? servers.rs1 : vip);
      expect(inside.get('udp.checksumRight')).toBe('yes');
      if (!answersPass(mode)) continue;

      const back: End = { mac: macs.rs1, address: servers.rs1, port: echoPort };
      const to: End = {
        mac: macs.lan,
        address: String(inside.get('ip.source')),
        port: Number(inside.get('udp.sourcePort')),
      };
      const reply = `answer to ${text}`;
      server.send(datagram(family, tags, back, to, reply));
      const heard = await client.receive((frame) => (contains(frame, reply) ? frame : undefined));
      expect(tagsOf(heard, tags.length)).toBe(tagsOf(sent, tags.length));
      expect(decodePacket(heard).l3).toBe(etherLength + tags.length * tagLength);
      const fields = decodePacket(heard).fields;
      expect([fields.get('ip.source'), fields.get('udp.sourcePort')]).toEqual([vip, echoPort]);
      expect([fields.get('ip.destination'), fields.get('udp.destinationPort')]).toEqual([here.address, here.port]);
      expect(fields.get('udp.checksumRight')).toBe('yes');
    }
    record(mode, `${digit[family]}${digit[family]}`, 'udp', 'VLAN', 'one tag, two tags');
  });
});
