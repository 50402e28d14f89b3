// Unmodified programs of Debian behind the balancer see their clients: nginx, HAProxy, Postfix, Unbound and a plain UDP server, by TOA and
// UOA with the agent of the real server, and by PROXY protocol.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Family, families, plans, urlHost } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import { runChecked } from '../../src/lab/command.js';
import type { ManagedProcess } from '../../src/lab/managed-process.js';
import { labProgram } from '../../src/lab/programs.js';
import { type AddressService, Agent, writeAddressConfig } from './support/address-lab.js';
import { full, useLab } from './support/lab-fixture.js';

const lab = useLab();
const ports = {
  toa: 8101,
  v1: 8102,
  v2: 8103,
  haproxy1: 8104,
  haproxy2: 8105,
  smtp: 25,
  dns: 53,
  uoa: 7101,
  uoaOption: 7102,
  front: 8106,
} as const;
/** Where Unbound listens for datagrams with a header. */
const dnsPort = 5354;
const repetitions = full ? 50 : 5;

function service(
  name: string,
  family: Family,
  port: number,
  keys: readonly string[],
  more: Partial<AddressService> = {},
): AddressService {
  const { vip, servers } = plans[family];
  return { name: `${name}-${family}`, address: vip, port, serverAddress: servers.rs1, keys, ...more };
}

function services(family: Family): AddressService[] {
  const first = 'clientAddress: { method: proxy-v2, serverFirst: true, tlvs: { uniqueId: true, crc32c: true } }';
  return [
    service('toa', family, ports.toa, ['clientAddress: { method: toa }']),
    service('v1', family, ports.v1, ['clientAddress: { method: proxy-v1 }']),
    service('v2', family, ports.v2, ['clientAddress: { method: proxy-v2, tlvs: { custom: [{ type: 0xE0, text: vip-7 }] } }']),
    service('haproxy1', family, ports.haproxy1, ['clientAddress: { method: proxy-v1 }']),
    service('haproxy2', family, ports.haproxy2, ['clientAddress: { method: proxy-v2, tlvs: { crc32c: true } }']),
    service('smtp', family, ports.smtp, [first]),
    service('dns', family, ports.dns, ['clientAddress: { method: proxy-v2 }'], { protocol: 'udp', serverPort: dnsPort }),
    service('uoa', family, ports.uoa, ['clientAddress: { method: uoa }'], { protocol: 'udp' }),
    service(
      'front',
      family,
      ports.front,
      ['clientAddress: { method: toa }', `acceptProxy: { from: ["${plans[family].clients[1]}"] }`],
      { serverPort: ports.toa },
    ),
    ...(family === 'ipv4'
      ? [
          service('uoa-option', family, ports.uoaOption, ['clientAddress: { method: uoa, carrier: option }'], {
            protocol: 'udp' as const,
          }),
        ]
      : []),
  ];
}

/** IPv6 clients of IPv4 servers. */
function translatedServices(): AddressService[] {
  const at = { address: plans.ipv6.routedVip, serverAddress: plans.ipv4.servers.rs1 };
  return [
    service('toa64', 'ipv6', ports.toa, ['clientAddress: { method: toa }'], at),
    service('v1-64', 'ipv6', ports.v1, ['clientAddress: { method: proxy-v1 }'], at),
    service('v2-64', 'ipv6', ports.v2, ['clientAddress: { method: proxy-v2 }'], at),
    service('dns64', 'ipv6', ports.dns, ['clientAddress: { method: proxy-v2 }'], { ...at, protocol: 'udp', serverPort: dnsPort }),
  ];
}

let directory: string;
let balancer: Balancer;
let agent: Agent;
const processes: ManagedProcess[] = [];
/** Lines of each server's log. */
const log = (name: string) => readFileSync(join(directory, name), 'utf8').split('\n').filter(Boolean);

/** `$remote_addr`, which is what every log format of nginx has. With PROXY the realip module says whose header counts. */
function nginxConfig(): string {
  const answer = (name: string) =>
    `access_log ${directory}/${name}.log peer; location / { return 200 "$remote_addr $remote_port\\n"; }`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/temp;`);
  // One IPv6 socket for both families: the only way for an IPv4 server to see an IPv6 client.
  return `daemon off; user root; worker_processes 1; pid ${directory}/nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http {
  log_format peer '$remote_addr $remote_port "$request" $proxy_protocol_addr $proxy_protocol_port';
  ${temporary.join(' ')}
  server { listen [::]:${ports.toa} ipv6only=off; ${answer('toa')} }
  server { listen [::]:${ports.v1} ipv6only=off proxy_protocol; real_ip_header proxy_protocol; set_real_ip_from 0.0.0.0/0; set_real_ip_from ::/0; ${answer('v1')} }
  server { listen [::]:${ports.v2} ipv6only=off proxy_protocol; real_ip_header proxy_protocol; set_real_ip_from 0.0.0.0/0; set_real_ip_from ::/0; ${answer('v2')} }
}
`;
}

function haproxyConfig(): string {
  const frontend = (port: number) => `frontend port-${port}
  bind :::${port} v4v6 accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"`;
  return `defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
${frontend(ports.haproxy1)}
${frontend(ports.haproxy2)}
`;
}

function unboundConfig(): string {
  const addresses = families.map((family) => plans[family].servers.rs1);
  return `server:
  chroot: ""
  username: ""
  pidfile: "${directory}/unbound.pid"
  directory: "${directory}"
  use-syslog: no
  logfile: "${directory}/unbound.log"
  log-queries: yes
  do-daemonize: no
  num-threads: 1
  so-rcvbuf: 0
  so-sndbuf: 0
  module-config: "iterator"
  proxy-protocol-port: ${dnsPort}
${addresses.map((address) => `  interface: ${address}@${dnsPort}`).join('\n')}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  local-zone: "millrace.test." static
  local-data: "www.millrace.test. A 192.0.2.80"
remote-control:
  control-enable: no
`;
}

/** As little of Postfix as greets a client: it logs who connects. */
async function writePostfix(): Promise<string> {
  const root = join(directory, 'postfix');
  for (const name of ['etc', 'queue', 'data']) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(
    join(root, 'etc', 'main.cf'),
    `compatibility_level = 3.6
queue_directory = ${root}/queue
data_directory = ${root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = ${root}/data/log
maillog_file_prefixes = ${root}
inet_interfaces = all
inet_protocols = all
myhostname = rs1.millrace.test
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_upstream_proxy_protocol = haproxy
smtpd_relay_restrictions = reject_unauth_destination
alias_maps =
alias_database =
`,
  );
  writeFileSync(
    join(root, 'etc', 'master.cf'),
    `smtp inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
`,
  );
  await runChecked(['chown', 'postfix', join(root, 'data')]);
  // Its processes have a user of their own, and must get this far.
  chmodSync(lab().directory, 0o711);
  return join(root, 'etc');
}

beforeAll(async () => {
  directory = join(lab().directory, 'peers');
  mkdirSync(join(directory, 'temp'), { recursive: true });
  agent = await Agent.start(lab());
  writeFileSync(join(directory, 'nginx.conf'), nginxConfig());
  writeFileSync(join(directory, 'haproxy.cfg'), haproxyConfig());
  writeFileSync(join(directory, 'unbound.conf'), unboundConfig());
  processes.push(agent.launch('nginx', ['nginx', '-p', directory, '-c', join(directory, 'nginx.conf')]));
  processes.push(lab().topology.start('haproxy', 'rs1', ['haproxy', '-db', '-f', join(directory, 'haproxy.cfg')]));
  processes.push(lab().topology.start('unbound', 'rs1', ['unbound', '-d', '-c', join(directory, 'unbound.conf')]));
  processes.push(lab().topology.start('postfix', 'rs1', ['postfix', '-c', await writePostfix(), 'start-fg']));
  const echo = (port: number) => [...labProgram('udp-echo'), 'rs1', String(port), join(directory, `udp-${port}.log`)];
  const addresses = families.map((family) => plans[family].servers.rs1);
  processes.push(agent.launch('UDP server', [...echo(ports.uoa), ...addresses]));
  processes.push(agent.launch('UDP server of the option', [...echo(ports.uoaOption), plans.ipv4.servers.rs1]));
  balancer = await lab().startBalancer(writeAddressConfig(lab(), [...families.flatMap(services), ...translatedServices()]));
});

afterAll(async () => {
  await balancer?.[Symbol.asyncDispose]();
  // Its processes outlive the one that was started.
  await lab().topology.run('rs1', ['postfix', '-c', join(directory, 'postfix', 'etc'), 'abort']);
  await Promise.all(processes.map((process) => process.stop()));
  await agent?.[Symbol.asyncDispose]();
});

interface Asked {
  /** The client's own address and port. */
  readonly own: string;
  readonly body: string;
}

/** One request from one of the client's addresses; tried again until the server listens. */
async function ask(address: string, port: number, from: string): Promise<Asked> {
  const retry = ['--retry', '60', '--retry-max-time', '10', '--retry-delay', '0', '--retry-all-errors'];
  const out = await lab().topology.runChecked('client', [
    ...['curl', '-sS', '--max-time', '10', ...retry, '--interface', from, '-w', '%{local_ip} %{local_port}'],
    `http://${urlHost(address)}:${port}/`,
  ]);
  const lines = out.trimEnd().split('\n');
  return {
    body: lines.slice(0, -1).join('\n') || (lines[0] ?? '').slice(0, -(lines.at(-1)?.length ?? 0)),
    own: lines.at(-1) ?? '',
  };
}

/** A little Python: a socket from an address, and what comes back. */
async function python(text: string): Promise<string> {
  return (await lab().topology.runChecked('client', ['python3', '-c', text])).trim();
}

const others = (family: Family): string => plans[family].clients[2] ?? '';

describe.each(families)('%s', (family) => {
  test.each([
    ['toa', ports.toa],
    ['v1', ports.v1],
    ['v2', ports.v2],
  ] as const)('nginx logs the client as $remote_addr: %s', async (name, port) => {
    for (let i = 0; i < repetitions; i++) {
      const { body, own } = await ask(plans[family].vip, port, others(family));
      // nginx shows an IPv4 client of its IPv6 socket as it is.
      expect(body.trim().replace('::ffff:', '')).toBe(own);
      // It answers first and writes its log afterwards.
      await expect
        .poll(() => log(`${name}.log`).at(-1)?.replace('::ffff:', ''), { timeout: 10_000 })
        .toContain(`${own} "GET / HTTP/1.1"`);
    }
  });

  test.each([
    ['v1', ports.haproxy1],
    ['v2', ports.haproxy2],
  ] as const)('HAProxy with accept-proxy knows the client: %s', async (_, port) => {
    for (let i = 0; i < repetitions; i++) {
      const out = await lab().topology.runChecked('client', [
        ...['curl', '-sS', '--max-time', '10', '--interface', others(family), '-w', '\n%{local_ip} %{local_port}'],
        `http://${urlHost(plans[family].vip)}:${port}/`,
      ]);
      const [body, own] = out.trimEnd().split('\n');
      expect(body).toBe(own);
    }
  });

  test('Postfix, which speaks first, logs the client', async () => {
    const talk = `
import socket, time
# Postfix takes a moment until it listens.
for tries in range(100):
    try:
        s = socket.create_connection(("${plans[family].vip}", ${ports.smtp}), 10, ("${others(family)}", 0))
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
greeting = s.recv(200)
s.sendall(b"QUIT\\r\\n")
s.recv(200)
print(s.getsockname()[1], greeting.decode().split()[0])`;
    const [port, code] = (await python(talk)).split(' ');
    expect(code).toBe('220');
    await expect
      .poll(() => (existsSync(join(directory, 'postfix/data/log')) ? log('postfix/data/log').join('\n') : ''), {
        timeout: 10_000,
      })
      .toContain(` connect from unknown[${others(family)}]:${port}`);
  });

  test('Unbound, by UDP, logs the client', async () => {
    // www.millrace.test A
    const query = `
import socket
q = bytes.fromhex("4d5201000001000000000000") + b"\\x03www\\x08millrace\\x04test\\x00" + bytes.fromhex("00010001")
s = socket.socket(socket.${family === 'ipv4' ? 'AF_INET' : 'AF_INET6'}, socket.SOCK_DGRAM)
s.bind(("${others(family)}", 0))
s.settimeout(1)
for i in range(10):
    s.sendto(q, ("${plans[family].vip}", ${ports.dns}))
    try:
        print(s.recv(512)[-4:].hex())
        break
    except socket.timeout:
        pass`;
    expect(await python(query)).toBe('c0000250');
    await expect
      .poll(() => log('unbound.log').join('\n'), { timeout: 10_000 })
      .toContain(` ${others(family)} www.millrace.test. A IN`);
  });

  test.each(family === 'ipv4' ? [ports.uoa, ports.uoaOption] : [ports.uoa])(
    'a plain UDP server sees the client through UOA: port %s',
    async (port) => {
      const talk = `
import socket
s = socket.socket(socket.${family === 'ipv4' ? 'AF_INET' : 'AF_INET6'}, socket.SOCK_DGRAM)
s.bind(("${others(family)}", 0))
s.settimeout(1)
ok = 0
for i in range(6):
    text = b"datagram %d" % i
    for tries in range(10):
        s.sendto(text, ("${plans[family].vip}", ${port}))
        try:
            data, peer = s.recvfrom(512)
            ok += data.endswith(text) and peer[0] == "${plans[family].vip}"
            break
        except socket.timeout:
            pass
print(s.getsockname()[1], ok)`;
      const [own, answered] = (await python(talk)).split(' ');
      expect(answered).toBe('6');
      const seen = () =>
        log(`udp-${port}.log`)
          .slice(-6)
          .map((line) => line.split(' ').slice(0, 2).join(' '));
      await expect.poll(seen, { timeout: 10_000 }).toEqual(Array.from({ length: 6 }, () => `${others(family)} ${own}`));
    },
  );

  test('nobody believes a PROXY header of a client', async () => {
    const forged =
      family === 'ipv4' ? 'PROXY TCP4 203.0.113.77 203.0.113.1 4711 80' : 'PROXY TCP6 2001:db8:77::7 2001:db8::1 4711 80';
    for (const [name, port] of [
      ['v1', ports.v1],
      ['v2', ports.v2],
      ['toa', ports.toa],
      ['toa', ports.front],
    ] as const) {
      const talk = `
import socket
s = socket.create_connection(("${plans[family].vip}", ${port}), 10, ("${others(family)}", 0))
s.sendall(b"${forged}\\r\\nGET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(s.recv(200).decode().split()[1], s.getsockname()[1])`;
      const [code, own] = (await python(talk)).split(' ');
      expect(code, 'the header is no request').toBe('400');
      // Of a connection without a request nginx has not yet put the header's address in place of the socket's.
      const believed = (line: string) => (name === 'toa' ? line.replace('::ffff:', '') : line.slice(line.lastIndexOf('"') + 2));
      await expect
        .poll(() => `${believed(log(`${name}.log`).at(-1) ?? '')} `, { timeout: 10_000 })
        .toMatch(new RegExp(`^${others(family)} ${own} `));
    }
  });

  test('a header of a balancer in front is believed, and told on', async () => {
    const client = family === 'ipv4' ? '203.0.113.77' : '2001:db8:77::7';
    const header = family === 'ipv4' ? `PROXY TCP4 ${client} 203.0.113.1 4711 80` : `PROXY TCP6 ${client} 2001:db8::1 4711 80`;
    const talk = `
import socket, time
s = socket.create_connection(("${plans[family].vip}", ${ports.front}), 10, ("${plans[family].clients[1]}", 0))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for byte in b"${header}\\r\\n":
    s.send(bytes([byte]))
s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
data = b""
while chunk := s.recv(1000):
    data += chunk
print(data.decode().split("\\r\\n\\r\\n")[1])`;
    expect((await python(talk)).replace('::ffff:', '')).toBe(`${client} 4711`);
  });

  test('a balancer in front that sends no header is reset', async () => {
    const talk = `
import socket
s = socket.create_connection(("${plans[family].vip}", ${ports.front}), 10, ("${plans[family].clients[1]}", 0))
s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
try:
    print("answered", s.recv(100))
except ConnectionResetError:
    print("reset")`;
    expect(await python(talk)).toBe('reset');
  });
});

describe('IPv6 clients of IPv4 servers', () => {
  test.each([
    ['toa', ports.toa],
    ['v1', ports.v1],
    ['v2', ports.v2],
  ] as const)('nginx sees them: %s', async (_, port) => {
    const { body, own } = await ask(plans.ipv6.routedVip, port, others('ipv6'));
    expect(body.trim()).toBe(own);
  });
});

test('the agent has counted, and leaves nothing behind', async () => {
  const { inPlace, counters = {} } = await agent.status();
  expect(inPlace).toBe(true);
  expect(counters['connections_found']).toBeGreaterThan(0);
  expect(counters['datagrams_found']).toBeGreaterThanOrEqual(9);
  expect(counters['connections_refused']).toBe(0);
  await agent.tool(['undo']);
  expect((await agent.status()).prepared).toBe(false);
  const filters = await lab().topology.runChecked('rs1', ['tc', 'filter', 'show', 'dev', 'eth0', 'ingress']);
  expect(filters).not.toContain('millrace_datagrams');
  const { body, own } = await ask(plans.ipv4.vip, ports.toa, others('ipv4'));
  expect(body.trim(), 'without the agent it is the balancer').not.toBe(own);
});

test('an address from somebody who is not trusted is refused', async () => {
  await agent.prepare(['203.0.113.1']);
  const { body, own } = await ask(plans.ipv4.vip, ports.toa, others('ipv4'));
  expect(body.trim()).not.toBe(own);
  expect(await agent.status()).toMatchObject({ inPlace: true, counters: { connections_found: 0, connections_refused: 1 } });
});
