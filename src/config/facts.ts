// What the semantic rules look at: every usable address, name and number of a configuration with the place it stands at.
// A file with one mistake usually has others; so the rules also run on a value that the schema has refused, and simply do not see
// the parts that are wrong already.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { type Address, type Prefix, parseAddress, parsePortRange, parsePrefix } from './address.js';
import { valueAt, valueIn } from './explain.js';
import { type ConfigPath, type Finding, isBelow } from './finding.js';
import { FORWARD_MODES, type ForwardMode } from './forward-mode.js';
import { ANY_PORT, BOTH, isHost, type Ports, parsePorts, parseVips } from './matching.js';
import { suggest } from './suggest.js';

/** A value and where it stands. */
export interface Fact<T> {
  readonly value: T;
  readonly path: ConfigPath;
}

export interface ServerFacts {
  readonly path: ConfigPath;
  readonly address: Fact<Address> | undefined;
  /** The service's port where the server has none. */
  readonly port: Fact<number> | undefined;
  readonly id: Fact<number> | undefined;
  /** Whether `port` is what the configuration says, which may be none at all; false where what it says cannot be used. */
  readonly portKnown: boolean;
  /** The key of the server itself. */
  readonly ownPort: Fact<number> | undefined;
  /** The service's mode where the server has none. */
  readonly mode: Fact<ForwardMode> | undefined;
  readonly tunnelPort: Fact<number> | undefined;
  readonly upperThreshold: Fact<number> | undefined;
  readonly upperThresholdGiven: boolean;
  readonly lowerThreshold: Fact<number> | undefined;
  /** Where a `rateLimit` stands that limits nothing. */
  readonly emptyRateLimit: ConfigPath | undefined;
}

export interface MatchFacts {
  readonly path: ConfigPath;
  readonly protocol: Fact<string> | undefined;
  readonly source: Fact<Prefix> | undefined;
  readonly destination: Fact<Prefix> | undefined;
  readonly ports: Fact<Ports> | undefined;
  readonly interface: Fact<string> | undefined;
  /** Whether everything that is written is in the facts above. */
  readonly complete: boolean;
}

export interface PersistenceFacts {
  readonly path: ConfigPath;
  readonly timeout: Fact<number> | undefined;
  readonly prefix: Fact<number> | undefined;
  readonly group: Fact<string> | undefined;
}

export interface TlvFacts {
  readonly path: ConfigPath;
  readonly type: Fact<number> | undefined;
  readonly text: string | undefined;
  readonly hex: string | undefined;
}

export interface ClientAddressFacts {
  readonly method: Fact<string> | undefined;
  /** Keys that are there, whatever their values. */
  readonly keys: readonly Fact<string>[];
  readonly carrier: Fact<string> | undefined;
  readonly tlvs: readonly TlvFacts[];
}

export interface CheckFacts {
  readonly type: Fact<string> | undefined;
  /** Keys that are there, whatever their values. */
  readonly keys: readonly Fact<string>[];
  /** Program of a script. */
  readonly command: Fact<string> | undefined;
  /** Some server that it checks has no port, neither its own nor the service's. */
  readonly portless: boolean;
}

export interface ServiceFacts {
  readonly path: ConfigPath;
  readonly name: Fact<string> | undefined;
  /** Of a service with one VIP. */
  readonly address: Fact<Address> | undefined;
  /** The same, and prefixes of VIPs. */
  readonly vips: Fact<Prefix> | undefined;
  /** Keys of those that are there, whatever their values: address, port, protocol, match, mark. */
  readonly given: readonly string[];
  readonly matches: readonly MatchFacts[];
  readonly mark: Fact<number> | undefined;
  /** Of a service with one port. */
  readonly port: Fact<number> | undefined;
  /** The same, ranges and any port. */
  readonly ports: Fact<Ports> | undefined;
  /** Whether the key is there, whatever its value. */
  readonly portGiven: boolean;
  readonly protocol: Fact<string> | undefined;
  readonly scheduler: Fact<string> | undefined;
  /** Keys that are there, whatever their values. */
  readonly schedulerOptions: readonly Fact<string>[];
  readonly hashKey: Fact<string> | undefined;
  readonly connectionId: Fact<string> | undefined;
  /** Absent where the service has none, or where it is no mapping. */
  readonly persistence: PersistenceFacts | undefined;
  /** Where a `rateLimit` stands that limits nothing. */
  readonly emptyRateLimit: ConfigPath | undefined;
  readonly onePacket: Fact<boolean> | undefined;
  readonly sloppyTcp: Fact<boolean> | undefined;
  readonly connReuseMode: Fact<number> | undefined;
  readonly mode: Fact<ForwardMode> | undefined;
  readonly tunnelPort: Fact<number> | undefined;
  readonly dscp: Fact<number> | undefined;
  readonly dscpGiven: boolean;
  readonly access: readonly { readonly verdict: 'allow' | 'deny'; readonly prefix: Fact<Prefix> }[];
  /** Kinds of timeouts of which at least one is set: keys of the service's `timeouts`. */
  readonly timeouts: readonly Fact<string>[];
  readonly clientAddress: ClientAddressFacts | undefined;
  /** Balancers in front, and where the key stands. */
  readonly acceptProxy: Fact<readonly Fact<Prefix>[]> | undefined;
  /** Of the service, then of its servers. */
  readonly checks: readonly CheckFacts[];
  /** Programs of `health.notify`, and of `notify` of the servers. */
  readonly notifyCommands: readonly Fact<string>[];
  /** The sorry server is the last one. */
  readonly servers: readonly ServerFacts[];
}

export interface OutboundFacts {
  readonly path: ConfigPath;
  readonly name: Fact<string> | undefined;
  readonly matches: readonly MatchFacts[];
  readonly pool: readonly Fact<Address>[];
  /** Whether the pool is complete, so that what is not in it is not there. */
  readonly poolComplete: boolean;
}

export interface InterfaceFacts {
  readonly path: ConfigPath;
  readonly name: Fact<string> | undefined;
  readonly mac: Fact<string> | undefined;
  readonly mtu: Fact<number> | undefined;
  readonly addresses: readonly Fact<Prefix>[];
}

export interface RouteFacts {
  readonly path: ConfigPath;
  readonly prefix: Fact<Prefix> | undefined;
  readonly via: Fact<Address> | undefined;
  readonly interface: Fact<string> | undefined;
}

export interface NeighbourFacts {
  readonly path: ConfigPath;
  readonly address: Fact<Address> | undefined;
  readonly mac: Fact<string> | undefined;
  readonly interface: Fact<string> | undefined;
}

export interface LogFacts {
  readonly destination: Fact<string> | undefined;
  readonly fileGiven: boolean;
  /** Keys that are only for a file. */
  readonly ofFile: readonly Fact<string>[];
}

export interface Facts {
  readonly workers: Fact<number> | undefined;
  readonly cpus: readonly Fact<number>[] | undefined;
  readonly interfaces: readonly InterfaceFacts[];
  /** Whether the list of interfaces is complete, so that a name not in it is unknown. */
  readonly interfacesComplete: boolean;
  readonly framesPerWorker: Fact<number> | undefined;
  readonly frameSize: Fact<number> | undefined;
  readonly ringSize: Fact<number> | undefined;
  readonly localAddresses: readonly Fact<Address>[];
  readonly localAddressesComplete: boolean;
  readonly localPorts: Fact<readonly [number, number]> | undefined;
  readonly tunnelSources: readonly Fact<Prefix>[];
  readonly routes: readonly RouteFacts[];
  readonly neighbours: readonly NeighbourFacts[];
  readonly services: readonly ServiceFacts[];
  readonly outbound: readonly OutboundFacts[];
  /** Texts and numbers of the section `api`, by dotted path below it; mappings are there with the value undefined. */
  readonly api: ReadonlyMap<string, Fact<string | number | undefined>>;
  readonly logs: LogFacts;
}

/** Collects the facts of `value`, leaving out everything at, above or below a place of `wrong`. */
export function collectFacts(value: unknown, wrong: readonly Finding[]): Facts {
  const wrongPaths = wrong.map((finding) => finding.path);
  const wrongValues = wrong.filter((finding) => finding.at === 'value').map((finding) => finding.path);

  function usable(path: ConfigPath): boolean {
    if (wrong.length === 0) return true;
    if (wrongPaths.some((place) => isBelow(place, path))) return false;
    // A missing or unknown key makes its mapping incomplete, but not the other keys in it.
    return !wrongValues.some((place) => place.length > 0 && isBelow(path, place) && !isMappingAt(place));
  }
  function isMappingAt(place: ConfigPath): boolean {
    const held = valueAt(value, place);
    return typeof held === 'object' && held !== null && !Array.isArray(held);
  }
  function read<T>(path: ConfigPath, convert: (held: unknown) => T | undefined): Fact<T> | undefined {
    if (!usable(path)) return undefined;
    const converted = convert(valueAt(value, path));
    return converted === undefined ? undefined : { value: converted, path };
  }
  /** read() of a key of the mapping at `path`, which is `owner`: a key that is not there costs nothing. */
  function readIn<T>(
    owner: unknown,
    path: ConfigPath,
    key: string,
    convert: (held: unknown) => T | undefined,
  ): Fact<T> | undefined {
    const held = valueIn(owner, key);
    if (held === undefined) return undefined;
    const place = [...path, key];
    if (!usable(place)) return undefined;
    const converted = convert(held);
    return converted === undefined ? undefined : { value: converted, path: place };
  }
  function given(path: ConfigPath): boolean {
    return valueAt(value, path) !== undefined;
  }
  /** A key that is there under a name which is nearly its own: what would be in it is not known. */
  function misspelt(key: string): boolean {
    return wrong.some(({ at, path }) => at === 'key' && path.length === 1 && suggest(String(path[0]), [key]) !== undefined);
  }
  function places(path: ConfigPath): ConfigPath[] {
    const held = valueAt(value, path);
    return Array.isArray(held) ? held.map((_, i) => [...path, i]) : [];
  }
  function list<T>(path: ConfigPath, convert: (held: unknown) => T | undefined): Fact<T>[] {
    return places(path).flatMap((place) => read(place, convert) ?? []);
  }

  function keysOf(path: ConfigPath): Fact<string>[] {
    const held = valueAt(value, path);
    if (typeof held !== 'object' || held === null || Array.isArray(held)) return [];
    return Object.keys(held)
      .map((key) => ({ value: key, path: [...path, key] }))
      .filter((key) => usable(key.path));
  }

  /** What is written below `path`, as deep as it goes. */
  function flat(path: ConfigPath, above = ''): [string, Fact<string | number | undefined>][] {
    return keysOf(path).flatMap((key) => {
      const name = above === '' ? key.value : `${above}.${key.value}`;
      const held = read(key.path, (found) => text(found) ?? number(found));
      return [[name, { value: held?.value, path: key.path }], ...flat(key.path, name)];
    });
  }

  function checksOf(service: ConfigPath): CheckFacts[] {
    const servers = places([...service, 'servers']);
    if (![service, ...servers].some((owner) => has(valueAt(value, owner), 'healthChecks'))) return [];
    const hasPort = read([...service, 'port'], number) !== undefined;
    const lacksPort = (server: ConfigPath): boolean => !hasPort && !given([...server, 'port']);
    return [service, ...servers].flatMap((owner) =>
      places([...owner, 'healthChecks']).map((place) => ({
        type: read([...place, 'type'], text),
        keys: keysOf(place),
        command: read([...place, 'command', 0], text),
        portless: owner === service ? servers.some(lacksPort) : lacksPort(owner),
      })),
    );
  }

  function emptyRateLimit(owner: ConfigPath): ConfigPath | undefined {
    const path = [...owner, 'rateLimit'];
    const held = valueAt(value, path);
    const empty = typeof held === 'object' && held !== null && !Array.isArray(held) && Object.keys(held).length === 0;
    return empty ? path : undefined;
  }

  function outboundMatch(path: ConfigPath): MatchFacts {
    const facts = match(path, 'any');
    const unread = facts.source === undefined || (facts.destination === undefined && given([...path, 'destination']));
    return { ...facts, complete: facts.protocol !== undefined && facts.ports !== undefined && !unread };
  }

  function match(path: ConfigPath, protocol = BOTH): MatchFacts {
    const facts = {
      protocol: given([...path, 'protocol']) ? read([...path, 'protocol'], text) : { value: protocol, path },
      source: read([...path, 'source'], (held) => parseVips(text(held) ?? '')),
      destination: read([...path, 'destination'], (held) => parseVips(text(held) ?? '')),
      ports: given([...path, 'ports']) ? read([...path, 'ports'], parsePorts) : { value: ANY_PORT, path },
      interface: read([...path, 'interface'], text),
    };
    const unread = (['source', 'interface'] as const).some((key) => facts[key] === undefined && given([...path, key]));
    const complete = facts.protocol !== undefined && facts.destination !== undefined && facts.ports !== undefined && !unread;
    return { path, ...facts, complete };
  }

  function clientAddressOf(path: ConfigPath): ClientAddressFacts | undefined {
    if (!given(path)) return undefined;
    return {
      method: read([...path, 'method'], text),
      keys: keysOf(path),
      carrier: read([...path, 'carrier'], text),
      tlvs: places([...path, 'tlvs', 'custom'])
        .filter((place) => usable(place))
        .map((place) => ({
          path: place,
          type: read([...place, 'type'], number),
          text: read([...place, 'text'], text)?.value,
          hex: read([...place, 'hex'], text)?.value,
        })),
    };
  }

  function persistenceOf(path: ConfigPath): PersistenceFacts | undefined {
    const held = valueAt(value, path);
    if (typeof held !== 'object' || held === null || Array.isArray(held)) return undefined;
    const timeout = [...path, 'timeout'];
    return {
      path,
      // The schema's default: the rules see a file as it was written.
      timeout: given(timeout) ? read(timeout, number) : { value: 360, path },
      prefix: read([...path, 'prefix'], number),
      group: read([...path, 'group'], text),
    };
  }

  return {
    workers: read(['workers'], number),
    cpus: Array.isArray(valueAt(value, ['cpus'])) ? list(['cpus'], number) : undefined,
    interfaces: places(['interfaces']).map((path) => ({
      path,
      name: read([...path, 'name'], text),
      mac: read([...path, 'mac'], text),
      mtu: read([...path, 'mtu'], number),
      addresses: list([...path, 'addresses'], (held) => parsePrefix(text(held) ?? '')),
    })),
    interfacesComplete: usable(['interfaces']) && Array.isArray(valueAt(value, ['interfaces'])),
    framesPerWorker: read(['dataplane', 'framesPerWorker'], number),
    frameSize: read(['dataplane', 'frameSize'], number),
    ringSize: read(['dataplane', 'ringSize'], number),
    localAddresses: list(['localAddresses'], address),
    localAddressesComplete: usable(['localAddresses']) && !misspelt('localAddresses'),
    localPorts: read(['localPorts'], (held) => parsePortRange(text(held) ?? '')),
    tunnelSources: list(['tunnelSources'], (held) => parsePrefix(text(held) ?? '')),
    routes: places(['routes']).map((path) => ({
      path,
      prefix: read([...path, 'prefix'], (held) => parsePrefix(text(held) ?? '')),
      via: read([...path, 'via'], address),
      interface: read([...path, 'interface'], text),
    })),
    neighbours: places(['neighbours']).map((path) => ({
      path,
      address: read([...path, 'address'], address),
      mac: read([...path, 'mac'], text),
      interface: read([...path, 'interface'], text),
    })),
    logs: {
      destination: read(['logs', 'destination'], text),
      fileGiven: given(['logs', 'file']),
      ofFile: keysOf(['logs']).filter(({ value: key }) => key === 'file' || key.startsWith('max')),
    },
    outbound: places(['snat']).map((path) => ({
      path,
      name: read([...path, 'name'], text),
      matches: places([...path, 'match']).map((place) => outboundMatch(place)),
      pool: list([...path, 'pool'], address),
      poolComplete: usable([...path, 'pool']),
    })),
    api: new Map(flat(['api'])),
    services: places(['services']).map((path) => {
      const own = valueAt(value, path);
      return {
        path,
        name: readIn(own, path, 'name', text),
        address: readIn(own, path, 'address', (held) => {
          const vips = parseVips(text(held) ?? '');
          return vips !== undefined && isHost(vips) ? vips.address : undefined;
        }),
        vips: readIn(own, path, 'address', (held) => parseVips(text(held) ?? '')),
        given: ['address', 'port', 'protocol', 'match', 'mark'].filter((key) => has(own, key)),
        matches: has(own, 'match') ? places([...path, 'match']).map((place) => match(place)) : [],
        mark: readIn(own, path, 'mark', number),
        port: readIn(own, path, 'port', number),
        ports: readIn(own, path, 'port', parsePorts),
        portGiven: has(own, 'port'),
        protocol: readIn(own, path, 'protocol', text),
        // The schema's default: the rules see a file as it was written.
        scheduler: !has(own, 'scheduler') ? { value: 'wrr', path } : readIn(own, path, 'scheduler', text),
        schedulerOptions: has(own, 'schedulerOptions') ? keysOf([...path, 'schedulerOptions']) : [],
        hashKey: read([...path, 'schedulerOptions', 'key'], text),
        connectionId: read([...path, 'schedulerOptions', 'connectionId'], text),
        persistence: persistenceOf([...path, 'persistence']),
        emptyRateLimit: has(own, 'rateLimit') ? emptyRateLimit(path) : undefined,
        onePacket: readIn(own, path, 'onePacket', boolean),
        sloppyTcp: readIn(own, path, 'sloppyTcp', boolean),
        connReuseMode: readIn(own, path, 'connReuseMode', number),
        mode: readIn(own, path, 'mode', forwardMode),
        tunnelPort: readIn(own, path, 'tunnelPort', number),
        dscp: readIn(own, path, 'dscp', number),
        dscpGiven: has(own, 'dscp'),
        access: (has(own, 'acl') ? (['allow', 'deny'] as const) : []).flatMap((verdict) =>
          list([...path, 'acl', verdict], (held) => parsePrefix(text(held) ?? '')).map((prefix) => ({ verdict, prefix })),
        ),
        timeouts: (has(own, 'timeouts') ? keysOf([...path, 'timeouts']) : []).filter((kind) => keysOf(kind.path).length > 0),
        clientAddress: clientAddressOf([...path, 'clientAddress']),
        acceptProxy: has(own, 'acceptProxy')
          ? {
              path: [...path, 'acceptProxy'],
              value: list([...path, 'acceptProxy', 'from'], (held) => parseVips(text(held) ?? '')),
            }
          : undefined,
        checks: checksOf(path),
        notifyCommands: [...(has(own, 'health') ? [[...path, 'health']] : []), ...places([...path, 'servers'])].flatMap(
          (owner) =>
            has(valueAt(value, owner), 'notify')
              ? keysOf([...owner, 'notify']).flatMap((key) => read([...key.path, 0], text) ?? [])
              : [],
        ),
        servers: [...places([...path, 'servers']), ...(has(own, 'sorryServer') ? [[...path, 'sorryServer']] : [])].map((server) =>
          serverOf(own, path, server),
        ),
      };
    }),
  };

  function serverOf(service: unknown, path: ConfigPath, server: ConfigPath): ServerFacts {
    const own = valueAt(value, server);
    // What the server does not say itself is the service's.
    const [portOwner, portPath] = has(own, 'port') ? [own, server] : [service, path];
    const [modeOwner, modePath] = has(own, 'mode') ? [own, server] : [service, path];
    return {
      path: server,
      address: readIn(own, server, 'address', address),
      id: readIn(own, server, 'id', number),
      port: readIn(portOwner, portPath, 'port', number),
      portKnown: readIn(portOwner, portPath, 'port', parsePorts) !== undefined || !has(portOwner, 'port'),
      ownPort: readIn(own, server, 'port', number),
      mode: readIn(modeOwner, modePath, 'mode', forwardMode),
      tunnelPort: readIn(own, server, 'tunnelPort', number),
      upperThreshold: readIn(own, server, 'upperThreshold', number),
      upperThresholdGiven: has(own, 'upperThreshold'),
      lowerThreshold: readIn(own, server, 'lowerThreshold', number),
      emptyRateLimit: has(own, 'rateLimit') ? emptyRateLimit(server) : undefined,
    };
  }
}

function has(owner: unknown, key: string): boolean {
  return valueIn(owner, key) !== undefined;
}

function text(held: unknown): string | undefined {
  return typeof held === 'string' ? held : undefined;
}

function forwardMode(held: unknown): ForwardMode | undefined {
  return FORWARD_MODES.find((mode) => mode === held);
}

function boolean(held: unknown): boolean | undefined {
  return typeof held === 'boolean' ? held : undefined;
}

function number(held: unknown): number | undefined {
  return typeof held === 'number' && Number.isInteger(held) ? held : undefined;
}

function address(held: unknown): Address | undefined {
  return typeof held === 'string' ? parseAddress(held) : undefined;
}
