// Sockets of checks: Node's own where they can do what is asked, native ones where an interface or a mark is.
// Guarantees: the caller owns what comes back, also before it is connected; errors come as events or as throws of the catalogue.
// Thread: a health worker.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { closeSync, readFileSync } from 'node:fs';
import { connect, isIP, Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { HealthCheckConfig } from '../config/schema.js';
import { loadNative } from '../native.js';
import type { NativeCheckSocket } from '../native-binding.js';
import type { CheckTarget } from './target.js';

type Place = Pick<CheckTarget, 'address' | 'family' | 'port' | 'check'>;

function needsNative(check: HealthCheckConfig): boolean {
  return check.bindInterface !== undefined || check.mark !== undefined;
}

function nativeSocket({ family, check }: Place, kind: NativeCheckSocket['kind']): number {
  const { openCheckSocket } = loadNative();
  return openCheckSocket({
    kind,
    family,
    bindAddress: check.bindAddress ?? '',
    bindInterface: check.bindInterface ?? '',
    mark: check.mark ?? 0,
  });
}

/** A TCP connection that is under way. */
export function openStream(place: Place): Socket {
  const { address, port, check } = place;
  if (!needsNative(check)) {
    return connect({
      host: address,
      port,
      ...(check.bindAddress === undefined ? {} : { localAddress: check.bindAddress }),
    });
  }
  const fd = nativeSocket(place, 'stream');
  try {
    return new Socket({ fd, readable: true, writable: true }).connect({ host: address, port });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** How long a certificate or a key that was read is used, milliseconds: one that was renewed counts soon, without a reload. */
const FRESH = 10_000;

/** Certificates and keys by file. */
const authorities = new Map<string, { readonly bytes: Buffer; readonly at: number }>();

function authority(file: string): Buffer {
  const now = performance.now();
  const known = authorities.get(file);
  if (known !== undefined && now - known.at < FRESH) return known.bytes;
  const bytes = readFileSync(file);
  authorities.set(file, { bytes, at: now });
  return bytes;
}

/** The name that is asked for and verified; undefined: there is none, and the address is verified. */
function serverName({ tls, host }: HealthCheckConfig): string | undefined {
  const name = tls?.serverName ?? host?.replace(/:[0-9]*$/, '');
  return name === undefined || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 ? undefined : name;
}

/** What TLS of a check needs, beside the connection. */
function tlsOptions({ address, check }: Place, alpn: readonly string[]) {
  const { tls } = check;
  const name = serverName(check);
  const own = tls?.clientCertificate;
  return {
    host: address,
    rejectUnauthorized: tls?.verify ?? false,
    ...(name === undefined ? {} : { servername: name }),
    ...(tls?.ca === undefined ? {} : { ca: authority(tls.ca) }),
    ...(own === undefined ? {} : { cert: authority(own.certificate), key: authority(own.key ?? own.certificate) }),
    ...(own?.password === undefined ? {} : { passphrase: own.password }),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  };
}

/** A TLS handshake that is under way, on a connection that may be, too. */
export function openTls(place: Place, alpn: readonly string[] = []): TLSSocket {
  // Files are read before there is a connection that somebody would have to close.
  const options = tlsOptions(place, alpn);
  const socket = openStream(place);
  try {
    return connectTls({ socket, ...options });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** A datagram socket. `ready` is called when it may be sent from, with a native one before this returns. */
export function openDatagram(place: Place, kind: 'datagram' | 'echo', ready: (socket: DatagramSocket) => void): DatagramSocket {
  const socket = createSocket(place.family === 6 ? 'udp6' : 'udp4');
  if (kind === 'echo' || needsNative(place.check)) {
    const fd = nativeSocket(place, kind);
    try {
      socket.bind({ fd }, () => ready(socket));
    } catch (error) {
      closeSync(fd);
      socket.close();
      throw error;
    }
    return socket;
  }
  const { bindAddress } = place.check;
  socket.bind({ port: 0, ...(bindAddress === undefined ? {} : { address: bindAddress }) }, () => ready(socket));
  return socket;
}
