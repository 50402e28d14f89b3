// A real server on a wire of its own: a namespace with nginx, and at the other end of its link the test itself, which plays the balancer,
// the router and the clients by hand.
//
//   test -- wire0 (namespace millrace-wire) ------- eth0 (namespace millrace-server) nginx, 192.0.2.11, 2001:db8:2::11
//
// Guarantees: neighbours are fixed and IPv6 is quiet, so that nothing is on the wire but what a test causes; disposal removes all.
// Thread: the test's process; nginx is a process of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, run, runChecked } from '../../../src/lab/command.js';
import { ManagedProcess } from '../../../src/lab/managed-process.js';
import { labProgram, millraceProgram } from '../../../src/lab/programs.js';
import { RawLink } from './raw-link.js';

export const namespaces = { server: 'millrace-server', wire: 'millrace-wire' } as const;
export const macs = { server: '02:00:00:00:05:11', router: '02:00:00:00:05:01' } as const;
export const own = { ipv4: '192.0.2.11', ipv6: '2001:db8:2::11' } as const;
export const router = { ipv4: '192.0.2.1', ipv6: '2001:db8:2::1' } as const;

const quiet = [
  'net.ipv6.conf.all.accept_dad=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.all.accept_ra=0',
  'net.ipv6.conf.default.accept_ra=0',
  'net.ipv6.conf.default.router_solicitations=0',
  // ICMP errors are evidence in these tests; each must come.
  'net.ipv4.icmp_ratelimit=0',
];

export class LoneServer implements AsyncDisposable {
  readonly link: RawLink;
  readonly directory: string;
  readonly #nginx: ManagedProcess;

  private constructor(link: RawLink, directory: string, nginx: ManagedProcess) {
    this.link = link;
    this.directory = directory;
    this.#nginx = nginx;
  }

  static async start(): Promise<LoneServer> {
    const { server, wire } = namespaces;
    for (const name of [server, wire]) await runChecked(['ip', 'netns', 'add', name]);
    await runChecked(['ip', 'netns', 'exec', server, 'sysctl', '-qw', ...quiet]);
    await runChecked(['ip', 'netns', 'exec', wire, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
    const link = `link add name eth0 address ${macs.server} netns ${server} type veth peer name wire0 address ${macs.router} netns ${wire}`;
    await runChecked(['ip', '-batch', '-'], { input: `${link}\n` });
    await runChecked(['ip', '-n', wire, 'link', 'set', 'dev', 'wire0', 'up']);
    const commands = [
      'link set dev lo up',
      'link set dev eth0 up',
      `address add ${own.ipv4}/24 dev eth0`,
      `address add ${own.ipv6}/64 dev eth0 nodad`,
      ...Object.values(router).map((address) => `neighbour add ${address} lladdr ${macs.router} dev eth0 nud permanent`),
      `route add default via ${router.ipv4}`,
      `route add default via ${router.ipv6}`,
    ];
    await runChecked(['ip', '-n', server, '-batch', '-'], { input: `${commands.join('\n')}\n` });
    const offloads = ['tx', 'rx', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
    await runChecked(['ip', 'netns', 'exec', server, 'ethtool', '-K', 'eth0', ...offloads]);
    // A sender that can segment itself is trusted to have merged already: the receiver would merge nothing, even when told to.
    await runChecked(['ip', 'netns', 'exec', wire, 'ethtool', '-K', 'wire0', ...offloads]);
    const directory = mkdtempSync(join(tmpdir(), 'millrace-server-'));
    const nginx = await startNginx(directory);
    return new LoneServer(await RawLink.open(wire, 'wire0'), directory, nginx);
  }

  /** Runs a program inside the server. */
  run(argv: readonly string[]): Promise<CommandResult> {
    return run(['ip', 'netns', 'exec', namespaces.server, ...argv]);
  }

  async runChecked(argv: readonly string[]): Promise<string> {
    return runChecked(['ip', 'netns', 'exec', namespaces.server, ...argv]);
  }

  /** `millrace realserver ...` inside the server; must succeed. */
  realserver(...args: readonly string[]): Promise<string> {
    return this.runChecked([...millraceProgram(), 'realserver', ...args]);
  }

  /** The UDP echo of the lab on these addresses, with the name "lone". */
  async startEcho(addresses: readonly string[], port: number): Promise<ManagedProcess> {
    const argv = [...labProgram('udp-echo'), 'lone', String(port), join(this.directory, 'echo.log'), ...addresses];
    const echo = ManagedProcess.start('udp echo', ['ip', 'netns', 'exec', namespaces.server, ...argv]);
    await echo.waitForLine((line) => line === 'ready');
    return echo;
  }

  /** Addresses, links, kernel parameters and filters: what undo must leave as it was. */
  async snapshot(): Promise<string> {
    const parts = await Promise.all([
      this.runChecked(['ip', 'address', 'show']),
      this.runChecked(['ip', 'route', 'show', 'table', 'all']),
      this.runChecked(['ip', '-6', 'route', 'show', 'table', 'all']),
      this.runChecked(['tc', 'qdisc', 'show']),
      this.runChecked(['sysctl', '-a', '--pattern', '^net\\.ipv[46]\\.conf']),
      this.runChecked(['ls', '-R', '/run']),
    ]);
    // Some are counters of time.
    return parts.join('\n--\n').replaceAll(/ (?:expires|users|age|used) \S+/g, '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nginx.stop();
    await this.link[Symbol.asyncDispose]();
    for (const name of Object.values(namespaces)) await run(['ip', 'netns', 'delete', name]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function startNginx(directory: string): Promise<ManagedProcess> {
  mkdirSync(join(directory, 'temp'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path ${directory}/temp/${name};`).join('\n')}
  server {
    listen 80;
    listen [::]:80;
    location / {
      return 200 "to $server_addr from $remote_addr\\n";
    }
  }
}
`;
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, config);
  const nginx = ManagedProcess.start('nginx', ['ip', 'netns', 'exec', namespaces.server, 'nginx', '-p', directory, '-c', file]);
  const retry = ['--retry', '100', '--retry-delay', '0', '--retry-max-time', '10', '--retry-connrefused'];
  const curl = ['curl', '-sS', '--fail', '--max-time', '10', ...retry, '-o', '/dev/null', `http://${own.ipv4}/`];
  await runChecked(['ip', 'netns', 'exec', namespaces.server, ...curl]);
  return nginx;
}
