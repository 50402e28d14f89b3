// The machine on which the recordings were made, as far as ipvsadm sees it: names, interfaces, and one way to run a command.
// Guarantees: every call of `run` answers with what was printed; nothing of this machine is looked at.
// Thread: any.
import { formatAddress } from '../../src/ipvs/address.js';
import type { Unavailable } from '../../src/ipvs/messages.js';
import type { HostFacts } from '../../src/ipvs/model.js';
import { resolverFromFiles } from '../../src/ipvs/names.js';
import { runIpvsadm } from '../../src/ipvs/run.js';
import { IpvsTable, type TableOptions } from '../../src/ipvs/table.js';

const HOSTS = `
127.0.0.1 localhost
10.0.9.1 www.example.test www
10.0.2.11 rs1.example.test
10.0.2.12 a-very-long-real-server-host-name-number-two.example.test
fd00:9::1 www6.example.test
fd00:2::11 rs1-6.example.test
`;

const SERVICES = `
ftp 21/tcp
domain 53/tcp
domain 53/udp
http 80/tcp www # WorldWideWeb
http-alt 8080/tcp webcache
https 443/tcp
sip 5060/tcp
sip 5060/udp
`;

export const RESOLVER = resolverFromFiles({ hosts: HOSTS, services: SERVICES });

const INTERFACES = new Map([
  ['lo', 65536],
  ['dc', 1500],
  ['dr', 1500],
]);
const LOCAL = new Set(['10.0.1.1', '10.0.2.1', 'fd00:1::1', 'fd00:2::1', 'fe80::1234']);
const BROADCAST = new Set(['10.0.1.255', '10.0.2.255']);

export const HOST: HostFacts = {
  mtuOf: (name) => INTERFACES.get(name),
  isLocal: (address) => LOCAL.has(formatAddress(address)),
  isBroadcast: (address) => BROADCAST.has(formatAddress(address)),
};

export function directorTable(options: TableOptions = {}): IpvsTable {
  return new IpvsTable({ host: HOST, ...options });
}

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs ipvsadm and gathers what it prints. */
export function run(table: IpvsTable | Unavailable, argv: readonly string[], stdin = ''): Outcome {
  let [stdout, stderr] = ['', ''];
  const { exitCode } = runIpvsadm(
    argv,
    {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      stdin: () => stdin,
      resolver: RESOLVER,
    },
    table,
  );
  return { exitCode, stdout, stderr };
}

/** Runs a command line written as in a shell, which must succeed. */
export function must(table: IpvsTable, line: string): void {
  const { exitCode, stderr } = run(table, line.split(' ').slice(1));
  if (exitCode !== 0) throw new Error(`${line}: status ${exitCode}: ${stderr}`);
}
