// A real server of the lab: nginx for HTTP over TCP, an echo for UDP and a server for uploads, of which the
// first two say who they are and write down whom they saw.
// Guarantees: listens on both families before `start` returns; every request leaves one line with the peer's address and port.
// Thread: the main thread; the servers are child processes in the real server's namespace.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { echoPort, type Family, families, type HostRole, hostAddress, httpPort, uploadPort, urlHost } from './addresses.js';
import { LabError } from './lab-error.js';
import type { ManagedProcess } from './managed-process.js';
import { labProgram } from './programs.js';
import type { LabTopology } from './topology.js';

export interface RealServerOptions {
  readonly topology: LabTopology;
  /** Of outbound connections the servers are on the client's side. */
  readonly role: HostRole;
  /** For the configuration, pid and log files; made if missing. */
  readonly directory: string;
  /** Directory of large files, shared by the real servers, so that a download may come from either. */
  readonly content: string;
  /** The processes outlive this one, their output goes to files. */
  readonly detached?: boolean;
  /** Listens on these addresses as well as on its own: VIPs of modes in which it answers clients itself. */
  readonly vips?: readonly string[];
}

/** A peer as a real server saw it. */
export interface SeenPeer {
  readonly address: string;
  readonly port: number;
}

export class RealServer implements AsyncDisposable {
  readonly role: HostRole;
  readonly processes: readonly ManagedProcess[];
  readonly #directory: string;

  private constructor(role: HostRole, directory: string, processes: readonly ManagedProcess[]) {
    this.role = role;
    this.#directory = directory;
    this.processes = processes;
  }

  static async start(options: RealServerOptions): Promise<RealServer> {
    const { topology, role } = options;
    const directory = join(options.directory, role);
    mkdirSync(join(directory, 'temp'), { recursive: true });
    const config = join(directory, 'nginx.conf');
    writeFileSync(config, nginxConfig(role, directory, options.content, listenAddresses(options)));
    const log = (name: string) => (options.detached ? { detachedLog: join(directory, name) } : {});
    const nginx = topology.start(`nginx of ${role}`, role, ['nginx', '-p', directory, '-c', config], log('nginx.log'));
    const echoArguments = [role, String(echoPort), join(directory, 'echo.log'), ...listenAddresses(options)];
    const echo = topology.start(`echo of ${role}`, role, [...labProgram('udp-echo'), ...echoArguments], log('udp-echo.log'));
    const uploadArguments = [role, String(uploadPort), ...listenAddresses(options)];
    const upload = topology.start(
      `uploads of ${role}`,
      role,
      [...labProgram('upload-server'), ...uploadArguments],
      log('upload.log'),
    );
    const server = new RealServer(role, directory, [nginx, echo, upload]);
    try {
      await Promise.all([
        ...families.flatMap((family) => [httpPort, uploadPort].map((port) => server.#answersHttp(options, family, port))),
        server.#answersEcho(options),
      ]);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Peers of all HTTP requests so far, one per request. */
  httpPeers(): SeenPeer[] {
    return readPeers(join(this.#directory, 'access.log'));
  }

  /** Peers of all echo requests so far, one per datagram. */
  echoPeers(): SeenPeer[] {
    return readPeers(join(this.#directory, 'echo.log'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map((process) => process.stop()));
  }

  /** curl does the waiting: it retries while the connection is refused. */
  async #answersHttp({ topology, role }: RealServerOptions, family: Family, port: number): Promise<void> {
    const url = `http://${urlHost(hostAddress(family, role))}:${port}/`;
    const retry = ['--retry', '100', '--retry-delay', '0', '--retry-max-time', '10', '--retry-connrefused'];
    const result = await topology.run(role, ['curl', '-sS', '--fail', '--max-time', '10', ...retry, '-o', '/dev/null', url]);
    if (result.code === 0) return;
    const words = this.processes.map((process) => process.tail()).join('\n');
    throw new LabError(`${role} does not answer at ${url}: ${result.stderr}\n${words}`, 'the lines above say why');
  }

  async #answersEcho({ topology, role }: RealServerOptions): Promise<void> {
    const addresses = families.map((family) => hostAddress(family, role));
    await Promise.all(
      addresses.map((address) => topology.runChecked(role, [...labProgram('udp-client'), address, String(echoPort), '1', '1'])),
    );
    writeFileSync(join(this.#directory, 'echo.log'), '');
    writeFileSync(join(this.#directory, 'access.log'), '');
  }
}

function listenAddresses({ role, vips }: RealServerOptions): string[] {
  return [...families.map((family) => hostAddress(family, role)), ...(vips ?? [])];
}

function readPeers(file: string): SeenPeer[] {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => {
    const [address = '', port = ''] = line.split(' ');
    return { address, port: Number(port) };
  });
}

/** One worker process per real server is enough on a lab's machine; keep-alive is unlimited so that only the client closes. */
function nginxConfig(role: HostRole, directory: string, content: string, addresses: readonly string[]): string {
  const listens = addresses.map((address) => `    listen ${urlHost(address)}:${httpPort} reuseport backlog=4096;`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${directory}/temp/${name};`,
  );
  return `daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${directory}/nginx.pid;
error_log stderr warn;
events {
  worker_connections 16384;
}
http {
  log_format peer '$remote_addr $remote_port $server_addr $status $bytes_sent "$request"';
  access_log ${directory}/access.log peer;
${temporary.join('\n')}
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  client_max_body_size 0;
  default_type text/plain;
  server {
${listens.join('\n')}
    server_name ${role};
    add_header X-Server ${role} always;
    add_header X-Seen-Client "$remote_addr:$remote_port" always;
    location / {
      return 200 "${role} saw $remote_addr port $remote_port\\n";
    }
    location /files/ {
      alias ${content}/;
      default_type application/octet-stream;
    }
  }
}
`;
}
