// A real server that answers clients itself: frames made by hand go in, what comes out is read from the wire.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ManagedProcess } from '../../src/lab/managed-process.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { pseudoHeaderSum } from '../oracle/checksum.js';
import { decodePacket, ipBytes, isIpv6, type PacketBuilder, packet } from '../support/packet/index.js';
import { handmadeHttp } from './support/handmade-http.js';
import { requireJail } from './support/lab-fixture.js';
import { LoneServer, macs, own, router } from './support/lone-server.js';
import { encapsulate, encapsulateInUdp, gre, gueBody, ipip, type Outer } from './support/tunnels.js';

const vip = { ipv4: '203.0.113.10', ipv6: '2001:db8:10::10' } as const;
const client = { ipv4: '198.51.100.7', ipv6: '2001:db8:1::7' } as const;
const echoPort = 7007;
type Family = keyof typeof vip;
const families: readonly Family[] = ['ipv4', 'ipv6'];

let server: LoneServer;
let port = 20_000;

beforeAll(async () => {
  requireJail();
  server = await LoneServer.start();
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  server.link.clear();
});

const ethernet = { source: macs.router, destination: macs.server };

function outer(family: Family, fields: Partial<Outer> = {}): Outer {
  return {
    sourceMac: macs.router,
    destinationMac: macs.server,
    source: router[family],
    destination: own[family],
    ...fields,
  };
}

/** An IP header from the client to the VIP. */
function toVip(family: Family, tos = 0): PacketBuilder {
  const start = packet().eth(ethernet);
  return family === 'ipv4'
    ? start.ipv4({ source: client.ipv4, destination: vip.ipv4, tos })
    : start.ipv6({ source: client.ipv6, destination: vip.ipv6, trafficClass: tos });
}

let echoes = 0;

/** An echo request with a number that no other has. */
function ping(family: Family, tos = 0, size = 32): { readonly frame: Uint8Array; readonly id: string } {
  echoes += 1;
  const rest = [echoes >> 8, echoes & 0xff, 0, 1];
  const start = toVip(family, tos);
  const built = family === 'ipv4' ? start.icmp({ type: 8, rest }) : start.icmpv6({ type: 128, rest });
  return { frame: built.payload(size).build(), id: Buffer.from(rest).toString('hex') };
}

/** The fields of the answer to an echo request. */
function echoReply(id: string): Promise<Map<string, string | number>> {
  return server.link.receive((frame) => {
    const { fields } = decodePacket(frame);
    const type = fields.get('icmp.type');
    return (type === 0 || type === 129) && fields.get('icmp.rest') === id ? fields : undefined;
  });
}

function tosOf(fields: Map<string, string | number>): number {
  return Number(fields.get('ip.tos') ?? fields.get('ip.trafficClass'));
}

interface StatusJson {
  readonly ok: boolean;
  readonly entries: readonly { readonly name: string; readonly after: string; readonly condition: string }[];
  readonly programs: readonly {
    readonly name: string;
    readonly counters: readonly { readonly name: string; readonly packets: number; readonly bytes: number }[];
  }[];
}

async function readStatus(): Promise<StatusJson> {
  const result = await server.run([...millraceProgram(), 'realserver', 'status', '--json']);
  return JSON.parse(result.stdout) as StatusJson;
}

/** Packets by counter, without zeros. */
async function counters(): Promise<Record<string, number>> {
  const { programs } = await readStatus();
  const all = programs.flatMap((program) => program.counters).map(({ name, packets }) => [name, packets] as const);
  return Object.fromEntries(all.filter(([, packets]) => packets > 0));
}

type Wrap = (frame: Uint8Array, outer: Outer) => Uint8Array;

const carriers: readonly (readonly [string, string, Wrap])[] = [
  ['IP in IP', 'ipip', (frame, to) => encapsulate(to, ipip(frame))],
  ['GRE', 'gre', (frame, to) => encapsulate(to, gre(frame))],
  ['GRE with checksum', 'gre', (frame, to) => encapsulate(to, gre(frame, { checksum: true }))],
  ['GUE variant 0', 'gue0', (frame, to) => encapsulateInUdp(to, gueBody(frame, 0))],
  ['GUE variant 0 with checksum', 'gue0', (frame, to) => encapsulateInUdp(to, gueBody(frame, 0), { checksum: true })],
  ['GUE variant 1', 'gue1', (frame, to) => encapsulateInUdp(to, gueBody(frame, 1))],
  ['GUE variant 1 with checksum', 'gue1', (frame, to) => encapsulateInUdp(to, gueBody(frame, 1), { checksum: true })],
];
const combinations = families.flatMap((outside) => families.map((inside) => [outside, inside] as const));
const digit = (family: Family) => (family === 'ipv4' ? '4' : '6');

describe('tunnel', () => {
  let before = '';
  let program = '';
  /** What the counters must show after all that was sent. */
  const expected: Record<string, number> = {};
  const account = (name: string, packets = 1): void => {
    expected[name] = (expected[name] ?? 0) + packets;
  };
  const kindOf = (carrier: string, inside: Family, outside: Family): string => `${carrier}_${digit(inside)}in${digit(outside)}`;

  beforeAll(async () => {
    before = await server.snapshot();
    const from = [`${router.ipv4}/32`, '2001:db8:2::/120'].flatMap((prefix) => ['--from', prefix]);
    await server.realserver('tunnel', '--vip', Object.values(vip).join(','), ...from, '--type', 'ipip,gre,gue');
    program = (await readStatus()).entries.find((entry) => entry.name.startsWith('tunnel'))?.after.split(' ')[1] ?? '';
  });
  afterAll(async () => {
    await server.realserver('undo');
  });

  describe.each(carriers)('%s', (_name, carrier, wrap) => {
    test.each(combinations)('HTTP: outside %s, inside %s', async (outside, inside) => {
      const response = await handmadeHttp({
        link: server.link,
        client: client[inside],
        clientPort: port++,
        server: vip[inside],
        wrap: (frame) => {
          account(kindOf(carrier, inside, outside));
          return wrap(frame, outer(outside));
        },
      });
      expect(response).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(response).toContain(`\r\n\r\nto ${vip[inside]} from ${client[inside]}\n`);
    });
  });

  test('congestion marks come out as RFC 6040 says', async () => {
    const notEct = 0;
    const ect1 = 1;
    const ect0 = 2;
    const ce = 3;
    // Figure 4 of RFC 6040: [inner, outer, result]; undefined is dropped.
    const table: readonly (readonly [number, number, number | undefined])[] = [
      ...[notEct, ect0, ect1].map((mark) => [notEct, mark, notEct] as const),
      [notEct, ce, undefined],
      [ect0, notEct, ect0],
      [ect0, ect0, ect0],
      [ect0, ect1, ect1],
      [ect0, ce, ce],
      ...[notEct, ect0, ect1].map((mark) => [ect1, mark, ect1] as const),
      [ect1, ce, ce],
      ...[notEct, ect0, ect1, ce].map((mark) => [ce, mark, ce] as const),
    ];
    // The kernel's echo replies carry the whole field of the request, so the DSCP of the inner packet is seen as well.
    const dscp = 0x28;
    const seen: unknown[] = [];
    const right: unknown[] = [];
    for (const [outside, inside] of combinations) {
      for (const [innerMark, outerMark, result] of table) {
        const { frame, id } = ping(inside, dscp | innerMark);
        server.link.send(encapsulate(outer(outside, { tos: 0x48 | outerMark }), ipip(frame)));
        account(result === undefined ? 'congestion' : kindOf('ipip', inside, outside));
        if (result === undefined) continue;
        const reply = await echoReply(id);
        seen.push([outside, inside, innerMark, outerMark, tosOf(reply), reply.get('icmp.checksumRight')]);
        right.push([outside, inside, innerMark, outerMark, dscp | result, 'yes']);
      }
    }
    expect(seen).toEqual(right);
  });

  test.each(combinations)('packets of all sizes keep their checksums: outside %s, inside %s', async (outside, inside) => {
    // Around the 512 bytes that are summed at a time, even and odd.
    const sizes = [0, 1, 457, 458, 459, 460, 461, 470, 479, 480, 481, 969, 970, 971, 1001, 1300];
    for (const size of sizes) {
      for (const checked of [gre, gueBody]) {
        const { frame, id } = ping(inside, 0, size);
        server.link.send(
          checked === gre
            ? encapsulate(outer(outside), gre(frame, { checksum: true }))
            : encapsulateInUdp(outer(outside), gueBody(frame, 0), { checksum: true }),
        );
        account(kindOf(checked === gre ? 'gre' : 'gue0', inside, outside));
        const reply = await echoReply(id);
        expect(String(reply.get('payload')).length / 2).toBe(size);
      }
    }
  });

  test('fragments of the inner packet are put together by the kernel', async () => {
    const whole = ping('ipv4', 0, 1200);
    const body = whole.frame.subarray(34);
    const half = 608;
    const fragments = [
      { fragmentOffset: 0, moreFragments: true, bytes: body.subarray(0, half) },
      { fragmentOffset: half / 8, moreFragments: false, bytes: body.subarray(half) },
    ].map(({ bytes, ...fields }) =>
      packet()
        .eth(ethernet)
        .ipv4({ source: client.ipv4, destination: vip.ipv4, protocol: 1, id: 77, ...fields })
        .payload(bytes)
        .build(),
    );
    server.link.send(...fragments.map((frame) => encapsulate(outer('ipv6'), ipip(frame))));
    account('ipip_4in6', fragments.length);
    expect(String((await echoReply(whole.id)).get('payload')).length / 2).toBe(1200);
  });

  test.each<[string, string, (frame: Uint8Array) => Uint8Array]>([
    [
      'IPv4 options outside',
      'ipip_4in4',
      (frame) => encapsulate(outer('ipv4', { ipv4: { options: [1, 1, 1, 0] } }), ipip(frame)),
    ],
    [
      'an encapsulation limit outside (RFC 2473)',
      'ipip_4in6',
      (frame) => encapsulate(outer('ipv6', { encapsulationLimit: true }), ipip(frame)),
    ],
    [
      'padding behind the outer packet',
      'ipip_4in4',
      (frame) => Uint8Array.from([...encapsulate(outer('ipv4'), ipip(frame)), 1, 2, 3, 4]),
    ],
    [
      'private data in the GUE header',
      'gue0_4in4',
      (frame) => encapsulateInUdp(outer('ipv4'), gueBody(frame, 0, 2, 0, [1, 2, 3, 4, 5, 6, 7, 8])),
    ],
    [
      'a UDP checksum that the sender left to a card: the sum of the pseudo header',
      'gue0_4in6',
      (frame) => {
        const body = gueBody(frame, 0);
        const sum = pseudoHeaderSum(ipBytes(router.ipv6), ipBytes(own.ipv6), 17, 8 + body.length);
        const whole = encapsulateInUdp(outer('ipv6'), body);
        whole.set([sum >> 8, sum & 0xff], 14 + 40 + 6);
        return whole;
      },
    ],
    [
      'another address of the prefix',
      'ipip_4in6',
      (frame) => encapsulate(outer('ipv6', { source: '2001:db8:2::ff' }), ipip(frame)),
    ],
  ])('taken off as well: %s', async (_name, counter, wrap) => {
    const { frame, id } = ping('ipv4');
    server.link.send(wrap(frame));
    account(counter);
    expect((await echoReply(id)).get('ip.source')).toBe(vip.ipv4);
  });

  const stranger = { ipv4: '198.51.100.99', ipv6: '2001:db8:2::1:1' } as const;
  const cut = (frame: Uint8Array, bytes: number) => frame.subarray(0, frame.length - bytes);
  test.each<[string, string, (frame: Uint8Array) => Uint8Array]>([
    ['untrusted', 'from an IPv4 stranger', (frame) => encapsulate(outer('ipv4', { source: stranger.ipv4 }), ipip(frame))],
    ['untrusted', 'from an IPv6 stranger', (frame) => encapsulate(outer('ipv6', { source: stranger.ipv6 }), ipip(frame))],
    [
      'untrusted',
      'GUE from a stranger',
      (frame) => encapsulateInUdp(outer('ipv4', { source: stranger.ipv4 }), gueBody(frame, 1)),
    ],
    ['bad_checksum', 'GRE', (frame) => encapsulate(outer('ipv4'), gre(frame, { checksum: true, checksumError: 0x100 }))],
    [
      'bad_checksum',
      'UDP over IPv4',
      (frame) => encapsulateInUdp(outer('ipv4'), gueBody(frame, 0), { checksum: true, checksumError: 1 }),
    ],
    [
      'bad_checksum',
      'UDP over IPv6',
      (frame) => encapsulateInUdp(outer('ipv6'), gueBody(frame, 1), { checksum: true, checksumError: 1 }),
    ],
    [
      'outer_fragment',
      'a first fragment',
      (frame) => encapsulate(outer('ipv4', { ipv4: { dontFragment: false, moreFragments: true } }), ipip(frame)),
    ],
    [
      'outer_fragment',
      'a later fragment',
      (frame) => encapsulate(outer('ipv4', { ipv4: { dontFragment: false, fragmentOffset: 100 } }), ipip(frame)),
    ],
    [
      'outer_fragment',
      'a first fragment of GUE',
      (frame) => encapsulateInUdp(outer('ipv4', { ipv4: { dontFragment: false, moreFragments: true } }), gueBody(frame, 0)),
    ],
    ['malformed', 'an inner packet longer than the outer one', (frame) => encapsulate(outer('ipv4'), ipip(cut(frame, 8)))],
    ['malformed', 'an inner header cut off', (frame) => encapsulate(outer('ipv4'), ipip(frame.subarray(0, 14 + 12)))],
    ['malformed', 'an outer packet longer than the frame', (frame) => cut(encapsulate(outer('ipv4'), ipip(frame)), 4)],
    ['malformed', 'IPv4 announced as IPv6', (frame) => encapsulate(outer('ipv4'), { protocol: 41, bytes: frame.subarray(14) })],
    [
      'malformed',
      'UDP longer than its packet',
      (frame) => encapsulateInUdp(outer('ipv4', { ipv4: { totalLength: 60 } }), gueBody(frame, 0)),
    ],
    ['unsupported', 'a GUE control message', (frame) => encapsulateInUdp(outer('ipv4'), gueBody(frame, 0, 0x20))],
    ['unsupported', 'a GUE flag', (frame) => encapsulateInUdp(outer('ipv4'), gueBody(frame, 0, 0, 1))],
    ['unsupported', 'GUE variant 2', (frame) => encapsulateInUdp(outer('ipv4'), gueBody(frame, 0, 0x80))],
  ])('dropped as %s: %s', async (counter, _name, wrap) => {
    const refused = ping('ipv4');
    const witness = ping('ipv4');
    server.link.send(wrap(refused.frame), encapsulate(outer('ipv4'), ipip(witness.frame)));
    const replies: string[] = [];
    await server.link.receive((frame) => {
      const { fields } = decodePacket(frame);
      if (fields.get('icmp.type') !== 0) return undefined;
      replies.push(String(fields.get('icmp.rest')));
      return fields.get('icmp.rest') === witness.id ? true : undefined;
    });
    expect(replies).toEqual([witness.id]);
    account(counter);
    account('ipip_4in4');
  });

  test.each<[string, number, Uint8Array]>([
    [
      'a tunnel packet for no VIP',
      1,
      encapsulate(
        outer('ipv4'),
        ipip(packet().eth(ethernet).ipv4({ source: client.ipv4, destination: '203.0.113.99' }).icmp({ type: 8 }).build()),
      ),
    ],
    ['GRE with a key', 0, encapsulate(outer('ipv4'), gre(ping('ipv4').frame, { flags: 0x2000 }))],
    ['GUE to another port', 0, encapsulateInUdp(outer('ipv4'), gueBody(ping('ipv4').frame, 0), { port: 6081 })],
    [
      'a stranger with something broken',
      0,
      encapsulate(outer('ipv4', { source: stranger.ipv4 }), ipip(ping('ipv4').frame.subarray(0, 30))),
    ],
  ])('left to the kernel, which knows nobody for it: %s', async (_name, other, frame) => {
    server.link.send(frame);
    if (other > 0) account('other_tunnel', other);
    const error = await server.link.receive((answer) => {
      const { fields } = decodePacket(answer);
      return fields.get('icmp.type') === 3 ? fields : undefined;
    });
    // 2: protocol unreachable, 3: port unreachable.
    expect([2, 3]).toContain(error.get('icmp.code'));
    expect(error.get('ip.source')).toBe(own.ipv4);
  });

  test('a tagged frame belongs to another interface', async () => {
    const tagged = ping('ipv4');
    const witness = ping('ipv4');
    const plain = encapsulate(outer('ipv4'), ipip(tagged.frame));
    const withTag = Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, 0, 5, ...plain.subarray(12)]);
    server.link.send(withTag, encapsulate(outer('ipv4'), ipip(witness.frame)));
    const first = await server.link.receive((answer) => {
      const { fields } = decodePacket(answer);
      return fields.get('icmp.type') === 0 ? fields.get('icmp.rest') : undefined;
    });
    expect(first).toBe(witness.id);
    account('ipip_4in4');
  });

  describe('on a host that forwards', () => {
    beforeAll(async () => {
      await server.runChecked(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    });
    afterAll(async () => {
      await server.runChecked(['sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0']);
    });

    test.each(combinations)('its own tunnels are taken off: outside %s, inside %s', async (outside, inside) => {
      const { frame, id } = ping(inside);
      server.link.send(encapsulate(outer(outside), ipip(frame)));
      account(kindOf('ipip', inside, outside));
      expect((await echoReply(id)).get('ip.source')).toBe(vip[inside]);
    });

    test.each([
      ['ipv4', '198.51.100.200'],
      ['ipv6', '2001:db8:99::1'],
    ] as const)('tunnels of others pass through it whole: %s', async (outside, destination) => {
      const { frame } = ping('ipv4');
      server.link.send(encapsulate(outer(outside, { destination }), ipip(frame)));
      const passed = await server.link.receive((answer) => {
        const { fields, protocol } = decodePacket(answer);
        return fields.get('ip.destination') === destination ? { fields, protocol } : undefined;
      });
      expect(passed.protocol).toBe(4);
      expect(passed.fields.get('payload')).toBe(Buffer.from(frame.subarray(14)).toString('hex'));
    });
  });

  describe('with packets that the kernel merged (GRO)', () => {
    // Merged packets are held until the timer ends, so that frames sent one by one meet.
    const set = (state: 'on' | 'off', nanoseconds: number) =>
      server.runChecked([
        'sh',
        '-c',
        `ethtool -K eth0 gro ${state} && echo ${nanoseconds} > /sys/class/net/eth0/gro_flush_timeout`,
      ]);
    beforeAll(() => set('on', 20_000_000));
    afterAll(() => set('off', 0));

    test.each(combinations)('HTTP with a body: outside %s, inside %s', async (outside, inside) => {
      const name = kindOf('ipip', inside, outside);
      const earlier = (await counters())[name] ?? 0;
      let sent = 0;
      const response = await handmadeHttp({
        link: server.link,
        client: client[inside],
        clientPort: port++,
        server: vip[inside],
        body: Array.from({ length: 40 }, (_, i) => String(i % 10).repeat(1000)),
        wrap: (frame) => {
          sent += 1;
          return encapsulate(outer(outside), ipip(frame));
        },
      });
      expect(response).toContain(`\r\n\r\nto ${vip[inside]} from ${client[inside]}\n`);
      const seen = ((await counters())[name] ?? 0) - earlier;
      expect(seen).toBeLessThan(sent);
      account(name, seen);
    });
  });

  test('a strict reverse path filter lets the inner packets in, for they seem to come by the wire', async () => {
    await server.runChecked(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=1']);
    try {
      const { frame, id } = ping('ipv4');
      server.link.send(encapsulate(outer('ipv4'), ipip(frame)));
      account('ipip_4in4');
      expect((await echoReply(id)).get('ip.source')).toBe(vip.ipv4);
    } finally {
      await server.runChecked(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0']);
    }
  });

  test('every packet of these tests was counted once, by what became of it', async () => {
    await expect.poll(counters).toEqual(expected);
  });

  test('undo leaves the server as it was: addresses, parameters, hook, program, record', async () => {
    await server.realserver('undo');
    expect(await server.snapshot()).toBe(before);
    expect(program).toMatch(/^\d+$/);
    await expect.poll(async () => (await server.run(['bpftool', 'prog', 'show', 'id', program])).code).not.toBe(0);
    expect((await readStatus()).entries).toEqual([]);
  });
});

describe('l3dsr', () => {
  const dscp = 13;
  const mark = dscp << 2;
  let before = '';
  let echo: ManagedProcess;

  beforeAll(async () => {
    before = await server.snapshot();
    await server.realserver('l3dsr', '--vip', Object.values(vip).join(','), '--dscp', String(dscp));
    echo = await server.startEcho(Object.values(vip), echoPort);
  });
  afterAll(async () => {
    await echo.stop();
    await server.realserver('undo');
  });

  /** An IP header from the client to the server's own address, as the balancer leaves it. */
  function marked(family: Family, tos = mark): PacketBuilder {
    const start = packet().eth(ethernet);
    return family === 'ipv4'
      ? start.ipv4({ source: client.ipv4, destination: own.ipv4, tos })
      : start.ipv6({ source: client.ipv6, destination: own.ipv6, trafficClass: tos });
  }

  function udpAnswer(sourcePort: number): Promise<Map<string, string | number>> {
    return server.link.receive((frame) => {
      const { fields } = decodePacket(frame);
      return fields.get('udp.destinationPort') === sourcePort ? fields : undefined;
    });
  }

  test.each(families)('HTTP by a marked packet to the own address: %s', async (family) => {
    const response = await handmadeHttp({
      link: server.link,
      client: client[family],
      clientPort: port++,
      server: vip[family],
      wrap: (frame) => {
        // The client's segment with the balancer's changes, built anew: checksums are those of the own address.
        const { fields } = decodePacket(frame);
        const payload = Buffer.from(String(fields.get('payload')), 'hex');
        return marked(family)
          .tcp({
            sourcePort: Number(fields.get('tcp.sourcePort')),
            destinationPort: 80,
            seq: Number(fields.get('tcp.seq')),
            ack: Number(fields.get('tcp.ack')),
            flags: String(fields.get('tcp.flags')),
          })
          .payload(payload)
          .build();
      },
    });
    expect(response).toContain(`\r\n\r\nto ${vip[family]} from ${client[family]}\n`);
  });

  test.each(families)('UDP, its checksum follows the address: %s', async (family) => {
    const sourcePort = port++;
    server.link.send(marked(family).udp({ sourcePort, destinationPort: echoPort }).payload('hello').build());
    const answer = await udpAnswer(sourcePort);
    expect(answer.get('ip.source')).toBe(vip[family]);
    expect(Buffer.from(String(answer.get('payload')), 'hex').toString()).toBe('lone hello');
  });

  test('UDP without a checksum stays without one', async () => {
    const sourcePort = port++;
    server.link.send(marked('ipv4').udp({ sourcePort, destinationPort: echoPort, checksum: 0 }).payload('bare').build());
    expect((await udpAnswer(sourcePort)).get('ip.source')).toBe(vip.ipv4);
  });

  test.each(families)('a wrong UDP checksum stays wrong: %s', async (family) => {
    const [wrong, right] = [port++, port++];
    const datagram = (sourcePort: number, checksumError: number) =>
      marked(family).udp({ sourcePort, destinationPort: echoPort, checksumError }).payload('sum').build();
    server.link.send(datagram(wrong, 1), datagram(right, 0));
    const ports: unknown[] = [];
    await server.link.receive((frame) => {
      const { fields } = decodePacket(frame);
      if (!fields.has('udp.destinationPort')) return undefined;
      ports.push(fields.get('udp.destinationPort'));
      return fields.get('udp.destinationPort') === right ? true : undefined;
    });
    expect(ports).toEqual([right]);
  });

  test.each(families)('the mark is cleared and congestion marks stay: %s', async (family) => {
    for (const ecn of [0, 1, 2, 3]) {
      echoes += 1;
      const rest = [echoes >> 8, echoes & 0xff, 0, 2];
      const start = marked(family, mark | ecn);
      const request = family === 'ipv4' ? start.icmp({ type: 8, rest }) : start.icmpv6({ type: 128, rest });
      server.link.send(request.payload(20).build());
      const reply = await echoReply(Buffer.from(rest).toString('hex'));
      expect([reply.get('ip.source'), tosOf(reply)]).toEqual([vip[family], ecn]);
    }
  });

  test.each(families)('fragments all go to the VIP, and the datagram is whole: %s', async (family) => {
    const sourcePort = port++;
    const text = 'fragment '.repeat(150);
    const whole = marked(family).udp({ sourcePort, destinationPort: echoPort }).payload(text).build();
    const at = 14 + (family === 'ipv4' ? 20 : 40);
    const body = whole.subarray(at);
    const half = 640;
    const pieces = [
      { offset: 0, more: true, bytes: body.subarray(0, half) },
      { offset: half / 8, more: false, bytes: body.subarray(half) },
    ];
    const frames = pieces.map(({ offset, more, bytes }) => {
      const start = packet().eth(ethernet);
      if (family === 'ipv4') {
        const fields = { source: client.ipv4, destination: own.ipv4, tos: mark, id: 99, protocol: 17 };
        return start
          .ipv4({ ...fields, fragmentOffset: offset, moreFragments: more })
          .payload(bytes)
          .build();
      }
      const place = (offset << 3) | (more ? 1 : 0);
      return start
        .ipv6({ source: client.ipv6, destination: own.ipv6, trafficClass: mark })
        .extension({ kind: 44, nextHeader: 17, data: [place >> 8, place & 0xff, 0, 0, 0, 99] })
        .payload(bytes)
        .build();
    });
    server.link.send(...frames);
    const answer = await udpAnswer(sourcePort);
    expect([answer.get('ip.source'), answer.get('udp.checksumRight')]).toEqual([vip[family], 'yes']);
    expect(Buffer.from(String(answer.get('payload')), 'hex').toString()).toBe(`lone ${text}`);
  });

  test.each([
    ['without the mark', own.ipv4, 0],
    ['with another mark', own.ipv4, 14 << 2],
    ['to the VIP itself, as in direct routing', vip.ipv4, mark],
  ])('left alone: a packet %s', async (_name, destination, tos) => {
    echoes += 1;
    const rest = [echoes >> 8, echoes & 0xff, 0, 3];
    server.link.send(packet().eth(ethernet).ipv4({ source: client.ipv4, destination, tos }).icmp({ type: 8, rest }).build());
    const reply = await echoReply(Buffer.from(rest).toString('hex'));
    expect([reply.get('ip.source'), tosOf(reply)]).toEqual([destination, tos]);
  });

  test('each restored packet is counted by family', async () => {
    const earlier = await counters();
    for (const family of families) {
      const sourcePort = port++;
      server.link.send(marked(family).udp({ sourcePort, destinationPort: echoPort }).payload('count').build());
      await udpAnswer(sourcePort);
    }
    expect(await counters()).toEqual({
      restored_ipv4: (earlier['restored_ipv4'] ?? 0) + 1,
      restored_ipv6: (earlier['restored_ipv6'] ?? 0) + 1,
    });
  });

  test('undo leaves the server as it was', async () => {
    await echo.stop();
    await server.realserver('undo');
    expect(await server.snapshot()).toBe(before);
  });
});

describe('direct', () => {
  let before = '';

  beforeAll(async () => {
    before = await server.snapshot();
    await server.realserver('direct', '--vip', Object.values(vip).join(','));
  });
  afterAll(async () => {
    await server.realserver('undo');
  });

  /** Who answers for these addresses when a neighbour asks for one after the other. */
  async function answersTo(targets: readonly string[], last: string): Promise<unknown[]> {
    const answered: unknown[] = [];
    server.link.send(...targets.map(whoHas));
    await server.link.receive((frame) => {
      const { fields } = decodePacket(frame);
      const advertised = fields.get('icmp.type') === 136 ? fields.get('ip.source') : undefined;
      const who = fields.get('arp.operation') === 2 ? fields.get('arp.senderIp') : advertised;
      if (who !== undefined) answered.push(who);
      return who === last ? true : undefined;
    });
    return answered;
  }

  /** ARP request or neighbour solicitation (RFC 4861 4.3) from the router. */
  function whoHas(target: string): Uint8Array {
    if (!isIpv6(target)) {
      return packet()
        .eth({ source: macs.router, destination: 'ff:ff:ff:ff:ff:ff' })
        .arp({ operation: 1, senderMac: macs.router, senderIp: router.ipv4, targetMac: '00:00:00:00:00:00', targetIp: target })
        .build();
    }
    const bytes = packet().eth(ethernet).ipv6({ source: router.ipv6, destination: target }).build().subarray(38, 54);
    // Sent to the host itself, which a probe of a known neighbour is: the solicited-node group has nobody for a VIP on lo.
    return packet()
      .eth(ethernet)
      .ipv6({ source: router.ipv6, destination: target, hopLimit: 255 })
      .icmpv6({ type: 135 })
      .payload(Uint8Array.from([...bytes, 1, 1, 2, 0, 0, 0, 5, 1]))
      .build();
  }

  test.each(families)('HTTP to the VIP in a frame to the server: %s', async (family) => {
    const response = await handmadeHttp({
      link: server.link,
      client: client[family],
      clientPort: port++,
      server: vip[family],
      wrap: (frame) => toServer(frame),
    });
    expect(response).toContain(`\r\n\r\nto ${vip[family]} from ${client[family]}\n`);
  });

  function toServer(frame: Uint8Array): Uint8Array {
    const addresses = packet()
      .eth({ ...ethernet, type: 0 })
      .build()
      .subarray(0, 12);
    return Uint8Array.from([...addresses, ...frame.subarray(12)]);
  }

  test.each(families)('the network hears nothing of the VIP: %s', async (family) => {
    expect(await answersTo([vip[family], own[family]], own[family])).toEqual([own[family]]);
  });

  test('without it the server answers ARP for every address it has', async () => {
    await server.realserver('undo');
    await server.runChecked(['ip', 'address', 'add', `${vip.ipv4}/32`, 'dev', 'lo']);
    try {
      expect(await answersTo([vip.ipv4, own.ipv4], own.ipv4)).toEqual([vip.ipv4, own.ipv4]);
    } finally {
      await server.runChecked(['ip', 'address', 'delete', `${vip.ipv4}/32`, 'dev', 'lo']);
    }
    await server.realserver('direct', '--vip', Object.values(vip).join(','));
  });

  test('the server asks for its neighbours in its own name, not in that of the VIP', async () => {
    // An answer from the VIP to a neighbour that is not known yet.
    const { frame, id } = (() => {
      echoes += 1;
      const rest = [echoes >> 8, echoes & 0xff, 0, 4];
      const start = packet().eth(ethernet).ipv4({ source: '192.0.2.77', destination: vip.ipv4 });
      return { frame: start.icmp({ type: 8, rest }).build(), id: Buffer.from(rest).toString('hex') };
    })();
    server.link.send(frame);
    const asked = await server.link.receive((answer) => {
      const { fields } = decodePacket(answer);
      return fields.get('arp.targetIp') === '192.0.2.77' ? fields : undefined;
    });
    expect(asked.get('arp.senderIp')).toBe(own.ipv4);
    server.link.send(
      packet()
        .eth(ethernet)
        .arp({ operation: 2, senderMac: macs.router, senderIp: '192.0.2.77', targetMac: macs.server, targetIp: own.ipv4 })
        .build(),
    );
    expect((await echoReply(id)).get('ip.source')).toBe(vip.ipv4);
  });

  test('connections of the server itself never come from a VIP', async () => {
    const routes = await server.runChecked(['ip', 'route', 'get', client.ipv4]);
    expect(routes).toContain(`src ${own.ipv4}`);
    expect(await server.runChecked(['ip', 'route', 'get', client.ipv6])).toContain(`src ${own.ipv6}`);
  });

  test('status tells what somebody else changed since, by its exit code too', async () => {
    await server.runChecked(['sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=0']);
    const result = await server.run([...millraceProgram(), 'realserver', 'status']);
    expect(result.code).toBe(4);
    expect(result.stdout).toContain('CHANGED   net.ipv4.conf.all.arp_ignore: 0, was set to 1 (before: 0)');
    await server.realserver('direct', '--vip', Object.values(vip).join(','));
    expect((await readStatus()).ok).toBe(true);
  });

  test('undo leaves the server as it was', async () => {
    await server.realserver('undo');
    expect(await server.snapshot()).toBe(before);
  });
});

describe('a hook that somebody else uses', () => {
  afterEach(async () => {
    await server.realserver('undo');
    await server.run(['tc', 'qdisc', 'delete', 'dev', 'eth0', 'clsact']);
  });

  test('stays with its filters when the tunnel goes', async () => {
    await server.runChecked(['tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact']);
    await server.runChecked([
      'tc',
      'filter',
      'add',
      'dev',
      'eth0',
      'egress',
      'prio',
      '3',
      'protocol',
      'all',
      'bpf',
      'bytecode',
      '1,6 0 0 0',
    ]);
    const filters = () => server.runChecked(['tc', 'filter', 'show', 'dev', 'eth0', 'egress']);
    const before = await filters();
    await server.realserver('tunnel', '--vip', vip.ipv4, '--from', router.ipv4);
    await server.realserver('undo');
    expect(await filters()).toBe(before);
    expect(before).toContain('bytecode');
  });
});
