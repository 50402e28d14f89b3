// Services of prefixes with ranges of ports, and the outbound gateway, with real traffic: real hosts, the kernel's stacks, two workers.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { families, httpPort, interfaces, plans, realServerRoles } from '../../src/lab/addresses.js';
import { accounted } from '../../src/lab/balancer-events.js';
import { answeredByAll } from '../../src/lab/demo-report.js';
import type { ManagedProcess } from '../../src/lab/managed-process.js';
import { macs } from '../../src/lab/topology.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { packet } from '../support/packet/index.js';
import { useLab } from './support/lab-fixture.js';
import { RawLink } from './support/raw-link.js';

const lab = useLab();

describe('a service of a prefix and a range of ports', () => {
  function config(): string {
    const file = lab().writeConfig({}, 'wide.yaml');
    const [head = ''] = readFileSync(file, 'utf8').split('services:\n');
    const services = families.flatMap((family) => [
      `  - name: wide-${family}`,
      `    address: "${plans[family].routedPrefix}"`,
      '    port: 8000-8099',
      '    protocol: tcp',
      '    servers:',
      ...realServerRoles.map((role) => `      - { address: "${plans[family].servers[role]}", port: ${httpPort} }`),
    ]);
    writeFileSync(file, `${head}services:\n${services.join('\n')}\n`);
    return file;
  }

  test('every address and port of it is answered by both real servers, and no others', async () => {
    await using balancer = await lab().startBalancer(config());
    const addresses = { ipv4: ['203.0.113.1', '203.0.113.200'], ipv6: ['2001:db8:10::1', '2001:db8:10::ffff:200'] };
    for (const family of families) {
      for (const address of addresses[family]) {
        for (const port of [8000, 8099]) {
          const result = await lab().traffic.get(serviceUrl(address, '/', port), 4);
          expect(result.reasons).toEqual([]);
          expect(answeredByAll(result.byServer)).toBe(true);
        }
      }
    }
    const outside = await lab().topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl('203.0.113.1', '/', 8100)]);
    expect(outside.code).not.toBe(0);
    const stats = await balancer.stats(
      ({ totals }) => accounted(totals) === totals.rxPackets && (totals.drops['no_service'] ?? 0) > 0,
    );
    expect(stats.totals.sessionsCreated).toBe(2 * 2 * 2 * 4);
    expect(Object.keys(stats.totals.drops)).toEqual(['no_service']);
  });
});

describe('the outbound gateway', () => {
  const port = 8088;
  const pools = { ipv4: ['198.51.100.201', '198.51.100.202'], ipv6: ['2001:db8:1::201', '2001:db8:1::202'] };
  const networks = { ipv4: '192.0.2.0/24', ipv6: '2001:db8:2::/64' };
  const outsideNetworks = { ipv4: '198.51.100.0/24', ipv6: '2001:db8:1::/64' };
  // Both say who asked. The datagram's answer must come from the address that was asked, of several that the host has.
  const listener = `
    const http = require('node:http'), dgram = require('node:dgram');
    const plain = (address) => address.replace('::ffff:', '');
    http.createServer((request, response) => response.end(plain(request.socket.remoteAddress))).listen(${port}, '::', () => {
      let open = 0;
      for (const address of process.argv.slice(1)) {
        const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
        socket.on('message', (_, from) => socket.send(from.address, from.port, from.address));
        socket.bind(${port}, address, () => ++open === 2 && console.log('ready'));
      }
    });`;
  const asker = `
    const [family, address] = process.argv.slice(1);
    const socket = require('node:dgram').createSocket(family);
    socket.on('message', (data) => { console.log(String(data)); socket.close(); });
    socket.send('who am I?', ${port}, address);
    setTimeout(() => process.exit(1), 5000).unref();`;
  const targets = families.map((family) => plans[family].clients[0] ?? '');
  let outside: ManagedProcess;

  function config(): string {
    const file = lab().writeConfig({}, 'gateway.yaml');
    const matches = families.map((family) => `      - { source: "${networks[family]}", interface: ${interfaces.lan} }`);
    const pool = families.flatMap((family) => pools[family].map((address) => `"${address}"`));
    appendFileSync(
      file,
      ['snat:', '  - name: office', '    match:', ...matches, `    pool: [${pool.join(', ')}]`, ''].join('\n'),
    );
    return file;
  }

  const routes = (verb: 'add' | 'del') =>
    lab().topology.ip(
      'rs1',
      families.map((family) => `route ${verb} ${outsideNetworks[family]} via ${plans[family].lbLan}`),
    );

  beforeAll(async () => {
    await routes('add');
    outside = lab().topology.start('listener outside', 'client', [process.execPath, '-e', listener, ...targets]);
    await outside.waitForLine((line) => line === 'ready');
  });
  afterAll(async () => {
    await outside?.stop();
    await routes('del');
  });

  test.each(families)(
    '%s: TCP, UDP and echo of a real server leave with an address of the pool and are answered',
    async (family) => {
      await using balancer = await lab().startBalancer(config());
      const [target = ''] = plans[family].clients;
      for (let i = 0; i < 8; i++) {
        const seen = await lab().topology.runChecked('rs1', ['curl', '-sS', '--max-time', '5', serviceUrl(target, '/', port)]);
        expect(pools[family]).toContain(seen.trim());
      }
      const kind = family === 'ipv4' ? 'udp4' : 'udp6';
      const heard = await lab().topology.runChecked('rs1', [process.execPath, '-e', asker, kind, target]);
      expect(pools[family]).toContain(heard.trim());

      const source = plans[family].servers.rs1;
      const start = packet().eth({ source: macs.rs1, destination: macs.lan });
      const rest = [0x77, 0x01, 0, 1];
      const ping =
        family === 'ipv4'
          ? start.ipv4({ source, destination: target }).icmp({ type: 8, rest }).payload('ping').build()
          : start.ipv6({ source, destination: target }).icmpv6({ type: 128, rest }).payload('ping').build();
      const [at, replyType] = family === 'ipv4' ? [34, 0] : [54, 129];
      await using link = await RawLink.open(lab().topology.namespace('rs1'), interfaces.server);
      link.send(ping);
      const reply = await link.receive((frame) =>
        frame[at] === replyType && frame[at + 4] === 0x77 && frame[at + 5] === 1 ? frame : undefined,
      );
      expect(Buffer.from(reply.slice(-4)).toString()).toBe('ping');

      const stats = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
      const rule = stats.servers.filter((server) => server.service === 'office');
      expect(rule.reduce((sum, server) => sum + server.connections, 0)).toBe(8 + 1 + 1);
      expect(stats.totals.drops).toEqual({});
    },
  );

  test('what a real server sends to the balancer itself stays with the kernel', async () => {
    await using balancer = await lab().startBalancer(config());
    const before = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
    // Nothing listens there: the kernel's stack refuses at once.
    const refused = await lab().topology.run('rs1', ['curl', '-sS', '--max-time', '5', serviceUrl(plans.ipv4.lbWan, '/', port)]);
    expect(refused.code).toBe(7);
    const after = await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets);
    expect(after.totals.sessionsCreated).toBe(before.totals.sessionsCreated);
  });
});
