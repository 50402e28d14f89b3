// Packets with a packet inside, read by tshark and scapy: outer addresses, inner addresses and ports, TTL and traffic class of both, and
// checksums of both. tshark has no dissector for GUE: what it says is the UDP payload goes behind the GUE header to a second tshark.
// Guarantees: what is expected comes from the definition of the case and not from the bytes. Runs in tests only.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CapturedPacket, decodePacket, encodePcap } from '../../support/packet/index.js';
import type { Nested } from './tunnel.js';

export interface NestedPacket {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly expected: Nested;
}

/** One layer as a witness sees it. */
interface Layers {
  readonly outer: string;
  readonly inner: string;
  readonly ports: string;
  /** Whether inner and outer have the same TTL and traffic class; of tunnels only. */
  readonly copied: string;
  /** Inner checksums: 1 right, 0 wrong, '' not to be told from what is there. */
  readonly checksums: string;
}

/** What the definition says; of an ICMP error inside a tunnel the ports are those of the packet that it is about. */
export function nestedByUs({ expected }: NestedPacket): Layers {
  const line = (h: { source: string; destination: string }): string => `${h.source} > ${h.destination}`;
  const tunnel = expected.kind !== 'icmp';
  return {
    outer: line(expected.outer),
    inner: line(expected.inner),
    ports: expected.inner.ports,
    copied: tunnel ? 'yes' : '',
    checksums: tunnel && expected.whole ? (expected.damaged === true ? '0' : '1') : '',
  };
}

const LINKTYPE_RAW = 101;

function rawPcap(packets: readonly Uint8Array[]): Uint8Array {
  const file = encodePcap(packets.map((bytes) => ({ time: 0n, bytes })));
  new DataView(file.buffer).setUint32(20, LINKTYPE_RAW, true);
  return file;
}

const FIELDS = [
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'ip.ttl',
  'ipv6.hlim',
  'ip.dsfield',
  'ipv6.tclass',
  'tcp.srcport',
  'tcp.dstport',
  'udp.srcport',
  'udp.dstport',
  'ip.checksum.status',
  'tcp.checksum.status',
  'udp.checksum.status',
  'udp.payload',
  'frame.protocols',
] as const;
type Row = Readonly<Record<(typeof FIELDS)[number], readonly string[]>>;

function tshark(file: string): Row[] {
  const options = ['ip.check_checksum:TRUE', 'tcp.check_checksum:TRUE', 'udp.check_checksum:TRUE'];
  options.push('ip.defragment:FALSE', 'ipv6.defragment:FALSE');
  const out = execFileSync(
    'tshark',
    [
      ...['-r', file, '-n', '-T', 'fields', '-E', 'separator=|', '-E', 'occurrence=a'],
      ...options.flatMap((o) => ['-o', o]),
      ...FIELDS.flatMap((name) => ['-e', name]),
    ],
    { encoding: 'utf8', maxBuffer: 256 << 20, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  return out
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const values = line.split('|').map((v) => (v === '' ? [] : v.split(',')));
      return Object.fromEntries(FIELDS.map((name, i) => [name, values[i] ?? []])) as unknown as Row;
    });
}

interface Seen {
  readonly text: string;
  readonly ttl: string;
  readonly tos: string;
}

/** The IP headers of a row, outermost first: tshark lists each family by itself, the order of protocols tells who comes first. */
function headersOf(row: Row): Seen[] {
  const used = { ip: 0, ipv6: 0 };
  return (row['frame.protocols'][0] ?? '')
    .split(':')
    .filter((name): name is 'ip' | 'ipv6' => name === 'ip' || name === 'ipv6')
    .map((name) => {
      const i = used[name]++;
      const [ttl, tos] = name === 'ip' ? [row['ip.ttl'][i], row['ip.dsfield'][i]] : [row['ipv6.hlim'][i], row['ipv6.tclass'][i]];
      return { text: `${row[`${name}.src`][i]} > ${row[`${name}.dst`][i]}`, ttl: ttl ?? '', tos: String(Number(tos ?? -1)) };
    });
}

const verdict = (status: string | undefined): string => (status === '0' || status === '1' ? status : '');

function innerOf(row: Row, at: number): Pick<Layers, 'ports' | 'checksums'> {
  const ports = [row['tcp.srcport'][0] ?? row['udp.srcport'][at] ?? '', row['tcp.dstport'][0] ?? row['udp.dstport'][at] ?? ''];
  const transport = verdict(row['tcp.checksum.status'][0] ?? row['udp.checksum.status'][at]);
  return { ports: ports.join('>'), checksums: transport };
}

export function nestedByTshark(directory: string, packets: readonly NestedPacket[]): Layers[] {
  const file = join(directory, 'nested.pcap');
  writeFileSync(file, encodePcap(packets.map(({ bytes }) => ({ time: 0n, bytes }))));
  const rows = tshark(file);
  const gue = packets.flatMap(({ expected }, i) => (expected.kind === 'gue' ? [i] : []));
  const innerFile = join(directory, 'inner.pcap');
  writeFileSync(
    innerFile,
    rawPcap(gue.map((i) => Uint8Array.from(Buffer.from(rows[i]?.['udp.payload'][0] ?? '', 'hex')).subarray(4))),
  );
  const innerRows = new Map(tshark(innerFile).map((row, i) => [gue[i] ?? -1, row]));
  return rows.map((row, i): Layers => {
    const expected = packets[i]?.expected;
    const inside = innerRows.get(i) ?? row;
    const [outer, second] = headersOf(row);
    const inner = innerRows.has(i) ? headersOf(inside)[0] : second;
    const { ports, checksums } = innerOf(inside, 0);
    const tunnel = expected?.kind !== 'icmp';
    return {
      outer: outer?.text ?? '',
      inner: inner?.text ?? '',
      ports,
      copied: tunnel ? (outer?.ttl === inner?.ttl && outer?.tos === inner?.tos ? 'yes' : 'no') : '',
      checksums: tunnel && expected?.whole === true ? checksums : '',
    };
  });
}

const SCAPY_PROGRAM = `
import sys, json
from scapy.all import PcapReader, IP, IPv6, TCP, UDP, Packet, ByteField, ShortField, bind_layers
from scapy.layers.inet import in4_chksum, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import in6_chksum, IPerror6

class GUE(Packet):
    name = "GUE"
    fields_desc = [ByteField("head", 0), ByteField("proto", 0), ShortField("flags", 0)]
    def guess_payload_class(self, payload):
        return IP if self.proto == 4 else IPv6

for port in (6080, 7777, 5555):
    bind_layers(UDP, GUE, dport=port)

def layers(packet):
    while packet is not None and packet.name != "NoPayload":
        yield packet
        packet = packet.payload

seen = []
for packet in PcapReader(sys.argv[1]):
    heads = [l for l in layers(packet) if isinstance(l, (IP, IPv6))]
    outer, inner = heads[0], heads[1] if len(heads) > 1 else None
    l4 = [l for l in layers(inner) if isinstance(l, (TCP, UDP, TCPerror, UDPerror))] if inner is not None else []
    l4 = l4[0] if l4 else None
    error = isinstance(inner, (IPerror, IPerror6))
    tos = lambda h: h.tos if isinstance(h, IP) else h.tc
    ttl = lambda h: h.ttl if isinstance(h, IP) else h.hlim
    copied = "" if error or inner is None else "yes" if tos(outer) == tos(inner) and ttl(outer) == ttl(inner) else "no"
    sums = ""
    if not error and l4 is not None and sys.argv[2 + len(seen)] == "1":
        number = 6 if isinstance(l4, TCP) else 17
        sum_of = in4_chksum if isinstance(inner, IP) else in6_chksum
        sums = "1" if sum_of(number, inner, bytes(l4.original)[:len(l4.original)]) == 0 else "0"
    seen.append(dict(outer="%s > %s" % (outer.src, outer.dst), inner="%s > %s" % (inner.src, inner.dst) if inner is not None else "",
                     ports="%d>%d" % (l4.sport, l4.dport) if l4 is not None else ">", copied=copied, checksums=sums))
json.dump(seen, sys.stdout)
`;

export function nestedByScapy(directory: string, packets: readonly NestedPacket[]): Layers[] {
  const file = join(directory, 'nested-scapy.pcap');
  writeFileSync(file, encodePcap(packets.map(({ bytes }) => ({ time: 0n, bytes }))));
  const whole = packets.map(({ expected }) => (expected.kind !== 'icmp' && expected.whole ? '1' : '0'));
  const out = execFileSync('/usr/bin/python3', ['-c', SCAPY_PROGRAM, file, ...whole], { encoding: 'utf8', maxBuffer: 64 << 20 });
  return JSON.parse(out) as Layers[];
}

/** What tshark makes of fragments: how many datagrams it put together, and those with a wrong UDP or TCP checksum. */
export function reassembledByTshark(
  directory: string,
  packets: readonly CapturedPacket[],
): { readonly datagrams: number; readonly wrong: readonly string[] } {
  const inner = packets.map(({ bytes }) => {
    const { l4, fields } = decodePacket(bytes);
    // GUE, which tshark does not know, is taken off by hand.
    return fields.get('udp.destinationPort') === 6080 ? bytes.subarray(l4 + 12) : bytes.subarray(14);
  });
  const file = join(directory, 'fragments.pcap');
  writeFileSync(file, rawPcap(inner));
  const out = execFileSync(
    'tshark',
    [
      ...[
        '-r',
        file,
        '-n',
        '-T',
        'fields',
        '-E',
        'separator=|',
        '-o',
        'udp.check_checksum:TRUE',
        '-o',
        'tcp.check_checksum:TRUE',
      ],
      ...['ip.fragment.count', 'ipv6.fragment.count', 'udp.checksum.status', 'tcp.checksum.status'].flatMap((name) => [
        '-e',
        name,
      ]),
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const rows = out
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('|'));
  const whole = rows.filter(([v4, v6]) => v4 !== '' || v6 !== '');
  return {
    datagrams: whole.length,
    wrong: whole.filter(([, , udp, tcp]) => udp !== '1' && tcp !== '1').map((row) => row.join('|')),
  };
}
