// A TCP client made by hand: every frame of its HTTP request is built by the test and wrapped as the test wants, and the answers are read
// from the wire as they are.
// Guarantees: fails with the frame that was wrong; checks sequence numbers, checksums and who answers.
// Thread: the test's process.
import { decodePacket, describePacket, isIpv6, packet } from '../../support/packet/index.js';
import type { RawLink } from './raw-link.js';

export interface HttpExchange {
  readonly link: RawLink;
  readonly client: string;
  readonly clientPort: number;
  /** Who is asked and must answer. */
  readonly server: string;
  /** Segments of a request body, all sent at once; a GET without one. */
  readonly body?: readonly string[];
  /** Makes the frame that is sent from a client's IP packet; it begins with an Ethernet header whose addresses do not matter. */
  readonly wrap: (frame: Uint8Array) => Uint8Array;
}

interface Segment {
  readonly flags: string;
  readonly seq: number;
  readonly payload: Uint8Array;
}

const anyMac = '02:00:00:00:00:00';

/** Asks for "/", or posts the body to it, and resolves with the whole response, head and body. */
export async function handmadeHttp(exchange: HttpExchange): Promise<string> {
  const { link, client, clientPort, server, body = [], wrap } = exchange;
  let seq = 1_000_000;
  let ack = 0;
  const make = (flags: string, payload = ''): Uint8Array => {
    const start = packet().eth({ source: anyMac, destination: anyMac });
    const ip = isIpv6(client)
      ? start.ipv6({ source: client, destination: server })
      : start.ipv4({ source: client, destination: server, dontFragment: true });
    const tcp = ip.tcp({ sourcePort: clientPort, destinationPort: 80, seq, ack, flags });
    seq += payload.length + (flags.includes('S') ? 1 : 0);
    return wrap((payload === '' ? tcp : tcp.payload(payload)).build());
  };
  const send = (flags: string, payload = ''): void => link.send(make(flags, payload));
  const next = (): Promise<Segment> => link.receive((frame) => segmentFor(frame, exchange));

  send('S');
  const first = await next();
  if (first.flags !== 'SA') throw new Error(`SYN was answered by ${first.flags}`);
  ack = first.seq + 1;
  send('A');
  const length = body.reduce((sum, part) => sum + part.length, 0);
  const head = body.length === 0 ? ['GET / HTTP/1.1'] : ['POST / HTTP/1.1', `Content-Length: ${length}`];
  send('PA', [...head, 'Host: handmade', 'Connection: close', '', ''].join('\r\n'));
  link.send(...body.map((part) => make('A', part)));
  let response = '';
  for (;;) {
    const segment = await next();
    // What was sent twice because our answer took its time.
    if (segment.seq !== ack) continue;
    response += Buffer.from(segment.payload).toString('latin1');
    ack += segment.payload.length;
    if (segment.flags.includes('F')) break;
    if (segment.flags.includes('R')) throw new Error(`reset after "${response}"`);
    if (segment.payload.length > 0) send('A');
  }
  send('RA');
  return response;
}

/** The segment in a frame if it belongs to this exchange. */
function segmentFor(frame: Uint8Array, { client, clientPort, server }: HttpExchange): Segment | undefined {
  const { fields } = decodePacket(frame);
  if (fields.get('ip.destination') !== client || fields.get('tcp.destinationPort') !== clientPort) return undefined;
  if (fields.get('ip.source') !== server) throw new Error(`somebody else answers: ${describePacket(frame)}`);
  if (fields.get('tcp.checksumRight') !== 'yes') throw new Error(`wrong checksum: ${describePacket(frame)}`);
  return {
    flags: String(fields.get('tcp.flags')),
    seq: Number(fields.get('tcp.seq')),
    payload: Uint8Array.from(Buffer.from(String(fields.get('payload')), 'hex')),
  };
}
