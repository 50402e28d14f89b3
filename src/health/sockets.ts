// Sockets of checks: Node's own where they can do what is asked, native ones where an interface or a mark is.
// Guarantees: the caller owns what comes back, also before it is connected; errors come as events or as throws of the catalogue.
// Thread: a health worker.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { closeSync, readFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
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

/** Certificates and keys by file. */
const authorities = new Map<string, Buffer>();

/** The file is read once: a worker that lives for months reads it anew when the configuration is loaded again. */
function authority(file: string): Buffer {
  const known = authorities.get(file);
  if (known !== undefined) return known;
  const read = readFileSync(file);
  authorities.set(file, read);
  return read;
}

export function forgetAuthorities(): void {
  authorities.clear();
}

/** What TLS of a check needs, beside the connection. */
export function tlsOptions({ tls, host }: HealthCheckConfig, alpn: readonly string[] = []) {
  const name = tls?.serverName ?? host;
  const own = tls?.clientCertificate;
  return {
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
  return connectTls({ socket: openStream(place), ...tlsOptions(place.check, alpn) });
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
