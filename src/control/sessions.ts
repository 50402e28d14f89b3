// Sessions as people and programs ask for them: names in place of slots, a cursor in place of a worker's number.
// Guarantees: pure; a name that is not there is an error, not an empty list.
// Thread: any; no state.
import { parsePrefix } from '../config/address.js';
import { parseVips } from '../config/matching.js';
import { createError } from '../errors.js';
import {
  type NativeSessionPage,
  type NativeSessionRequest,
  type NativeSlotMap,
  SESSION_MODES,
  SESSION_STATES,
} from '../native-binding.js';
import { endpoint } from './endpoint.js';

/** All of it must hold; what is left out holds always. */
export interface SessionFilter {
  readonly service?: string;
  /** "ADDRESS:PORT" of a server, behind whichever service. */
  readonly server?: string;
  /** Address or prefix. */
  readonly client?: string;
  readonly clientPort?: number;
  readonly protocol?: 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6' | 'esp' | 'ah';
}

export interface SessionPaging {
  /** Rows; 1 to 10,000. */
  readonly limit?: number;
  /** Of the page before. */
  readonly cursor?: string;
}

export interface SessionView {
  readonly protocol: string;
  /** Endpoints: "192.0.2.1:80", "[2001:db8::1]:80". */
  readonly client: string;
  readonly vip: string;
  /** Where the server's answers go: a local address, or the client's own. */
  readonly local: string;
  readonly server: string;
  readonly service: string;
  readonly mode: string;
  /** As IPVS names it. */
  readonly state: string;
  /** Seconds without a packet until it goes. */
  readonly expires: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly worker: number;
}

export interface SessionList {
  readonly sessions: readonly SessionView[];
  /** For the next page; absent at the end. */
  readonly cursor?: string;
}

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmpv6: 58, esp: 50, ah: 51 } as const;

const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 100;

function refuse(message: string, remedy: string): Error {
  return createError('MILLRACE_E_INPUT_INVALID', message, { remedy });
}

/** What the dataplane is asked for a page. Throws MILLRACE_E_INPUT_INVALID. */
export function pageRequest(slots: NativeSlotMap, filter: SessionFilter, page: SessionPaging): NativeSessionRequest {
  const limit = page.limit ?? DEFAULT_LIMIT;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw refuse(`a page of ${limit} sessions is not possible`, `Ask for 1 to ${MAX_LIMIT}.`);
  }
  return { ...sessionRequest(slots, filter), ...cursorOf(page.cursor), limit };
}

/** What the dataplane is asked about all sessions that meet the filter, without a list of them. Throws MILLRACE_E_INPUT_INVALID. */
export function sessionRequest(slots: NativeSlotMap, filter: SessionFilter): NativeSessionRequest {
  const services = filter.service === undefined ? slots.services : slots.services.filter(({ name }) => name === filter.service);
  if (services.length === 0 && filter.service !== undefined) {
    throw refuse(`there is no service "${filter.service}"`, '`millrace services` lists them.');
  }
  const servers =
    filter.server === undefined
      ? []
      : services.flatMap((service) =>
          service.servers.filter(({ address, port }) => endpoint(address, port) === filter.server).map(({ slot }) => slot),
        );
  if (servers.length === 0 && filter.server !== undefined) {
    throw refuse(`there is no server "${filter.server}"`, 'Write it as ADDRESS:PORT, as `millrace servers` lists it.');
  }
  return {
    client: clientPrefix(filter.client),
    clientPort: portNumber(filter.clientPort),
    protocol: protocolNumber(filter.protocol),
    services: filter.service === undefined ? [] : services.map(({ slot }) => slot),
    servers,
    fromWorker: 0,
    fromId: 0,
    limit: 0,
    end: false,
  };
}

/** 0: any. A value that is none must not become "any": sessions are ended by filters, too. */
function portNumber(port: number | undefined): number {
  if (port === undefined) return 0;
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw refuse(`${port} is no port of a client`, 'Write a number from 1 to 65535.');
}

function protocolNumber(protocol: SessionFilter['protocol']): number {
  if (protocol === undefined) return 0;
  if (Object.hasOwn(PROTOCOLS, protocol)) return PROTOCOLS[protocol];
  throw refuse(`there is no protocol "${String(protocol)}"`, `Protocols are: ${Object.keys(PROTOCOLS).join(', ')}.`);
}

function clientPrefix(text: string | undefined): string {
  if (text === undefined) return '';
  const parsed = parseVips(text) ?? parsePrefix(text);
  if (parsed === undefined)
    throw refuse(`"${text}" is neither an address nor a prefix`, 'Write it as 192.0.2.7 or 192.0.2.0/24.');
  return `${parsed.address.text}/${parsed.length}`;
}

function cursorOf(text: string | undefined): { readonly fromWorker: number; readonly fromId: number } {
  if (text === undefined) return { fromWorker: 0, fromId: 0 };
  const [, worker, id] = /^(\d{1,3})-(\d{1,10})$/.exec(text) ?? [];
  if (worker === undefined || Number(id) >= 2 ** 32 - 1)
    throw refuse(`"${text}" is no cursor`, 'Take the one that came with the page before.');
  return { fromWorker: Number(worker), fromId: Number(id) };
}

/** What the dataplane has answered, in words. */
export function sessionList(slots: NativeSlotMap, { rows, next }: NativeSessionPage): SessionList {
  const names = new Map(slots.services.map(({ slot, name }) => [slot, name]));
  const protocols = new Map<number, string>(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));
  const sessions = rows.map(
    (row): SessionView => ({
      protocol: protocols.get(row.protocol) ?? String(row.protocol),
      client: endpoint(row.client, row.clientPort),
      vip: endpoint(row.vip, row.vipPort),
      local: endpoint(row.local, row.localPort),
      server: endpoint(row.server, row.serverPort),
      service: names.get(row.service) ?? '',
      mode: SESSION_MODES[row.mode] ?? String(row.mode),
      state: SESSION_STATES[row.state] ?? String(row.state),
      expires: Math.floor(row.expires / 1000),
      packetsIn: row.packetsIn,
      packetsOut: row.packetsOut,
      worker: row.worker,
    }),
  );
  return next === undefined ? { sessions } : { sessions, cursor: `${next.worker}-${next.id}` };
}
