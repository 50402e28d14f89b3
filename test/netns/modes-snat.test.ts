// The outbound gateway with real traffic: both real servers are hosts inside, the client is the outside, and a host behind it has a narrow
// link. Real stacks at both ends, both families, two workers. `npm run test:modes` prints what was found beside the other modes.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  closedPort,
  echoPort,
  type Family,
  families,
  hostAddress,
  interfaces,
  plans,
  realServerRoles,
  uploadPort,
} from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { accounted, type BalancerStats } from '../../src/lab/balancer-events.js';
import { labProgram } from '../../src/lab/programs.js';
import { RealServer } from '../../src/lab/real-server.js';
import { forgetPathMtus, setReturnPath } from '../../src/lab/second-path.js';
import { macs } from '../../src/lab/topology.js';
import { serviceUrl, Traffic } from '../../src/lab/traffic.js';
import { packet } from '../support/packet/index.js';
import { full, useLab } from './support/lab-fixture.js';
import { record } from './support/mode-table.js';
import { RawLink } from './support/raw-link.js';
import { type Place, Witness } from './support/witness.js';

const lab = useLab({ secondPath: true });

const size = full
  ? { requests: 100, download: 100 << 20, upload: 16 << 20, datagrams: 1000, large: 20, echoes: 50 }
  : { requests: 10, download: 4 << 20, upload: 1 << 20, datagrams: 50, large: 2, echoes: 5 };
const largeDatagram = 60_000;
const marker = 'wrong on purpose';
const markerPort = 6666;

/** Number i belongs to worker i. */
const pools = { ipv4: ['198.51.100.201', '198.51.100.202'], ipv6: ['2001:db8:1::201', '2001:db8:1::202'] } as const;
const inside = { ipv4: '192.0.2.0/24', ipv6: '2001:db8:2::/64' } as const;
const both = { ipv4: '44', ipv6: '66' } as const;

const places: readonly Place[] = [
  ['client', interfaces.client],
  ['rs1', interfaces.server],
  ['rs2', interfaces.server],
];

const mebibytes = (bytes: number) => `${Math.round(bytes / (1 << 20))} MiB`;
const handedOver = (stats: BalancerStats) => stats.workers.reduce((sum, worker) => sum + worker.handoffSent, 0);

function config(): string {
  const file = lab().writeConfig({}, 'gateway.yaml');
  const matches = families.map((family) => `      - { source: "${inside[family]}", interface: ${interfaces.lan} }`);
  const pool = families.flatMap((family) => pools[family].map((address) => `"${address}"`));
  const rules = ['snat:', '  - name: office', '    match:', ...matches, `    pool: [${pool.join(', ')}]`, ''];
  appendFileSync(file, rules.join('\n'));
  return file;
}

/** What flow rules of a card outside would say, or that there are none: then answers are spread like everything else. */
async function steerPools(steered: boolean): Promise<void> {
  const rules = families.flatMap((family) => pools[family].map((address, queue) => ({ address, queue })));
  const words = [interfaces.client, String(lab().workers), JSON.stringify(steered ? rules : [])];
  await lab().topology.runChecked('client', [...labProgram('steer-main'), ...words]);
}

/** A frame of rs1 to the outside host. */
function toOutside(family: Family) {
  const ends = { source: plans[family].servers.rs1, destination: hostAddress(family, 'client') };
  const start = packet().eth({ source: macs.rs1, destination: macs.lan });
  return family === 'ipv4' ? start.ipv4(ends) : start.ipv6(ends);
}

/** An echo request of rs1 with this identifier. */
function ping(family: Family, identifier: number): Uint8Array {
  const rest = [identifier >> 8, identifier & 0xff, 0, 1];
  const start = toOutside(family);
  const message = family === 'ipv4' ? start.icmp({ type: 8, rest }) : start.icmpv6({ type: 128, rest });
  return message.payload(`ping ${identifier}`).build();
}

/** The identifier and the text of an echo reply. */
function pong(family: Family, frame: Uint8Array): { identifier: number; text: string } | undefined {
  const [at, type] = family === 'ipv4' ? [34, 0] : [54, 129];
  const etherType = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  if (etherType !== (family === 'ipv4' ? 0x0800 : 0x86dd) || frame[family === 'ipv4' ? 23 : 20] !== (family === 'ipv4' ? 1 : 58))
    return;
  if (frame[at] !== type) return;
  return { identifier: ((frame[at + 4] ?? 0) << 8) | (frame[at + 5] ?? 0), text: Buffer.from(frame.slice(at + 8)).toString() };
}

describe('snat', () => {
  let balancer: Balancer;
  const servers: RealServer[] = [];
  let outside: RealServer;
  const traffic = {} as Record<(typeof realServerRoles)[number], Traffic>;

  beforeAll(async () => {
    await setReturnPath(lab().topology, 'balancer');
    const shared = { topology: lab().topology, directory: lab().directory, content: join(lab().directory, 'files') };
    for (const role of ['client', 'far'] as const) servers.push(await RealServer.start({ ...shared, role }));
    [outside] = servers as [RealServer, RealServer];
    for (const role of realServerRoles) traffic[role] = new Traffic(lab().topology, lab().directory, role);
    balancer = await lab().startBalancer(config());
  });
  afterAll(async () => {
    await balancer?.[Symbol.asyncDispose]();
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  });

  describe.each(families)('%s', (family) => {
    const target = hostAddress(family, 'client');
    const note = (protocol: 'tcp' | 'udp' | 'icmp', check: string, figure: string) =>
      record('snat', both[family], protocol, check, figure);
    let witness: Witness;
    beforeAll(async () => {
      await forgetPathMtus(lab().topology);
      witness = await Witness.start(lab(), places);
    });
    afterAll(async () => {
      await witness?.[Symbol.asyncDispose]();
    });

    test('HTTP requests of both hosts leave with addresses of the pool, of both workers, and are answered', async () => {
      const before = outside.httpPeers().length;
      for (const role of realServerRoles) {
        const result = await traffic[role].get(serviceUrl(target), size.requests);
        expect(result.reasons).toEqual([]);
      }
      const seen = outside.httpPeers().slice(before);
      expect(seen).toHaveLength(2 * size.requests);
      expect([...new Set(seen.map((peer) => peer.address))].sort()).toEqual(pools[family]);
      note('tcp', 'small', `${2 * size.requests} requests`);
    });

    test('answers that come to the owner of their address are not handed over, others are, and none is lost', async () => {
      const handovers = async () => handedOver(await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets));
      const requests = async () => expect((await traffic.rs1.get(serviceUrl(target), size.requests)).reasons).toEqual([]);
      await steerPools(true);
      try {
        const before = await handovers();
        await requests();
        expect(await handovers()).toBe(before);
      } finally {
        await steerPools(false);
      }
      const before = await handovers();
      await requests();
      expect(await handovers()).toBeGreaterThan(before);
    });

    test('a download arrives unchanged', async () => {
      const file = lab().writeFile('download', size.download);
      expect(await traffic.rs1.download(serviceUrl(target, '/files/download'))).toMatchObject(file);
      note('tcp', 'large', `${mebibytes(file.bytes)} down`);
    });

    test('an upload to a host behind a narrow link arrives: what says that packets are too big reaches the host inside', async () => {
      const file = lab().writeFile('upload', size.upload);
      const url = serviceUrl(hostAddress(family, 'far'), '/', uploadPort);
      const answer = await traffic.rs1.upload(url, join(lab().directory, 'files', 'upload'));
      expect(answer.split(' ')[1]).toBe(file.sha256);
      note('tcp', 'up', `${mebibytes(file.bytes)} up`);
    });

    test('datagrams of both hosts are echoed', async () => {
      for (const role of realServerRoles) {
        const echo = await traffic[role].datagrams({
          address: target,
          port: echoPort,
          sockets: 10,
          datagrams: size.datagrams / 10,
        });
        expect(echo).toMatchObject({ answered: size.datagrams, failed: 0 });
      }
      expect(
        outside.echoPeers().every(({ address }) => families.some((one) => (pools[one] as readonly string[]).includes(address))),
      ).toBe(true);
      note('udp', 'small', `${2 * size.datagrams} datagrams`);
    });

    test('datagrams of 60,000 bytes are echoed: all fragments leave as from one host, and come back', async () => {
      const echo = await traffic.rs1.datagrams({ address: target, port: echoPort, datagrams: size.large, size: largeDatagram });
      expect(echo).toMatchObject({ answered: size.large, failed: 0 });
      note('udp', 'large', `${size.large} x 60 kB`);
    });

    test('a closed port outside is heard of by the host inside', async () => {
      expect(await traffic.rs1.refusal(target, closedPort)).toBe('ECONNREFUSED');
      note('udp', 'ICMP errors', 'port unreachable: ECONNREFUSED');
    });

    test('echo requests are answered, each with its own identifier', async () => {
      await using link = await RawLink.open(lab().topology.namespace('rs1'), interfaces.server);
      for (let identifier = 1; identifier <= size.echoes; identifier++) {
        link.send(ping(family, identifier));
        const reply = await link.receive((frame) => pong(family, frame));
        expect(reply).toEqual({ identifier, text: `ping ${identifier}` });
      }
      note('icmp', 'small', `${size.echoes} echoes`);
    });

    test('no checksum on the wires inside and outside is wrong but the one that was made so', async () => {
      await using link = await RawLink.open(lab().topology.namespace('rs1'), interfaces.server);
      const wrong = toOutside(family).udp({ sourcePort: markerPort, destinationPort: echoPort, checksumError: 0x1234 });
      link.send(wrong.payload(Buffer.from(marker)).build());
      const judged = await witness.judge(marker, ([eth0, rs1]) => Boolean(eth0 && rs1));
      const [eth0, rs1, rs2] = judged.map((place) => place.wrong);
      const made = [expect.stringMatching(new RegExp(`^udp: .*\\b${echoPort}$`))];
      expect({ outside: eth0, rs1, rs2 }).toEqual({ outside: made, rs1: made, rs2: [] });
      const sum = (name: string) => judged.reduce((total, place) => total + (place.right[name] ?? 0), 0);
      const echo = family === 'ipv4' ? 'icmp' : 'icmpv6';
      expect(sum('tcp')).toBeGreaterThan(1_000);
      expect(sum('udp')).toBeGreaterThan(4 * size.datagrams);
      expect(sum(echo)).toBeGreaterThan(4 * size.echoes);
      const tooBig = judged[1]?.tooBig ?? 0;
      expect(tooBig).toBeGreaterThan(0);
      note('tcp', 'ICMP errors', `${tooBig} too big, and smaller from then on`);
      note('tcp', 'checksums', `${sum('tcp')} right, 0 wrong`);
      note('udp', 'checksums', `${sum('udp')} right, 0 wrong`);
      note('icmp', 'checksums', `${sum(echo)} right, 0 wrong`);
    });
  });

  test('every packet is accounted for, none was dropped, and the rule counted the connections of both families', async () => {
    const stats = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
    expect(stats.totals.drops).toEqual({});
    const counted = stats.servers
      .filter((server) => server.service === 'office')
      .reduce((sum, server) => sum + server.connections, 0);
    expect(counted).toBe(stats.totals.sessionsCreated);
    expect(counted).toBeGreaterThan(2 * 4 * size.requests);
  });
});
