// Whether the kernel would take an address as that of a real server.
// Guarantees: pure; never throws.
// Thread: any.
// Source: ipvs(4) servers must be unicast or local; address types as in RFC 4291 and the kernel's inet_addr_type, ipv6_addr_type.
import type { IpAddress } from './address.js';
import { wordsOf } from './address.js';
import type { HostFacts } from './model.js';

function isUnicast4(address: IpAddress, host: HostFacts): boolean {
  const first = Number(address.value >> 24n);
  const isMulticast = first >= 224 && first < 240;
  return first !== 0 && !isMulticast && address.value !== 0xffffffffn && !host.isBroadcast(address);
}

function isUnicast6(address: IpAddress): boolean {
  const [first, second, third, fourth] = wordsOf(address);
  if (first >>> 24 === 0xff) return false;
  // :: and IPv4 inside IPv6 have no unicast bit in the kernel; ::1 has.
  return first !== 0 || second !== 0 || !((third === 0 && fourth === 0) || third === 0xffff);
}

/** True when the address may be a server's: unicast, and link-local only if it is the host's own. */
export function isServerAddress(address: IpAddress, host: HostFacts): boolean {
  if (address.family === 4) return isUnicast4(address, host);
  const isLinkLocal = address.value >> 118n === 0x3fan;
  return (isUnicast6(address) && !isLinkLocal) || host.isLocal(address);
}
