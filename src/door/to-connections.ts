// Shows sessions as the connections that ipvsadm lists: IPVS's words, or those of DPVS.
// Guarantees: what is asked of the balancer is bounded, however many sessions there are; what is not listed is said in a note.
// Source: state names of IPVS as in test/ipvsadm/recordings/09; of DPVS: iqiyi/dpvs 1.9.8, what its ipvsadm prints.
// Thread: main.
import { parseAddress } from '../config/address.js';
import type { SessionFilter, SessionList, SessionPaging, SessionView } from '../control/sessions.js';
import type { Connection, ServerKey } from '../ipvs/model.js';
import type { Dialect } from '../ipvs/option-table.js';

export interface SessionSource {
  sessions(filter?: SessionFilter, page?: SessionPaging): Promise<SessionList>;
  countSessions(filter?: SessionFilter): Promise<number>;
}

export interface ConnectionListing {
  /** In the order of the dataplane: worker after worker. */
  readonly connections: readonly Connection[];
  /** What is not listed, and why. */
  readonly leftOut: readonly string[];
}

/** Longest listing: its text has about 8 MB. */
export const MAX_CONNECTIONS = 100_000;
const PAGE = 10_000;

const PROTOCOLS: Readonly<Record<string, Connection['protocol']>> = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' };

/** Where IPVS has another word than the dataplane. */
const IPVS_STATES: Readonly<Record<string, string>> = {
  UDP_ONE_WAY: 'UDP',
  COOKIE_SENT: 'C-SENT',
  COOKIE_REPLIED: 'C-REPLIED',
  COOKIE_WAIT: 'C-WAIT',
  COOKIE_ECHOED: 'C-ECHOED',
  SHUTDOWN_SENT: 'S-SENT',
  SHUTDOWN_RECEIVED: 'S-RECEIVED',
  SHUTDOWN_ACK_SENT: 'S-ACK-SENT',
};

const DPVS_STATES: Readonly<Record<string, string>> = {
  NONE: 'TCP_NONE',
  ESTABLISHED: 'TCP_EST',
  CLOSE: 'TCP_CLOSE',
  UDP_ONE_WAY: 'UDP_ONEWAY',
  UDP: 'UDP_NORM',
};
/** DPVS has room for so many characters of a state. */
const DPVS_STATE_LENGTH = 15;

/** The state of a session as IPVS or DPVS names it. */
export function stateName({ protocol, state }: Pick<SessionView, 'protocol' | 'state'>, dialect: Dialect): string {
  if (dialect !== 'dpvs') return IPVS_STATES[state] ?? state;
  return (protocol === 'sctp' ? `SCTP_${state}` : (DPVS_STATES[state] ?? state)).slice(0, DPVS_STATE_LENGTH);
}

function endOf(endpoint: string): ServerKey {
  const colon = endpoint.lastIndexOf(':');
  const text = endpoint.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`the dataplane has named an address that is none: ${endpoint}`);
  return { address: { family: address.family, value: address.value }, port: Number(endpoint.slice(colon + 1)) };
}

/** A few VIPs and servers stand in many sessions. */
class Ends {
  readonly #known = new Map<string, ServerKey>();

  of(endpoint: string): ServerKey {
    const known = this.#known.get(endpoint) ?? endOf(endpoint);
    this.#known.set(endpoint, known);
    return known;
  }
}

function connectionOf(session: SessionView, protocol: Connection['protocol'], dialect: Dialect, ends: Ends): Connection {
  const { client, vip, local, server, expires, worker } = session;
  const end = endOf(client);
  return {
    protocol,
    client: end,
    virtual: ends.of(vip),
    server: ends.of(server),
    state: stateName(session, dialect),
    expires,
    dpvs: { worker, local: local === client ? end : endOf(local) },
  };
}

/**
 * The sessions of now, `most` at most. Sessions of ICMP, ESP and AH are left out: ipvsadm has no form for them.
 * @throws MILLRACE_E_NOT_RUNNING while the balancer stops.
 */
export async function listConnections(
  source: SessionSource,
  dialect: Dialect,
  most: number = MAX_CONNECTIONS,
): Promise<ConnectionListing> {
  const ends = new Ends();
  const connections: Connection[] = [];
  let [seen, others] = [0, 0];
  let cursor: string | undefined;
  do {
    const limit = Math.min(PAGE, most - seen);
    const page: SessionList = await source.sessions({}, { limit, ...(cursor === undefined ? {} : { cursor }) });
    for (const session of page.sessions) {
      const protocol = PROTOCOLS[session.protocol];
      if (protocol === undefined) others += 1;
      else connections.push(connectionOf(session, protocol, dialect, ends));
    }
    seen += page.sessions.length;
    cursor = page.cursor;
  } while (cursor !== undefined && seen < most);
  const leftOut: string[] = [];
  if (others > 0) leftOut.push(`${others} sessions are not listed: they are of icmp, esp or ah`);
  if (cursor !== undefined)
    leftOut.push(
      `only ${most} of ${await source.countSessions()} sessions were looked at: \`millrace sessions list --all\` lists all`,
    );
  return { connections, leftOut };
}
