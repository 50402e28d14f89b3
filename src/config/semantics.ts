// The rules that one key alone cannot break: duplicates, addresses with two owners, sizes that do not fit. Those of forwarding modes
// are in mode-rules.ts. Each rule is one function in the list at the end; adding a rule touches only this file, its case in
// test/unit/config/wrong, and nothing else.
// Guarantees: pure; never throws on any value; reports every violation once, at the later of two places that contradict each other.
// Thread: any.
import { type Address, addressFault, networkOf, prefixContains } from './address.js';
import { API_RULES } from './api-rules.js';
import { CLIENT_ADDRESS_RULES } from './client-address-rules.js';
import { CONNECTION_RULES } from './connection-rules.js';
import { collectFacts, type Fact, type InterfaceFacts, type ServiceFacts } from './facts.js';
import { type Finding, formatPath } from './finding.js';
import { FRAME_OVERHEAD, largestMtu } from './frame-size.js';
import { HEALTH_RULES } from './health-rules.js';
import { LIMIT_RULES } from './limit-rules.js';
import { LOG_RULES } from './log-rules.js';
import { MATCH_RULES } from './match-rules.js';
import { isHost } from './matching.js';
import { MODE_RULES } from './mode-rules.js';
import { OUTBOUND_RULES } from './outbound-rules.js';
import { present, type Rule, wrong } from './rule.js';
import { SCHEDULERS } from './scheduler-names.js';
import { suggest } from './suggest.js';

/** Calls `report` for every fact whose key has been seen before, with the first one. */
function duplicates<T>(
  facts: readonly Fact<T>[],
  key: (value: T) => string,
  report: (later: Fact<T>, first: Fact<T>) => Finding,
): Finding[] {
  const seen = new Map<string, Fact<T>>();
  return facts.flatMap((fact) => {
    const first = seen.get(key(fact.value));
    if (first !== undefined) return report(fact, first);
    seen.set(key(fact.value), fact);
    return [];
  });
}

const uniqueNames: Rule = (facts) => [
  ...duplicates(
    present(facts.interfaces.map((item) => item.name)),
    (name) => name,
    (later, first) =>
      wrong(
        later.path,
        `interface "${later.value}" is listed twice (first at ${formatPath(first.path)})`,
        'remove one of the two',
      ),
  ),
  ...duplicates(
    present(facts.services.map((service) => service.name)),
    (name) => name,
    (later, first) =>
      wrong(
        later.path,
        `service name "${later.value}" is used twice (first at ${formatPath(first.path)})`,
        'give each service a name of its own',
      ),
  ),
];

const uniqueServers: Rule = (facts) =>
  facts.services.flatMap((service) => {
    // The sorry server takes the place of all others: it may be one of them.
    const listed = service.servers.filter(({ path }) => path.at(-1) !== 'sorryServer');
    const keys = listed.flatMap(({ address, port, portKnown }) =>
      address && portKnown ? [{ value: endpoint(address.value, port?.value), path: address.path }] : [],
    );
    return duplicates(
      keys,
      (key) => key,
      (later, first) =>
        wrong(
          later.path,
          `server ${later.value} is in this service twice (first at ${formatPath(first.path.slice(0, -1))})`,
          'remove one; a larger share is a larger weight',
        ),
    );
  });

const uniqueLists: Rule = (facts) => [
  ...duplicates(
    facts.localAddresses,
    (address) => address.text,
    (later, first) =>
      wrong(
        later.path,
        `local address ${later.value.text} is listed twice (first at ${formatPath(first.path)})`,
        'remove one of the two',
      ),
  ),
  ...duplicates(
    present(facts.routes.map((route) => route.prefix)),
    (prefix) => `${networkOf(prefix).text}/${prefix.length}`,
    (later, first) =>
      wrong(
        later.path,
        `a second route for the same prefix (first at ${formatPath(first.path.slice(0, -1))})`,
        'keep the one that is meant',
      ),
  ),
  ...duplicates(
    facts.neighbours.flatMap(({ address, interface: name }) =>
      address && name ? [{ value: { text: `${address.value.text} on ${name.value}` }, path: address.path }] : [],
    ),
    (neighbour) => neighbour.text,
    (later, first) =>
      wrong(
        later.path,
        `neighbour ${later.value.text} is listed twice (first at ${formatPath(first.path.slice(0, -1))})`,
        'keep the one that is meant',
      ),
  ),
];

const ownAddresses: Rule = (facts) => {
  const owners = new Map<string, string>();
  for (const item of facts.interfaces) {
    for (const prefix of item.addresses) owners.set(prefix.value.address.text, `interface address at ${formatPath(prefix.path)}`);
  }
  const findings: Finding[] = [];
  const vips = [
    ...present(facts.services.map((service) => service.address)),
    ...present(facts.services.flatMap((service) => service.matches.map((match) => match.destination)))
      .filter((destination) => isHost(destination.value))
      .map(({ value, path }) => ({ value: value.address, path })),
  ];
  for (const { value, path } of vips) {
    const owner = owners.get(value.text);
    if (owner !== undefined) {
      findings.push(
        wrong(
          path,
          `service address ${value.text} is also the ${owner}`,
          'use an address that is on no interface; Millrace answers for it itself',
        ),
      );
    }
  }
  for (const vip of vips)
    owners.set(vip.value.text, owners.get(vip.value.text) ?? `address of the service at ${formatPath(vip.path.slice(0, -1))}`);
  for (const { value, path } of facts.localAddresses) {
    const owner = owners.get(value.text);
    if (owner !== undefined)
      findings.push(wrong(path, `local address ${value.text} is also the ${owner}`, 'use an address that nothing else uses'));
  }
  for (const local of facts.localAddresses)
    owners.set(local.value.text, owners.get(local.value.text) ?? `local address at ${formatPath(local.path)}`);
  const elsewhere = [
    ...facts.services
      .flatMap((service) => present(service.servers.map((server) => server.address)))
      .map((fact) => ({ fact, what: 'server' })),
    ...present(facts.routes.map((route) => route.via)).map((fact) => ({ fact, what: 'gateway' })),
    ...present(facts.neighbours.map((neighbour) => neighbour.address)).map((fact) => ({ fact, what: 'neighbour' })),
  ];
  for (const { fact, what } of elsewhere) {
    const owner = owners.get(fact.value.text);
    if (owner !== undefined)
      findings.push(
        wrong(fact.path, `${what} ${fact.value.text} is also the ${owner}`, `give the ${what} the address of another host`),
      );
  }
  return findings;
};

const usableAddresses: Rule = (facts) => {
  const strict: { readonly what: string; readonly facts: readonly Fact<Address>[]; readonly linkLocal: boolean }[] = [
    { what: 'service address', facts: present(facts.services.map((service) => service.address)), linkLocal: false },
    {
      what: 'server',
      facts: facts.services.flatMap((service) => present(service.servers.map((server) => server.address))),
      linkLocal: false,
    },
    { what: 'local address', facts: facts.localAddresses, linkLocal: false },
    { what: 'gateway', facts: present(facts.routes.map((route) => route.via)), linkLocal: true },
    { what: 'neighbour', facts: present(facts.neighbours.map((neighbour) => neighbour.address)), linkLocal: true },
  ];
  return strict.flatMap(({ what, facts: places, linkLocal }) =>
    places.flatMap(({ value, path }) => {
      const fault = addressFault(value);
      if (fault === undefined || (fault === 'link-local' && linkLocal)) return [];
      return [
        wrong(
          path,
          `${what} ${value.text} is ${fault === 'unspecified' ? 'an' : 'a'} ${fault} address`,
          'use a unicast address that is routed to this network',
        ),
      ];
    }),
  );
};

const knownInterfaces: Rule = (facts) => {
  if (!facts.interfacesComplete) return [];
  const names = facts.interfaces.flatMap((item) => item.name?.value ?? []);
  if (names.length !== facts.interfaces.length) return [];
  const matches = [...facts.services, ...facts.outbound].flatMap((item) => item.matches);
  return present([...facts.routes, ...facts.neighbours, ...matches].map((item) => item.interface))
    .filter((name) => !names.includes(name.value))
    .map((name) => {
      const near = suggest(name.value, names);
      const remedy = near === undefined ? `use one of ${names.join(', ')}, or add it to interfaces` : `did you mean "${near}"?`;
      return wrong(name.path, `interface "${name.value}" is not among the interfaces`, remedy);
    });
};

const networks: Rule = (facts) =>
  present([
    ...facts.routes.map((route) => route.prefix),
    ...facts.services.map((service) => service.vips),
    ...facts.services.flatMap((service) => service.matches.flatMap((match) => [match.source, match.destination])),
  ]).flatMap(({ value, path }) => {
    const network = networkOf(value);
    if (network.value === value.address.value) return [];
    return [
      wrong(
        path,
        `${value.address.text}/${value.length} is not a network: bits after the first ${value.length} are set`,
        `write ${network.text}/${value.length}`,
      ),
    ];
  });

const gateways: Rule = (facts) =>
  facts.routes.flatMap((route) => {
    const via = route.via;
    if (via === undefined) return [];
    if (route.prefix !== undefined && route.prefix.value.address.family !== via.value.family) {
      return [
        wrong(
          via.path,
          `gateway ${via.value.text} is IPv${via.value.family}, but the prefix is IPv${route.prefix.value.address.family}`,
          'use a gateway of the same family',
        ),
      ];
    }
    const link: InterfaceFacts | undefined = facts.interfaces.find((item) => item.name?.value === route.interface?.value);
    const connected = link?.addresses.filter((prefix) => prefix.value.address.family === via.value.family) ?? [];
    if (
      connected.length === 0 ||
      addressFault(via.value) === 'link-local' ||
      connected.some((prefix) => prefixContains(prefix.value, via.value))
    )
      return [];
    const nets = connected.map((prefix) => `${networkOf(prefix.value).text}/${prefix.value.length}`).join(', ');
    return [
      wrong(
        via.path,
        `gateway ${via.value.text} is not in a network of interface "${link?.name?.value}" (${nets})`,
        `use a gateway in ${nets}, or another interface`,
      ),
    ];
  });

const macs: Rule = (facts) =>
  present([...facts.interfaces, ...facts.neighbours].map((item) => item.mac)).flatMap(({ value, path }) => {
    if (value === '00:00:00:00:00:00')
      return [wrong(path, 'the Ethernet address is all zero', 'write the address of the interface')];
    if ((Number.parseInt(value.slice(0, 2), 16) & 1) === 0) return [];
    return [
      wrong(
        path,
        `${value} is a multicast Ethernet address`,
        'write the unicast address of the interface; its first byte is even',
      ),
    ];
  });

const ports: Rule = (facts) => {
  const range = facts.localPorts;
  if (range === undefined) return [];
  const [low, high] = range.value;
  if (low > high) return [wrong(range.path, `the range ${low}-${high} is reversed`, `write ${high}-${low}`)];
  if (low < 1 || high > 65_535)
    return [wrong(range.path, `the range ${low}-${high} leaves 1-65535`, 'write two ports from 1 to 65535')];
  return [];
};

const cpuList: Rule = (facts) => {
  if (facts.cpus === undefined) return [];
  const findings = duplicates(
    facts.cpus,
    (cpu) => String(cpu),
    (later, first) =>
      wrong(
        later.path,
        `CPU ${later.value} is listed twice (first at ${formatPath(first.path)})`,
        'give each worker a CPU of its own',
      ),
  );
  const need = facts.workers?.value;
  if (need !== undefined && facts.cpus.length < need) {
    findings.push(
      wrong(
        ['cpus'],
        `${facts.cpus.length} CPU${facts.cpus.length === 1 ? '' : 's'} for ${need} workers`,
        `list at least ${need} CPUs, lower workers, or remove cpus`,
      ),
    );
  }
  return findings;
};

const sizes: Rule = (facts) => {
  const findings: Finding[] = [];
  const { ringSize: ring, framesPerWorker: frames } = facts;
  if (ring !== undefined && (ring.value & (ring.value - 1)) !== 0) {
    const below = 2 ** Math.floor(Math.log2(ring.value));
    findings.push(wrong(ring.path, `${ring.value} is not a power of two`, `write ${below} or ${below * 2}`));
  } else if (ring !== undefined && frames !== undefined) {
    // The receive rings of all interfaces share half of the frames; a ring that they can never fill is a mistake.
    const need = ring.value * 2;
    if (frames.value < need) {
      findings.push(
        wrong(
          frames.path,
          `${frames.value} frames per worker cannot fill a ring of ${ring.value}: half of them are for receiving`,
          `write at least ${need}, or a smaller ringSize`,
        ),
      );
    }
  }
  for (const mtu of present(facts.interfaces.map((item) => item.mtu))) {
    const size = facts.frameSize?.value ?? 4096;
    if (mtu.value <= largestMtu(size)) continue;
    const remedy =
      mtu.value <= largestMtu(4096) ? 'set dataplane.frameSize to 4096 or auto' : `lower the MTU to ${largestMtu(size)} or less`;
    findings.push(
      wrong(
        mtu.path,
        `an MTU of ${mtu.value} needs frames of ${mtu.value + FRAME_OVERHEAD} bytes, but frameSize is ${facts.frameSize ? size : 'at most 4096'}`,
        remedy,
      ),
    );
  }
  return findings;
};

/** An option that the chosen scheduler would ignore is a mistake, and so is one that it cannot do without. */
const schedulerOptions: Rule = (facts) =>
  facts.services.flatMap((service) => {
    const chosen = SCHEDULERS.find((scheduler) => scheduler.name === service.scheduler?.value);
    if (chosen === undefined) return [];
    const takes: readonly string[] = chosen.options;
    const findings = service.schedulerOptions
      .filter((option) => !takes.includes(option.value))
      .map((option) => {
        const others = SCHEDULERS.filter((scheduler) => (scheduler.options as readonly string[]).includes(option.value));
        const remedy =
          others.length === 0 ? 'remove it' : `remove it, or use ${others.map((scheduler) => scheduler.name).join(' or ')}`;
        return { ...wrong(option.path, `scheduler ${chosen.name} has no option "${option.value}"`, remedy), at: 'key' as const };
      });
    const port = service.schedulerOptions.find((option) => option.value === 'port');
    if (port !== undefined && takes.includes('port') && (service.hashKey?.value ?? 'source') !== 'source') {
      findings.push({
        ...wrong(
          port.path,
          `"port" adds the port to the key source, but the key is ${service.hashKey?.value}`,
          'remove it; 5-tuple has both ports',
        ),
        at: 'key',
      });
    }
    return [...findings, ...quicFindings(service, chosen.name)];
  });

function quicFindings(service: ServiceFacts, scheduler: string): Finding[] {
  const ids = present(service.servers.map((server) => server.id));
  const findings: Finding[] = [];
  if (scheduler === 'quic-cid' && service.protocol !== undefined && service.protocol.value !== 'udp') {
    findings.push(wrong(service.protocol.path, 'scheduler quic-cid needs protocol udp: QUIC runs over UDP', 'write udp'));
  }
  if (scheduler !== 'quic-cid' || service.connectionId?.value === 'dpvs') {
    const remedy = 'remove it; servers have numbers only with scheduler quic-cid and connectionId: katran';
    return [...findings, ...ids.map((id) => wrong(id.path, `server id ${id.value} has no meaning here`, remedy))];
  }
  if (service.connectionId === undefined) {
    if (service.schedulerOptions.some((option) => option.value === 'connectionId')) return findings;
    const place = service.scheduler?.path ?? service.path;
    const remedy = 'add schedulerOptions with connectionId: dpvs or connectionId: katran';
    return [...findings, wrong(place, 'scheduler quic-cid must know how servers write connection ids', remedy)];
  }
  for (const server of service.servers) {
    if (server.id !== undefined || server.address === undefined) continue;
    const reason = `server ${server.address.value.text} has no id, but connectionId katran finds servers by it`;
    findings.push(wrong(server.address.path, reason, 'give each server a number of its own, such as id: 1'));
  }
  findings.push(
    ...duplicates(
      ids,
      (id) => String(id),
      (later, first) =>
        wrong(
          later.path,
          `server id ${later.value} is used twice (first at ${formatPath(first.path)})`,
          'give each server a number of its own',
        ),
    ),
  );
  return findings;
}

const RULES: readonly Rule[] = [
  uniqueNames,
  ...MATCH_RULES,
  uniqueServers,
  uniqueLists,
  ...MODE_RULES,
  ...CONNECTION_RULES,
  ...OUTBOUND_RULES,
  ownAddresses,
  usableAddresses,
  knownInterfaces,
  networks,
  gateways,
  macs,
  ports,
  cpuList,
  sizes,
  schedulerOptions,
  ...CLIENT_ADDRESS_RULES,
  ...LIMIT_RULES,
  ...HEALTH_RULES,
  ...API_RULES,
  ...LOG_RULES,
];

/** Everything that breaks a rule in `value`, leaving out what `known` has reported already. */
export function checkSemantics(value: unknown, known: readonly Finding[]): Finding[] {
  const facts = collectFacts(value, known);
  return RULES.flatMap((rule) => rule(facts));
}

function endpoint(address: Address, port: number | undefined): string {
  if (port === undefined) return address.text;
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}
