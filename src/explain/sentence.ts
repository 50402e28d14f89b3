// The sentence that `millrace explain` is asked with: PROTOCOL SOURCE -> DESTINATION. Strict text in; a packet's addresses out, or what is
// wrong with a mark under the place.
// Guarantees: pure; never throws; a packet written by `formatSentence` reads back as the same packet.
// Thread: any.
import { type Address, parseAddress } from '../config/address.js';

export const SENTENCE_PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp'] as const;
export type SentenceProtocol = (typeof SENTENCE_PROTOCOLS)[number];

export interface SentenceEnd {
  readonly address: Address;
  /** 0 where the protocol has none. */
  readonly port: number;
}

export interface Sentence {
  readonly protocol: SentenceProtocol;
  readonly source: SentenceEnd;
  readonly destination: SentenceEnd;
}

export interface SentenceFault {
  /** Where in the text, in characters from 0. */
  readonly at: number;
  readonly reason: string;
}

export type SentenceResult = { readonly sentence: Sentence } | { readonly fault: SentenceFault };

export const SENTENCE_EXAMPLES = [
  'tcp 198.51.100.7:4242 -> 203.0.113.10:443',
  'udp [2001:db8::7]:4242 -> [2001:db8:f::10]:53',
  'icmp 198.51.100.7 -> 203.0.113.10',
] as const;

interface Word {
  readonly text: string;
  readonly at: number;
}

/** Reads a sentence. Blanks may be left out around the arrow only. */
export function parseSentence(text: string): SentenceResult {
  const words = [...text.matchAll(/->|[^\s>-]+(?:-(?!>)[^\s>-]*)*|[>-]/g)].map((match) => ({ text: match[0], at: match.index }));
  const [protocolWord, sourceWord, arrow, destinationWord, rest] = words;
  if (protocolWord === undefined) return fault(0, `an empty sentence; expected for example "${SENTENCE_EXAMPLES[0]}"`);
  const protocol = SENTENCE_PROTOCOLS.find((name) => name === protocolWord.text.toLowerCase());
  if (protocol === undefined) {
    return fault(protocolWord.at, `unknown protocol "${protocolWord.text}"; expected one of ${SENTENCE_PROTOCOLS.join(', ')}`);
  }
  if (sourceWord === undefined) return fault(text.length, 'the source is missing');
  const source = parseEnd(sourceWord, protocol);
  if ('at' in source) return { fault: source };
  if (arrow?.text !== '->') return fault(arrow?.at ?? text.length, 'expected "->" behind the source');
  if (destinationWord === undefined) return fault(text.length, 'the destination is missing');
  const destination = parseEnd(destinationWord, protocol);
  if ('at' in destination) return { fault: destination };
  if (rest !== undefined) return fault(rest.at, `"${rest.text}" is more than one packet's description`);
  if (source.address.family !== destination.address.family) {
    return fault(
      destinationWord.at,
      `an IPv${source.address.family} source cannot send to an IPv${destination.address.family} address`,
    );
  }
  return { sentence: { protocol, source, destination } };
}

export function formatSentence(sentence: Sentence): string {
  const end = ({ address, port }: SentenceEnd): string => {
    if (sentence.protocol === 'icmp') return address.text;
    return `${address.family === 6 ? `[${address.text}]` : address.text}:${port}`;
  };
  return `${sentence.protocol} ${end(sentence.source)} -> ${end(sentence.destination)}`;
}

/** The fault as lines: reason, the text, a mark under the place. */
export function describeFault(text: string, { at, reason }: SentenceFault): string {
  return `${reason}\n    ${text.replaceAll(/\s/g, ' ')}\n    ${' '.repeat(at)}^`;
}

function parseEnd(word: Word, protocol: SentenceProtocol): SentenceEnd | SentenceFault {
  const match = /^(?:\[([^\]]*)\]|([^[\]]*?))(?::(\d*))?$/.exec(isBareIpv6(word.text) ? `[${word.text}]` : word.text);
  if (match === null) return { at: word.at, reason: `"${word.text}" is no address, or its brackets do not match` };
  const [, bracketed, plain, portText] = match;
  const address = parseAddress(bracketed ?? plain ?? '');
  if (address === undefined) return { at: word.at, reason: `"${bracketed ?? plain}" is not an IPv4 or IPv6 address` };
  if (bracketed !== undefined && address.family === 4) return { at: word.at, reason: 'an IPv4 address stands without brackets' };
  if (protocol === 'icmp') {
    return portText === undefined ? { address, port: 0 } : { at: word.at, reason: 'icmp has no ports' };
  }
  if (portText === undefined) {
    const form = address.family === 6 ? `[${address.text}]:PORT` : `${address.text}:PORT`;
    return { at: word.at, reason: `${protocol} needs a port: ${form}` };
  }
  const port = Number(portText);
  if (portText === '' || port > 65_535) return { at: word.at, reason: `"${portText}" is not a port from 0 to 65535` };
  return { address, port };
}

/** An IPv6 address without brackets and so without a port; every IPv4 address and port has one colon at most. */
function isBareIpv6(text: string): boolean {
  return !text.includes('[') && !text.includes(']') && text.split(':').length > 2;
}

function fault(at: number, reason: string): SentenceResult {
  return { fault: { at, reason } };
}
