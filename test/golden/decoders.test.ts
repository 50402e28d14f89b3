// Independent witnesses: tshark and scapy read every expected capture, and must see the addresses, ports and checksums that our own
// decoder sees. A builder that is wrong in the same way as its decoder would be found here. Of packets with a packet inside (tunnels,
// ICMP errors) they must see what the case's definition says; nested.ts reads those. Fragments, put together by tshark, must have the
// checksum of their datagram.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CapturedPacket, decodePacket, writePcap } from '../support/packet/index.js';
import { goldenCases } from './definitions/index.js';
import { web6Flow, webFlow } from './support/flow.js';
import { type NestedPacket, nestedByScapy, nestedByTshark, nestedByUs, reassembledByTshark } from './support/nested.js';

/** One packet as a witness sees it. Checksum verdicts: 1 right, 0 wrong, '' none or not looked at. */
interface Seen {
  readonly source: string;
  readonly destination: string;
  readonly ports: string;
  readonly ttl: string;
  readonly ipChecksum: string;
  readonly transportChecksum: string;
}

const TSHARK_FIELDS = [
  'ip.src',
  'ipv6.src',
  'ip.dst',
  'ipv6.dst',
  'tcp.srcport',
  'tcp.dstport',
  'udp.srcport',
  'udp.dstport',
  'sctp.srcport',
  'sctp.dstport',
  'ip.ttl',
  'ipv6.hlim',
  'ip.checksum.status',
  'tcp.checksum.status',
  'udp.checksum.status',
  'sctp.checksum.status',
  'icmp.checksum.status',
  'icmpv6.checksum.status',
] as const;

/** tshark with all checksum validation on; its statuses are 0 bad, 1 good, 2 unverified, 3 not present. */
function readByTshark(file: string): Seen[] {
  const validate = ['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum'].flatMap((name) => ['-o', `${name}:TRUE`]);
  validate.push('-o', 'sctp.checksum:crc-32c', '-o', 'ip.defragment:FALSE', '-o', 'ipv6.defragment:FALSE');
  // Without the heuristics a payload is a payload: no second IP header inside ICMP or DNS confuses the columns.
  const fields = TSHARK_FIELDS.flatMap((name) => ['-e', name]);
  const out = execFileSync(
    'tshark',
    ['-r', file, '-n', ...validate, '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=f', ...fields],
    {
      encoding: 'utf8',
      maxBuffer: 64 << 20,
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  return out
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const v = line.split('|');
      const at = (name: (typeof TSHARK_FIELDS)[number]): string => v[TSHARK_FIELDS.indexOf(name)] ?? '';
      const verdict = (status: string): string => (status === '0' || status === '1' ? status : '');
      const sums = ['tcp', 'udp', 'sctp', 'icmp', 'icmpv6'].map((p) =>
        verdict(at(`${p}.checksum.status` as (typeof TSHARK_FIELDS)[number])),
      );
      return {
        source: at('ip.src') || at('ipv6.src'),
        destination: at('ip.dst') || at('ipv6.dst'),
        ports: [
          at('tcp.srcport') || at('udp.srcport') || at('sctp.srcport'),
          at('tcp.dstport') || at('udp.dstport') || at('sctp.dstport'),
        ].join('>'),
        ttl: at('ip.ttl') || at('ipv6.hlim'),
        ipChecksum: verdict(at('ip.checksum.status')),
        transportChecksum: sums.find((s) => s !== '') ?? '',
      };
    });
}

/** scapy sums up the bytes as they came, with its own pseudo headers: a right checksum makes the sum zero. */
const SCAPY_PROGRAM = `
import sys, json
from scapy.all import PcapReader, IP, IPv6, IPv6ExtHdrFragment, TCP, UDP, ICMP
from scapy.layers.sctp import SCTP, crc32c
from scapy.layers.inet import in4_chksum
from scapy.layers.inet6 import in6_chksum
from scapy.utils import checksum

def transport(packet):
    for kind in (TCP, UDP, SCTP, ICMP):
        if kind in packet:
            return packet[kind]
    layer = packet.lastlayer()
    while layer is not None and not layer.__class__.__name__.startswith("ICMPv6"):
        layer = layer.underlayer
    return layer

def part(packet):
    if IP in packet:
        return packet[IP].frag != 0 or "MF" in packet[IP].flags
    return IPv6ExtHdrFragment in packet and (packet[IPv6ExtHdrFragment].offset != 0 or packet[IPv6ExtHdrFragment].m == 1)

def verdict(packet, l4):
    if part(packet) or l4 is None or UDP in packet and l4.chksum == 0:
        return ""
    if SCTP in packet:
        whole = l4.original
        return "1" if crc32c(whole[:8] + bytes(4) + whole[12:]) == int.from_bytes(whole[8:12], "big") else "0"
    if ICMP in packet:
        return "1" if checksum(l4.original) == 0 else "0"
    number = 6 if TCP in packet else 17 if UDP in packet else 58
    sum_of = in4_chksum if IP in packet else in6_chksum
    return "1" if sum_of(number, l4.underlayer, l4.original) == 0 else "0"

seen = []
for packet in PcapReader(sys.argv[1]):
    ip = packet[IP] if IP in packet else packet[IPv6]
    l4 = transport(packet)
    ports = "%d>%d" % (l4.sport, l4.dport) if TCP in packet or UDP in packet or SCTP in packet else ">"
    head = ("1" if checksum(ip.original[:ip.ihl * 4]) == 0 else "0") if IP in packet else ""
    ttl = ip.ttl if IP in packet else ip.hlim
    seen.append(dict(source=ip.src, destination=ip.dst, ports=ports, ttl=str(ttl), ipChecksum=head, transportChecksum=verdict(packet, l4)))
json.dump(seen, sys.stdout)
`;

function readByScapy(file: string): Seen[] {
  return JSON.parse(
    execFileSync('/usr/bin/python3', ['-c', SCAPY_PROGRAM, file], { encoding: 'utf8', maxBuffer: 64 << 20 }),
  ) as Seen[];
}

function readByUs(packets: readonly CapturedPacket[]): Seen[] {
  return packets.map(({ bytes }) => {
    const { fields } = decodePacket(bytes);
    const get = (...names: string[]): string => String(names.map((n) => fields.get(n)).find((v) => v !== undefined) ?? '');
    const verdict = (text: string): string => ({ yes: '1', NO: '0' })[text] ?? '';
    return {
      source: get('ip.source'),
      destination: get('ip.destination'),
      ports: `${get('tcp.sourcePort', 'udp.sourcePort', 'sctp.sourcePort')}>${get('tcp.destinationPort', 'udp.destinationPort', 'sctp.destinationPort')}`,
      ttl: get('ip.ttl', 'ip.hopLimit'),
      ipChecksum: verdict(get('ip.checksumRight')),
      transportChecksum: verdict(get('tcp.checksumRight', 'udp.checksumRight', 'sctp.checksumRight', 'icmp.checksumRight')),
    };
  });
}

const leaving = goldenCases.flatMap((c) =>
  c.leaving.map((p, i) => ({ name: c.name, packet: p, nested: c.nested.get(i + 1) })).filter((l) => l.nested === undefined),
);
const nested: NestedPacket[] = goldenCases.flatMap((c) =>
  [...c.nested].flatMap(([number, expected]) => {
    const packet = c.leaving[number - 1];
    return packet === undefined ? [] : [{ name: c.name, bytes: packet.bytes, expected }];
  }),
);
const hasTshark = spawnSync('tshark', ['--version']).status === 0;
const hasScapy = spawnSync('/usr/bin/python3', ['-c', 'import scapy']).status === 0;

describe('independent decoders', () => {
  let directory = '';
  let everything = '';
  let damaged = '';

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'millrace-decoders-'));
    everything = join(directory, 'out.pcap');
    writePcap(
      everything,
      leaving.map((l) => l.packet),
    );
    damaged = join(directory, 'damaged.pcap');
    writePcap(damaged, damagedPackets());
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.skipIf(!hasTshark)('tshark reads in PROXY headers what the cases say', () => {
    const fields = ['version', 'src.ipv4', 'src.ipv6', 'srcport', 'dst.ipv4', 'dst.ipv6', 'dstport'].flatMap((name) => [
      '-e',
      `proxy.${name}`,
    ]);
    const first = ['-o', 'tcp.try_heuristic_first:TRUE', '-o', 'udp.try_heuristic_first:TRUE'];
    // Connections of several cases have the same ports, so each is read by itself.
    const read = (name: string): string[] => {
      const file = join(directory, 'proxy.pcap');
      writePcap(
        file,
        leaving.filter((one) => one.name === name).map(({ packet }) => packet),
      );
      const argv = ['-r', file, '-n', ...first, '-T', 'fields', '-E', 'separator= ', ...fields];
      const lines = execFileSync('tshark', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
      return lines.map((line) => line.trim().replaceAll(/ +/g, ' ')).filter(Boolean);
    };
    const [ipv4, ipv6] = ['198.51.100.7 40000 203.0.113.10', '2001:db8:1::7 40000 2001:db8:f::10'];
    // Of version 1 tshark shows no number, of a retransmission nothing.
    expect(read('proxy-v1-tcp')).toEqual([`${ipv4} 80`]);
    expect(read('proxy-v1-tcp6')).toEqual([`${ipv6} 80`]);
    expect(read('proxy-v2-tcp')).toEqual([`2 ${ipv4} 80`]);
    expect(read('proxy-v2-tcp6')).toEqual([`2 ${ipv6} 80`]);
    expect(read('proxy-v2-server-first')).toEqual([`2 ${ipv4} 80`]);
    expect(read('proxy-v2-udp')).toEqual([`2 ${ipv4} 53`, `2 ${ipv4} 53`, `2 ${ipv6} 53`]);
    expect(read('proxy-v2-udp-tlvs')).toEqual([`2 ${ipv4} 53`]);
  });

  const witnesses = [
    { name: 'tshark', available: hasTshark, read: readByTshark },
    { name: 'scapy', available: hasScapy, read: readByScapy },
  ];
  for (const { name, available, read } of witnesses) {
    it.skipIf(!available)(`${name} sees in every expected packet what our decoder sees`, () => {
      const seen = read(everything);
      const ours = readByUs(leaving.map((l) => l.packet));
      expect(seen.length).toBe(ours.length);
      const differences = ours.flatMap((own, i) =>
        JSON.stringify(own) === JSON.stringify(seen[i])
          ? []
          : [`${leaving[i]?.name}: ours ${JSON.stringify(own)}, ${name} ${JSON.stringify(seen[i])}`],
      );
      expect(differences).toEqual([]);
    });

    it.skipIf(!available)(`${name} sees in every tunnel and every ICMP error the packet that the definition put there`, () => {
      const seen = (name === 'tshark' ? nestedByTshark : nestedByScapy)(directory, nested);
      const wanted = nested.map(nestedByUs);
      expect(seen.length).toBe(nested.length);
      const differences = wanted.flatMap((want, i) =>
        JSON.stringify(want) === JSON.stringify(seen[i])
          ? []
          : [`${nested[i]?.name}: defined ${JSON.stringify(want)}, ${name} ${JSON.stringify(seen[i])}`],
      );
      expect(differences).toEqual([]);
    });

    it.skipIf(!available)(`${name} reports packets that were damaged on purpose`, () => {
      const [ip, tcp, tcp6, good] = read(damaged);
      expect(ip).toMatchObject({ ipChecksum: '0' });
      expect(tcp).toMatchObject({ ipChecksum: '1', transportChecksum: '0' });
      expect(tcp6).toMatchObject({ transportChecksum: '0' });
      expect(good).toMatchObject({ ipChecksum: '1', transportChecksum: '1' });
    });
  }
});

describe('fragments', () => {
  const cases = goldenCases.filter((c) => /^fragments-(fullnat|.*-v4)/.test(c.name));
  it.skipIf(!hasTshark)('are, put together by tshark, datagrams with right checksums', () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-fragments-'));
    try {
      for (const golden of cases) {
        const seen = reassembledByTshark(directory, golden.leaving);
        expect(seen.datagrams, golden.name).toBeGreaterThan(0);
        expect(seen.wrong, golden.name).toEqual([]);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

function damagedPackets(): CapturedPacket[] {
  const flip = (bytes: Uint8Array, at: number): Uint8Array => {
    const out = Uint8Array.from(bytes);
    out[at] = (out[at] ?? 0) ^ 1;
    return out;
  };
  const frame = webFlow().fromClient({ payload: 'hello' }).leaving;
  const frame6 = web6Flow().fromClient({ payload: 'hello' }).leaving;
  return [flip(frame, 14 + 4), flip(frame, 14 + 20 + 7), flip(frame6, 14 + 40 + 24), frame].map((bytes) => ({ time: 0n, bytes }));
}
