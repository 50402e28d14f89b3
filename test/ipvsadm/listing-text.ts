// Reads listings of ipvsadm back into a table, so that recordings whose traffic cannot be had again are compared in every byte that is
// layout: columns, widths, blanks, orders of what is sorted.
// Guarantees: throws on a line that does not have the form of a listing.
// Thread: any.
import { type IpAddress, parseDotted, parseIpv6 } from '../../src/ipvs/address.js';
import { formatAddressPort } from '../../src/ipvs/format.js';
import {
  type Connection,
  type ConnectionCounts,
  type CounterSource,
  type Counters,
  NO_COUNTS,
  NO_TRAFFIC,
  type ServerKey,
  type Service,
} from '../../src/ipvs/model.js';

function endOf(text: string): ServerKey {
  const match = /^(?:\[(.*)\]|([0-9.]+)):([0-9]+)$/.exec(text);
  const address: IpAddress | undefined = match?.[1] === undefined ? parseDotted(match?.[2] ?? '') : parseIpv6(match[1]);
  if (address === undefined) throw new Error(`not an address with a port: ${text}`);
  return { address, port: Number(match?.[3]) };
}

/** The connections of -Lnc, in its order. */
export function connectionsOfListing(text: string): Connection[] {
  const [title, , ...lines] = text.split('\n').slice(0, -1);
  if (title !== 'IPVS connection entries') throw new Error(`not a listing of connections: ${title}`);
  return lines.map((line) => {
    const [, protocol, minutes, seconds, state = '', client = '', virtual = '', server = ''] =
      /^(TCP|UDP|SCTP|IP) +([0-9]+):([0-9]+) +(\S+) +(\S+) +(\S+) +(\S+)$/.exec(line) ?? [];
    if (protocol === undefined) throw new Error(`not a connection: ${line}`);
    return {
      protocol: protocol as Connection['protocol'],
      client: endOf(client),
      virtual: endOf(virtual),
      server: endOf(server),
      state,
      expires: Number(minutes) * 60 + Number(seconds),
    };
  });
}

interface Numbers {
  readonly counters: Counters;
  readonly counts: ConnectionCounts;
}

const FORWARDS: Readonly<Record<string, string>> = { Masq: '-m', Route: '-g', Tunnel: '-i' };
const SERVICES: Readonly<Record<string, string>> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service', FWM: '-f' };

function countersOf(cells: readonly string[]): Counters {
  const [conns = 0n, inPackets = 0n, outPackets = 0n, inBytes = 0n, outBytes = 0n] = cells.map(BigInt);
  return { ...NO_COUNTS, conns, inPackets, outPackets, inBytes, outBytes };
}

/** What a server's columns say, by the option that chose them. */
function readServer(columns: string, cells: readonly string[]): { readonly options: string; readonly numbers: Numbers } {
  const [a = '', b = '', c = '', d = '', e = ''] = cells;
  const numbers = (active: string, inactive: string, persistent = '0'): Numbers => ({
    counters: NO_COUNTS,
    counts: { active: Number(active), inactive: Number(inactive), persistent: Number(persistent) },
  });
  switch (columns) {
    case '--thresholds':
      return { options: `-m -x ${a} -y ${b}`, numbers: numbers(c, d) };
    case '--persistent-conn':
      return { options: `-m -w ${a}`, numbers: numbers(c, d, b) };
    case '--stats':
      return { options: '-m', numbers: { counters: countersOf(cells), counts: NO_TRAFFIC_COUNTS } };
    case '--tun-info':
      return { options: `${FORWARDS[a]} -w ${c}`, numbers: numbers(d, e) };
    default:
      return { options: `${FORWARDS[a]} -w ${b}`, numbers: numbers(c, d) };
  }
}

const NO_TRAFFIC_COUNTS: ConnectionCounts = { active: 0, inactive: 0, persistent: 0 };

function serviceOptions(columns: string, rest: string): string {
  if (columns === '--stats') return '-s rr';
  const match = /^(\S+)(?: persistent ([0-9]+)(?: mask (\S+))?)?( ops)?$/.exec(rest.trim());
  if (match === null) throw new Error(`not the settings of a service: ${rest}`);
  const [, scheduler, timeout, mask, ops] = match;
  const persistence = timeout === undefined ? '' : ` -p ${timeout}${mask === undefined ? '' : ` -M ${mask}`}`;
  return `-s ${scheduler}${persistence}${ops === undefined ? '' : ' -o'}`;
}

export interface Listing {
  /** Command lines that make the services and servers. */
  readonly rules: readonly string[];
  readonly counters: CounterSource;
}

const nameOf = (key: ServerKey): string => formatAddressPort(key, undefined, undefined);
const serviceName = (service: Service): string =>
  service.fwmark === 0 ? `${service.protocol} ${nameOf(service)}` : `${service.fwmark}`;
const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** A listing of services; `columns` is the option that chose its columns, empty for none. */
export function readListing(text: string, columns: string): Listing {
  const rules: string[] = [];
  const known = new Map<string, Numbers>();
  let [option, service] = ['', ''];
  for (const line of text.split('\n').slice(3, -1)) {
    const [first = '', name = '', ...cells] = line.trim().split(/ +/);
    if (first === '->') {
      const { options, numbers } = readServer(columns, cells);
      rules.push(`ipvsadm -a ${option} -r ${name} ${options}`);
      known.set(`${service} ${name}`, numbers);
    } else {
      option = `${SERVICES[first]} ${name}`;
      service = first === 'FWM' ? name : `${PROTOCOLS[first]} ${name}`;
      rules.push(`ipvsadm -A ${option} ${serviceOptions(columns, cells.join(' '))}`);
      if (columns === '--stats') known.set(service, { counters: countersOf(cells), counts: NO_TRAFFIC_COUNTS });
    }
  }
  return {
    rules,
    counters: {
      ...NO_TRAFFIC,
      service: (each) => known.get(serviceName(each))?.counters ?? NO_COUNTS,
      server: (each, server) => known.get(`${serviceName(each)} ${nameOf(server)}`)?.counters ?? NO_COUNTS,
      counts: (each, server) => known.get(`${serviceName(each)} ${nameOf(server)}`)?.counts ?? NO_TRAFFIC_COUNTS,
    },
  };
}
