// What a virtual server of keepalived is for the configuration: one service for an address, one for each member of a group, a list of
// matches for a firewall mark; each with a name that depends on nothing but what it is.
// Guarantees: names are unique; a virtual server that cannot be one is reported and gives nothing.
// Thread: any; pure but for the reports and the names given out.
import type { Scope } from './block.js';
import { given, type MatchInput, type ServiceInput } from './draft.js';
import type { GroupEntry, KeepalivedConfig, VirtualServer } from './model.js';
import { addressesOf } from './ranges.js';
import type { Place } from './report.js';

/** What tells a service from others. */
export interface Identity {
  readonly at: Place;
  readonly keys: Pick<ServiceInput, 'name' | 'address' | 'port' | 'protocol' | 'match' | 'mark'>;
}

/** A service of the base file that says which packets a mark stands for. */
export type MarkedService = ServiceInput & { readonly mark: number; readonly match: MatchInput[] };

export interface AddressContext {
  readonly config: KeepalivedConfig;
  readonly marked: ReadonlyMap<number, MarkedService>;
  readonly names: Names;
  readonly scope: Scope;
}

/** Most services that one group becomes. */
export const MOST_MEMBERS = 4096;
const LONGEST_NAME = 63;

/** Gives out names that the configuration takes, each once. */
export class Names {
  readonly #taken: Set<string>;

  constructor(taken: Iterable<string>) {
    this.#taken = new Set(taken);
  }

  /** `tail` is kept whole, `head` is cut where both are too long. */
  give(head: string, tail: string): string {
    for (let count = 1; ; count++) {
      const end = clean(count === 1 ? tail : `${tail}-${count}`);
      const start = clean(head).slice(0, Math.max(0, LONGEST_NAME - 1 - end.length));
      const name =
        (start === '' ? end : `${start}-${end}`).replace(/^[^A-Za-z0-9]+/, '').slice(0, LONGEST_NAME) || `service-${count}`;
      if (this.#taken.has(name)) continue;
      this.#taken.add(name);
      return name;
    }
  }

  /** The text itself where it can be a name and is free. */
  giveAsIs(text: string): string | undefined {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text) || this.#taken.has(text)) return undefined;
    this.#taken.add(text);
    return text;
  }
}

function clean(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._-]/g, '-').replace(/^-+/, '');
}

/** Protocols as the configuration names them; those without ports have none. */
const PROTOCOLS = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp', ICMP: undefined, ICMPV6: undefined } as const;

export function identitiesOf(virtual: VirtualServer, context: AddressContext): Identity[] {
  const { address } = virtual;
  const { scope } = context;
  // Without a word keepalived takes UDP, as the kernel does.
  const protocol = PROTOCOLS[virtual.protocol ?? 'UDP'];
  if (address.kind !== 'fwmark' && protocol === undefined) {
    scope.report(
      'unsupported',
      virtual.at,
      `protocol ${virtual.protocol} has no ports to balance; it is left out`,
      'take it away',
    );
    return [];
  }
  switch (address.kind) {
    case 'address': {
      const port = address.port ?? 'any';
      const name = named(virtual, context) ?? context.names.give('', `${protocol}-${address.address.text}-${port}`);
      return [{ at: virtual.at, keys: { name, address: address.address.text, port, ...given({ protocol }) } }];
    }
    case 'fwmark':
      return markedIdentity(address.mark, virtual.at, context);
    case 'group':
      return groupIdentities(virtual, address.name, protocol ?? 'udp', context);
    case 'match':
      scope.report('unsupported', virtual.at, 'a match needs the method SNAT; it is left out', 'write lb_kind SNAT');
      return [];
  }
}

function named({ snmpName }: VirtualServer, { names }: AddressContext): string | undefined {
  return snmpName === undefined ? undefined : names.giveAsIs(snmpName);
}

function markedIdentity(mark: number, at: Place, { marked, scope }: AddressContext): Identity[] {
  const known = marked.get(mark);
  if (known !== undefined) return [{ at, keys: { name: known.name, mark, match: known.match } }];
  const reason = `which packets carry the firewall mark ${mark} is not in this file but in rules of iptables or nftables; it is left out`;
  const remedy = `add to the base file a service with mark: ${mark}, the list of matches under match, and servers: []`;
  scope.report('unsupported', at, reason, remedy);
  return [];
}

type Protocol = 'tcp' | 'udp' | 'sctp';

function groupIdentities(virtual: VirtualServer, name: string, protocol: Protocol, context: AddressContext): Identity[] {
  const group = context.config.groups.find((known) => known.name === name);
  // That it is missing has been reported by the one who read the file.
  if (group === undefined) return [];
  const head = virtual.snmpName ?? name;
  const ends = group.entries.filter((entry) => entry.kind === 'addresses');
  if (virtual.protocol === undefined && ends.length > 0) {
    context.scope.report('note', virtual.at, 'no protocol; keepalived takes UDP', 'write protocol TCP or UDP');
  }
  return group.entries.flatMap((entry) =>
    entry.kind === 'fwmark'
      ? markedIdentity(entry.mark, entry.at, context)
      : memberIdentities(entry, virtual, head, protocol, context),
  );
}

function memberIdentities(
  entry: Extract<GroupEntry, { kind: 'addresses' }>,
  { ipFamily, at }: VirtualServer,
  head: string,
  protocol: Protocol,
  { names, scope }: AddressContext,
): Identity[] {
  const family = entry.first.family === 4 ? 'inet' : 'inet6';
  if (ipFamily !== undefined && ipFamily !== family) {
    scope.report(
      'invalid',
      entry.at,
      `the virtual server has ip_family ${ipFamily}, and this is ${family}; it is left out`,
      'make them agree',
    );
    return [];
  }
  const members = addressesOf(entry, MOST_MEMBERS);
  if (members === undefined) {
    const reason = `the range has more than ${MOST_MEMBERS} addresses; it is left out`;
    scope.report('unsupported', entry.at, reason, 'route the prefix to the load balancer and write one service for it');
    return [];
  }
  const port = entry.port ?? 'any';
  return members.map((address) => ({
    at,
    keys: { name: names.give(head, `${protocol}-${address.text}-${port}`), address: address.text, port, protocol },
  }));
}
