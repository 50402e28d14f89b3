// Checks by datagrams: UDP with a payload, DNS (RFC 1035) and ICMP echo (RFC 792, RFC 4443).
// Guarantees: an answer that does not belong to the question is passed over.
// Thread: a health worker.
import { randomInt } from 'node:crypto';
import type { DnsType } from '../../config/check-types.js';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import { openDatagram } from '../sockets.js';
import type { CheckTarget } from '../target.js';

/** Text, or bytes as "hex:0a0b". */
export function payloadOf(text: string): Buffer {
  return text.startsWith('hex:') ? Buffer.from(text.slice(4).replaceAll(/[^0-9a-fA-F]/g, ''), 'hex') : Buffer.from(text);
}

/**
 * Sends one datagram and hears what comes back; the returned function closes. The socket is connected, so that "port unreachable" and
 * "network unreachable" come back as errors.
 */
function converse(
  target: CheckTarget,
  datagram: Buffer,
  end: (outcome: Outcome) => void,
  hear: (message: Buffer) => void,
): () => void {
  const socket = openDatagram(target, 'datagram', (ready) => {
    ready.once('connect', () => ready.send(datagram));
    ready.connect(target.port, target.address);
  });
  socket.on('message', hear);
  socket.on('error', (error) => end(bad(describeFailure(error))));
  return () => socket.close();
}

export function checkUdp(target: CheckTarget): Promise<Outcome> {
  const { check } = target;
  const wanted = check.contains === undefined ? undefined : payloadOf(check.contains);
  const pattern = check.matches === undefined ? undefined : new RegExp(check.matches, `u${check.matchFlags ?? ''}`);
  const mustAnswer = check.replyRequired ?? (wanted !== undefined || pattern !== undefined);
  return untilVerdict(
    target.timeout,
    (end) =>
      converse(target, payloadOf(check.payload ?? ''), end, (message) => {
        if (wanted !== undefined && !message.includes(wanted)) end(bad(`the reply does not contain "${check.contains}"`));
        else if (pattern !== undefined && !pattern.test(message.toString('latin1')))
          end(bad(`the reply does not match ${check.matches}`));
        else end(good('answered'));
      }),
    () => (mustAnswer ? bad(`no reply within ${target.timeout} ms`) : good('no error')),
  );
}

const RECORD_TYPES: Readonly<Record<DnsType, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  ANY: 255,
};

/** A query with one question, recursion desired. Throws RangeError where the name is none. */
export function dnsQuery(id: number, name: string, type: DnsType): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  const parts = labels.map((label) => {
    const bytes = Buffer.from(label);
    if (bytes.length > 63) throw new RangeError(`"${label}" is longer than 63 bytes`);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  const tail = Buffer.from([0, 0, 0, 0, 1]);
  tail.writeUInt16BE(RECORD_TYPES[type], 1);
  return Buffer.concat([header, ...parts, tail]);
}

const RESPONSE_CODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

/** What a message says to the query with this id; undefined: it is no answer to it. */
export function dnsVerdict(id: number, message: Buffer): Outcome | undefined {
  if (message.length < 12 || message.readUInt16BE(0) !== id) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) === 0) return undefined;
  const code = flags & 0x000f;
  const name = RESPONSE_CODES[code] ?? `code ${code}`;
  return code === 0 ? good(`${name}, ${message.readUInt16BE(6)} answers`) : bad(`answered ${name}`);
}

export function checkDns(target: CheckTarget): Promise<Outcome> {
  return untilVerdict(target.timeout, (end) => {
    const id = randomInt(65_536);
    const query = dnsQuery(id, target.check.query ?? '.', target.check.queryType ?? 'SOA');
    return converse(target, query, end, (message) => {
      const verdict = dnsVerdict(id, message);
      if (verdict !== undefined) end(verdict);
    });
  });
}

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ECHO_REPLY = { 4: 0, 6: 129 } as const;

export function checkPing(target: CheckTarget): Promise<Outcome> {
  return untilVerdict(target.timeout, (end) => {
    const sequence = randomInt(65_536);
    const token = randomInt(2 ** 32);
    // The kernel fills in identifier and checksum of such sockets.
    const request = Buffer.alloc(64);
    request[0] = ECHO_REQUEST[target.family];
    request.writeUInt16BE(sequence, 6);
    request.writeUInt32BE(token, 8);
    const begun = performance.now();
    const socket = openDatagram(target, 'echo', (ready) => ready.send(request, 1, target.address));
    socket.on('message', (message) => {
      if (message.length < 12 || message[0] !== ECHO_REPLY[target.family]) return;
      if (message.readUInt16BE(6) !== sequence || message.readUInt32BE(8) !== token) return;
      end(good(`answered in ${(performance.now() - begun).toFixed(1)} ms`));
    });
    socket.on('error', (error) => end(bad(describeFailure(error))));
    return () => socket.close();
  });
}
