// The gRPC health checking protocol: grpc.health.v1.Health/Check over HTTP/2.
// Source: github.com/grpc/grpc, doc/health-checking.md and doc/PROTOCOL-HTTP2.md.
// Thread: a health worker.
import { connect } from 'node:http2';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import { openStream, openTls } from '../sockets.js';
import type { CheckTarget } from '../target.js';

const STATES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const MAX_MESSAGE = 4096;

/** HealthCheckRequest{service} with its frame: a byte for "not compressed", four of length. */
export function healthRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

/** The state in a framed HealthCheckResponse: field 1, a varint; 0 where it is left out. undefined: this is none. */
export function healthStatus(framed: Buffer): number | undefined {
  if (framed.length < 5 || framed[0] !== 0) return undefined;
  const message = framed.subarray(5);
  if (message.length !== framed.readUInt32BE(1)) return undefined;
  if (message.length === 0) return 0;
  return message.length === 2 && message[0] === 0x08 && (message[1] ?? 0x80) < 0x80 ? message[1] : undefined;
}

export function checkGrpc(target: CheckTarget): Promise<Outcome> {
  const { check, address, family, port } = target;
  const authority = check.host ?? `${family === 6 ? `[${address}]` : address}:${port}`;
  const scheme = check.tls === undefined ? 'http' : 'https';
  return untilVerdict(target.timeout, (end) => {
    const fail = (error: unknown): void => end(bad(describeFailure(error)));
    const session = connect(`${scheme}://${authority}`, {
      createConnection: () => (check.tls === undefined ? openStream(target) : openTls(target, ['h2'])),
    });
    session.on('error', fail);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    let length = 0;
    let grpcStatus: string | undefined;
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      if (typeof headers['grpc-status'] === 'string') grpcStatus = headers['grpc-status'];
      const status = headers[':status'];
      if (status !== undefined && status !== 200) end(bad(`HTTP status ${status}`));
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_MESSAGE) end(bad('the answer is too long'));
      else chunks.push(chunk);
    });
    stream.on('error', fail);
    stream.on('close', () => {
      if (grpcStatus !== '0') {
        end(bad(`gRPC status ${grpcStatus ?? 'missing'}`));
        return;
      }
      const state = healthStatus(Buffer.concat(chunks));
      const name = state === undefined ? 'an answer that is none' : (STATES[state] ?? `state ${state}`);
      end(state === 1 ? good(name) : bad(name));
    });
    stream.end(healthRequest(check.service ?? ''));
    return () => session.destroy();
  });
}
