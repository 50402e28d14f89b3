// Reads /proc/net/ip_vs_conn and ip_vs_conn_sync out of the recordings, to give a table the connections that were listed there.
// Guarantees: throws on a line that does not have the kernel's form.
// Thread: any.
import { type IpAddress, parseIpv6 } from '../../src/ipvs/address.js';
import type { Connection, ServerKey } from '../../src/ipvs/model.js';

function addressOf(text: string): IpAddress {
  const address = text.includes(':') ? parseIpv6(text) : ({ family: 4, value: BigInt(`0x${text}`) } as const);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

function endOf(address: string, port: string): ServerKey {
  return { address: addressOf(address), port: Number.parseInt(port, 16) };
}

const LINE = /^(TCP|UDP|SCTP|IP) +(\S+) (\S+) (\S+) (\S+) (\S+) (\S+) (\S+) +(?:(?:LOCAL|SYNC) +)?([0-9]+)$/;

/** The connections of a file, in its order; the first line is the title. */
export function connectionsOf(file: string): Connection[] {
  const lines = file.split('\n').filter((line) => line !== '' && !line.startsWith('Pro '));
  return lines.map((line) => {
    const [, protocol, client, clientPort, virtual, virtualPort, server, serverPort, state = '', expires] = LINE.exec(line) ?? [];
    if (expires === undefined) throw new Error(`not a connection: ${line}`);
    return {
      protocol: protocol as Connection['protocol'],
      client: endOf(client ?? '', clientPort ?? ''),
      virtual: endOf(virtual ?? '', virtualPort ?? ''),
      server: endOf(server ?? '', serverPort ?? ''),
      state,
      expires: Number(expires),
    };
  });
}
