// Health checks against real programs: a server that is stopped under load is out in time and fails no request after that; it comes back
// in a slow start; every kind of check tells a good server from one that is not there; a NIC that loses its link takes down only the
// services that are checked through it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { families, plans, type RealServerRole, realServerRoles, urlHost } from '../../src/lab/addresses.js';
import { labConfig } from '../../src/lab/config.js';
import type { ManagedProcess } from '../../src/lab/managed-process.js';
import { labProgram } from '../../src/lab/programs.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip, servers } = plans.ipv4;
const port = 8200;
/** Of the second NIC between the balancer and rs1. */
const secondNic = { lb: '10.99.0.1', rs1: '10.99.0.2' };

interface Service {
  readonly name: string;
  readonly address?: string;
  readonly port: number;
  readonly serverPort?: number;
  readonly keys: readonly string[];
  readonly addresses?: readonly string[];
  readonly weight?: number;
}

function writeConfig(services: readonly Service[]): string {
  const text = services.flatMap((service) => [
    `  - name: ${service.name}`,
    `    address: "${service.address ?? vip}"`,
    `    port: ${service.port}`,
    '    protocol: tcp',
    ...service.keys.map((line) => `    ${line}`),
    '    servers:',
    ...(service.addresses ?? [servers.rs1, servers.rs2]).map(
      (address) => `      - { address: "${address}", port: ${service.serverPort ?? 80}, weight: ${service.weight ?? 1} }`,
    ),
  ]);
  const file = join(lab().directory, 'health.yaml');
  writeFileSync(file, [labConfig({ workers: lab().workers }).trimEnd(), ...text, ''].join('\n'));
  return file;
}

/** A server of its own on `role`, which the lab's does not know of: it can be stopped. */
function startNginx(role: RealServerRole, listens: readonly string[], extra = ''): ManagedProcess {
  const directory = join(lab().directory, `health-${role}`);
  mkdirSync(join(directory, 'temp'), { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/temp;`);
  const text = `daemon off; user root; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off; ${temporary.join(' ')} ${extra}
  server { ${listens.map((listen) => `listen ${listen};`).join(' ')} add_header X-Server ${role} always;
    location / { return 200 "${role} is ready\\n"; } }
}
`;
  writeFileSync(join(directory, 'nginx.conf'), text);
  return lab().topology.start(`nginx of ${role} for health checks`, role, [
    'nginx',
    '-p',
    directory,
    '-c',
    join(directory, 'nginx.conf'),
  ]);
}

/** Polls until `times` requests in a row are answered by these servers and nobody else, each at least once. */
async function answeredBy(url: string, expected: readonly RealServerRole[], times = 8, timeout = 20_000): Promise<void> {
  await expect
    .poll(
      async () => {
        const { failed, byServer } = await lab().traffic.get(url, times);
        return failed === 0 ? Object.keys(byServer).sort() : [`${failed} failed`];
      },
      { timeout, interval: 100 },
    )
    .toEqual([...expected].sort());
}

test('nginx stopped under load is out in time, fails no request after that, and comes back slowly', async () => {
  const running = realServerRoles.map((role) => startNginx(role, [`${servers[role]}:${port}`]));
  const check = '{ type: http, path: /ready, contains: ready, interval: 0.2, timeout: 1, rise: 2, fall: 2 }';
  const file = writeConfig([
    {
      name: 'checked',
      port,
      serverPort: port,
      weight: 100,
      keys: [`healthChecks: [${check}]`, 'health: { slowStart: 4, flaps: 0 }'],
    },
  ]);
  await using balancer = await lab().startBalancer(file);
  await using _ended = { [Symbol.asyncDispose]: async () => void (await Promise.all(running.map((process) => process.stop()))) };
  const url = serviceUrl(vip, '/', port);
  await answeredBy(url, ['rs1', 'rs2']);

  const load = lab().traffic.load({ url, seconds: 6, connections: 16, newConnections: true });
  load.catch(() => {});
  // wrk tries one connection by itself first, and gives up if that one fails.
  const { forwarded } = (await balancer.stats()).totals;
  await balancer.stats(({ totals }) => totals.forwarded > forwarded + 200);
  await running[0]?.stop();
  const stopped = Date.now();
  await answeredBy(url, ['rs2']);
  // Two checks at 0.2 s and the time of looking: far less than a service that nobody checks would take, which is for ever.
  expect(Date.now() - stopped).toBeLessThan(5000);
  await load;
  // Out: nothing fails any more, although nginx of rs1 is still gone.
  const after = await lab().traffic.load({ url, seconds: 3, connections: 16, newConnections: true });
  expect(after.errors).toEqual({});
  expect(after.requests).toBeGreaterThan(100);

  running[0] = startNginx('rs1', [`${servers.rs1}:${port}`]);
  await answeredBy(url, ['rs1', 'rs2'], 40);
  // In the end it has its full share again.
  await expect
    .poll(
      async () => {
        const { byServer, failed } = await lab().traffic.get(url, 40);
        return failed === 0 && (byServer['rs1'] ?? 0) >= 15;
      },
      { timeout: 20_000, interval: 200 },
    )
    .toBe(true);
});

describe('every kind of check', () => {
  test('keeps the server where it is good and takes out the one where it is not', async () => {
    const directory = join(lab().directory, 'kinds');
    mkdirSync(directory, { recursive: true });
    await lab().topology.runChecked('rs1', [
      ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem'), '-subj', '/CN=rs1.test'],
      ...['-addext', 'subjectAltName=DNS:rs1.test'],
    ]);
    writeFileSync(join(directory, 'script.sh'), `#!/bin/sh\n[ "$MILLRACE_ADDRESS" = "${servers.rs1}" ] || exit 1\n`, {
      mode: 0o755,
    });
    const unbound = `server:
  interface: ${servers.rs1}
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  directory: "${directory}"
  local-zone: "checked.test." static
  local-data: "checked.test. A 192.0.2.1"
remote-control:
  control-enable: no
`;
    writeFileSync(join(directory, 'unbound.conf'), unbound);
    const certificates = `ssl_certificate ${directory}/cert.pem; ssl_certificate_key ${directory}/key.pem;`;
    const programs = [
      startNginx('rs1', [`${servers.rs1}:8443 ssl`, `${servers.rs1}:${port}`], certificates),
      lab().topology.start('unbound', 'rs1', ['unbound', '-d', '-c', join(directory, 'unbound.conf')]),
      lab().topology.start('echo', 'rs1', [...labProgram('udp-echo'), 'rs1', '8007', join(directory, 'echo.log'), servers.rs1]),
    ];
    // Echo requests of programs are off by default in a new network namespace.
    await lab().topology.runChecked('lb', ['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
    const verified = `tls: { verify: true, serverName: rs1.test, ca: ${directory}/cert.pem }`;
    const kinds: Readonly<Record<string, string>> = {
      tcp: `type: tcp, port: ${port}`,
      http: `type: http, port: ${port}, matches: "^rs1 "`,
      https: `type: https, port: 8443, ${verified}, keepAlive: true`,
      tls: `type: tls, port: 8443, ${verified}`,
      dns: 'type: dns, port: 53, query: checked.test, queryType: A',
      udp: 'type: udp, port: 8007, payload: "are you there", contains: rs1',
      ping: `type: ping, address: ${servers.rs1}`,
      script: `type: script, command: [${directory}/script.sh]`,
      'by-interface': `type: tcp, port: ${port}, bindInterface: lan, mark: 7`,
    };
    const names = Object.keys(kinds);
    const file = writeConfig([
      ...names.map((name, i) => ({
        name: `kind-${name}`,
        port: 8300 + i,
        keys: [`healthChecks: [{ ${kinds[name]}, interval: 0.3, timeout: 2, rise: 1, fall: 1 }]`],
      })),
      // Nobody has this address.
      {
        name: 'no-echo',
        port: 8399,
        keys: ['healthChecks: [{ type: ping, interval: 0.3, timeout: 1, fall: 1 }]'],
        addresses: [servers.rs1, '192.0.2.77'],
      },
    ]);
    await using _balancer = await lab().startBalancer(file);
    for (const [i, name] of names.entries()) {
      const both = name === 'ping';
      await answeredBy(serviceUrl(vip, '/', 8300 + i), both ? ['rs1', 'rs2'] : ['rs1']);
    }
    await answeredBy(serviceUrl(vip, '/', 8399), ['rs1']);
    await Promise.all(programs.map((program) => program.stop()));
    // Now nobody is left, except where the check needs no program.
    await expect
      .poll(async () => (await lab().traffic.get(serviceUrl(vip, '/', 8300), 1)).failed, { timeout: 20_000, interval: 200 })
      .toBe(1);
    await answeredBy(serviceUrl(vip, '/', 8300 + names.indexOf('script')), ['rs1']);
  });
});

test('a NIC without link takes down only the services that are checked through it, and the sorry server stands in', async () => {
  const { topology } = lab();
  await topology.ip('lb', [
    `link add name nic2 type veth peer name nic2 netns ${topology.namespace('rs1')}`,
    `address add ${secondNic.lb}/24 dev nic2`,
    'link set dev nic2 up',
  ]);
  await topology.ip('rs1', [`address add ${secondNic.rs1}/24 dev nic2`, 'link set dev nic2 up']);
  const quick = 'interval: 0.2, timeout: 0.5, rise: 1, fall: 1';
  const file = writeConfig([
    {
      name: 'first-nic',
      port: 8400,
      addresses: [servers.rs1],
      keys: [`healthChecks: [{ type: tcp, bindInterface: lan, ${quick} }]`],
    },
    {
      name: 'second-nic',
      port: 8401,
      addresses: [servers.rs1],
      keys: [
        `healthChecks: [{ type: ping, address: ${secondNic.rs1}, bindInterface: nic2, ${quick} }]`,
        `sorryServer: { address: "${servers.rs2}", port: 80 }`,
      ],
    },
  ]);
  await topology.runChecked('lb', ['sysctl', '-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  await using _balancer = await lab().startBalancer(file);
  await answeredBy(serviceUrl(vip, '/', 8400), ['rs1'], 2);
  await answeredBy(serviceUrl(vip, '/', 8401), ['rs1'], 2);
  await topology.ip('lb', ['link set dev nic2 down']);
  await answeredBy(serviceUrl(vip, '/', 8401), ['rs2'], 2);
  await answeredBy(serviceUrl(vip, '/', 8400), ['rs1'], 2);
  await topology.ip('lb', ['link set dev nic2 up']);
  await answeredBy(serviceUrl(vip, '/', 8401), ['rs1'], 2);
});

test('IPv6 servers are checked, too', async () => {
  const six = plans.ipv6;
  expect(families).toContain('ipv6');
  const check = `{ type: http, port: ${port}, interval: 0.2, timeout: 1, rise: 1, fall: 1 }`;
  const file = writeConfig([
    {
      name: 'six',
      address: six.vip,
      port: 8500,
      addresses: [six.servers.rs1, six.servers.rs2],
      keys: [`healthChecks: [${check}]`],
    },
  ]);
  const nginx = startNginx('rs2', [`${urlHost(six.servers.rs2)}:${port}`]);
  await using _balancer = await lab().startBalancer(file);
  await answeredBy(serviceUrl(six.vip, '/', 8500), ['rs2']);
  await nginx.stop();
});
