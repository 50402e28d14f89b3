// Every forwarding mode with real traffic: real servers, prepared by `millrace realserver` where the mode asks for it, both families, and
// IPv6 clients of IPv4 servers and the other way round where the mode can do that. `npm run test:modes` prints what was found.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FORWARD_MODES, type ForwardMode, keepsFamily, keepsPort } from '../../src/config/forward-mode.js';
import {
  closedPort,
  echoPort,
  type Family,
  families,
  interfaces,
  mappedEchoPort,
  mappedHttpPort,
  plans,
  uploadPort,
} from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { accounted } from '../../src/lab/balancer-events.js';
import { answeredByAll } from '../../src/lab/demo-report.js';
import { forgetPathMtus } from '../../src/lab/second-path.js';
import { macs } from '../../src/lab/topology.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { packet } from '../support/packet/index.js';
import { full, useLab } from './support/lab-fixture.js';
import { record } from './support/mode-table.js';
import { RawLink } from './support/raw-link.js';
import { SctpServers, sctpEcho } from './support/sctp.js';
import { type Place, Witness } from './support/witness.js';

const lab = useLab({ secondPath: true });

const size = full
  ? { requests: 100, download: 100 << 20, narrow: 8 << 20, upload: 16 << 20, datagrams: 1000, messages: 250, large: 20 }
  : { requests: 10, download: 4 << 20, narrow: 1 << 20, upload: 1 << 20, datagrams: 50, messages: 10, large: 2 };
const largeDatagram = 60_000;
const largeMessage = 30_000;
const marker = 'wrong on purpose';
const markerPort = 6666;

const places: readonly Place[] = [
  ['client', interfaces.client],
  ['client', interfaces.back],
  ['rs1', interfaces.server],
  ['rs2', interfaces.server],
];

const digit = { ipv4: '4', ipv6: '6' } as const;
const mebibytes = (bytes: number) => `${Math.round(bytes / (1 << 20))} MiB`;
const modes: readonly ForwardMode[] = FORWARD_MODES;

/** Family of the client and family of the server. */
function combinations(mode: ForwardMode): (readonly [Family, Family])[] {
  return families.flatMap((client) =>
    families.filter((server) => server === client || !keepsFamily(mode)).map((server) => [client, server] as const),
  );
}

/** A datagram to the echo whose UDP checksum is wrong: whoever says that there is none such is not looking. */
async function sendWrongChecksum(client: Family, vip: string): Promise<void> {
  const [source = ''] = plans[client].clients;
  const start = packet().eth({ source: macs.client, destination: macs.wan });
  const ip = client === 'ipv4' ? start.ipv4({ source, destination: vip }) : start.ipv6({ source, destination: vip });
  const frame = ip
    .udp({ sourcePort: markerPort, destinationPort: echoPort, checksumError: 0x1234 })
    .payload(Buffer.from(marker))
    .build();
  await using link = await RawLink.open(lab().topology.namespace('client'), interfaces.client);
  link.send(frame);
}

describe.each(modes)('%s', (mode) => {
  let balancer: Balancer;
  let sctp: SctpServers;
  beforeAll(async () => {
    await lab().useMode(mode);
    sctp = await SctpServers.start(lab());
    balancer = await lab().startBalancer(lab().writeConfig({ mode, everyService: true }));
  });
  afterAll(async () => {
    await balancer?.[Symbol.asyncDispose]();
    await sctp?.[Symbol.asyncDispose]();
  });

  describe.each(combinations(mode))('%s client, %s server', (client, server) => {
    const vip = client === server ? plans[client].vip : plans[client].routedVip;
    const both = `${digit[client]}${digit[server]}`;
    const note = (protocol: 'tcp' | 'udp' | 'sctp', check: string, figure: string) => record(mode, both, protocol, check, figure);
    let witness: Witness;
    beforeAll(async () => {
      await forgetPathMtus(lab().topology);
      witness = await Witness.start(lab(), places);
    });
    afterAll(async () => {
      await witness?.[Symbol.asyncDispose]();
    });

    test('HTTP requests are answered by both real servers', async () => {
      const ports = keepsPort(mode) ? [80] : [80, mappedHttpPort];
      for (const port of ports) {
        const result = await lab().traffic.get(serviceUrl(vip, '/', port), size.requests);
        expect(result.reasons).toEqual([]);
        expect(answeredByAll(result.byServer)).toBe(true);
      }
      note('tcp', 'small', `${size.requests * ports.length} requests`);
    });

    test('a download arrives unchanged', async () => {
      const file = lab().writeFile('download', size.download);
      const download = await lab().traffic.download(serviceUrl(vip, '/files/download'));
      expect(download).toMatchObject(file);
      note('tcp', 'large', `${mebibytes(file.bytes)} down`);
    });

    test('an upload arrives unchanged, whatever the way adds to its packets', async () => {
      const file = lab().writeFile('upload', size.upload);
      const answer = await lab().traffic.upload(serviceUrl(vip, '/', uploadPort), join(lab().directory, 'files', 'upload'));
      expect(answer.split(' ')[1]).toBe(file.sha256);
      note('tcp', 'up', `${mebibytes(file.bytes)} up`);
    });

    test('datagrams are echoed by both real servers', async () => {
      const ports = keepsPort(mode) ? [echoPort] : [echoPort, mappedEchoPort];
      for (const port of ports) {
        const echo = await lab().traffic.datagrams({ address: vip, port, sockets: 10, datagrams: size.datagrams / 10 });
        expect(echo).toMatchObject({ answered: size.datagrams, failed: 0 });
        expect(answeredByAll(echo.byServer)).toBe(true);
      }
      note('udp', 'small', `${size.datagrams * ports.length} datagrams`);
    });

    test('datagrams of 60,000 bytes are echoed: all fragments reach one server, and come back', async () => {
      const echo = await lab().traffic.datagrams({ address: vip, port: echoPort, datagrams: size.large, size: largeDatagram });
      expect(echo).toMatchObject({ answered: size.large, failed: 0 });
      note('udp', 'large', `${size.large} x 60 kB`);
    });

    // In the other modes the stack in user space would have to answer from an address on lo, which it does not.
    const associations = async () => {
      for (const [messages, bytes] of [[size.messages, 1000] as const, [2, largeMessage] as const]) {
        const echo = await sctpEcho(lab(), { address: vip, associations: 4, messages, size: bytes });
        expect(echo).toMatchObject({ answered: 4 * messages, failed: 0 });
        expect(answeredByAll(echo.byServer)).toBe(true);
      }
      note('sctp', 'small', `${4 * size.messages} messages`);
      note('sctp', 'large', `8 x ${largeMessage / 1000} kB`);
    };
    if (!keepsPort(mode)) test('SCTP associations are made, used and ended with both real servers', associations);

    test('a closed port of the real server is heard of by the client', async () => {
      expect(await lab().traffic.refusal(vip, closedPort)).toBe('ECONNREFUSED');
      note('udp', 'ICMP errors', 'port unreachable: ECONNREFUSED');
    });

    test('a client behind a narrow link gets its download: what says that packets are too big reaches the real server', async () => {
      const file = lab().writeFile('narrow', size.narrow);
      const download = await lab().traffic.download(serviceUrl(vip, '/files/narrow'), { from: 'far', timeout: 30_000 });
      expect(download).toMatchObject(file);
    });

    test('no checksum on the wires at client and servers is wrong but the one that was made so', async () => {
      await sendWrongChecksum(client, vip);
      const judged = await witness.judge(marker, ([eth0, , rs1, rs2]) => Boolean(eth0 && (rs1 || rs2)));
      const [eth0, eth1, rs1, rs2] = judged.map((place) => place.wrong);
      const made = [expect.stringMatching(new RegExp(`^udp: .*\\b${markerPort}\\b|^udp: .*\\b${echoPort}$`))];
      expect({ client: eth0, back: eth1, servers: [...(rs1 ?? []), ...(rs2 ?? [])] }).toEqual({
        client: made,
        back: [],
        servers: made,
      });
      const sum = (name: string) => judged.reduce((total, place) => total + (place.right[name] ?? 0), 0);
      expect(sum('tcp')).toBeGreaterThan(1_000);
      expect(sum('udp')).toBeGreaterThan(4 * size.datagrams);
      if (!keepsPort(mode)) expect(sum('sctp')).toBeGreaterThan(4 * size.messages);
      const tooBig = (judged[2]?.tooBig ?? 0) + (judged[3]?.tooBig ?? 0);
      expect(tooBig).toBeGreaterThan(0);
      note('tcp', 'ICMP errors', `${tooBig} too big, and smaller from then on`);
      note('tcp', 'checksums', `${sum('tcp')} right, 0 wrong`);
      if (!keepsPort(mode)) note('sctp', 'checksums', `${sum('sctp')} right, 0 wrong`);
      note('udp', 'checksums', `${sum('udp')} right, 0 wrong`);
    });
  });

  test('every packet is accounted for', async () => {
    const stats = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
    expect(stats.totals.forwarded).toBeGreaterThan(0);
    const unexpected = { ...stats.totals.drops };
    // Answered with an ICMP error each: that is how a sender learns what fits.
    delete unexpected['mtu_exceeded'];
    expect(unexpected).toEqual({});
  });
});
