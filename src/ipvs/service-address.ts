// Reads HOST[:PORT] as ipvsadm does, for services and servers.
// Guarantees: pure but for the resolver; never throws. What looks odd is what ipvsadm does: brackets demand ":PORT", an IPv4 address or a
// name in brackets loses its port, IPv6 without brackets has none.
// Thread: any.
import { type IpAddress, parseAton, parseIpv6 } from './address.js';
import type { Protocol } from './model.js';
import type { Resolver } from './names.js';
import { parseInRange } from './numbers.js';

export interface HostPort {
  readonly address: IpAddress;
  /** Undefined when the text names none. */
  readonly port: number | undefined;
}

/** Undefined for what ipvsadm calls illegal. `protocol` is needed for names of ports; undefined while no service is known. */
export function parseHostPort(text: string, protocol: Protocol | undefined, resolver: Resolver): HostPort | undefined {
  // A plain number is neither an address nor a name.
  if (/^[0-9]*$/.test(text)) return undefined;
  let host = text;
  let portText: string | undefined;
  if (text.startsWith('[')) {
    const end = text.indexOf(']');
    if (end === -1 || text.charAt(end + 1) !== ':') return undefined;
    host = text.slice(1, end);
    portText = text.slice(end + 2);
  }
  let address = parseIpv6(host);
  if (address === undefined) {
    const colon = host.lastIndexOf(':');
    portText = colon === -1 ? undefined : host.slice(colon + 1);
    if (colon !== -1) host = host.slice(0, colon);
    address = parseAton(host) ?? resolver.addressOf(host);
    if (address === undefined) return undefined;
  }
  if (portText === undefined) return { address, port: undefined };
  const port = parseInRange(portText, 0, 65535) ?? (protocol === undefined ? undefined : resolver.portOf(portText, protocol));
  return port === undefined ? undefined : { address, port };
}
