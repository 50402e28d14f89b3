// The rules of forwarding modes and protocols: which family, port, mark and local address a mode needs, and what it cannot carry.
// Guarantees: pure; reports every violation once, at the later of two places that contradict each other.
// Thread: any.
import { networkOf, prefixContains } from './address.js';
import type { Fact, Facts, ServerFacts, ServiceFacts } from './facts.js';
import type { Finding } from './finding.js';
import { formatPath } from './finding.js';
import { keepsFamily, keepsPort, usesLocalAddress } from './forward-mode.js';
import { present, type Rule, wrong } from './rule.js';

const hasPorts = (protocol: string | undefined): boolean => protocol !== 'esp' && protocol !== 'ah';

interface Owned {
  readonly service: ServiceFacts;
  readonly server: ServerFacts;
}

const owned = new WeakMap<Facts, readonly Owned[]>();

/** Every server with its service; one list for all rules. */
function servers(facts: Facts): readonly Owned[] {
  let list = owned.get(facts);
  if (list === undefined) {
    list = facts.services.flatMap((service) => service.servers.map((server) => ({ service, server })));
    owned.set(facts, list);
  }
  return list;
}

const families: Rule = (facts) =>
  servers(facts).flatMap(({ service, server }) => {
    const [address, mode] = [server.address, server.mode?.value];
    const vip = present([service.vips, ...service.matches.map((match) => match.destination)])
      .map((prefix) => prefix.value.address)
      .find((candidate) => candidate.family !== address?.value.family);
    if (vip === undefined || address === undefined || mode === undefined || !keepsFamily(mode)) return [];
    return [
      wrong(
        address.path,
        `server ${address.value.text} is IPv${address.value.family}, but the service address ${vip.text} is IPv${vip.family}, ` +
          `and ${mode} does not change the family`,
        `use an IPv${vip.family} server, or mode fullnat, ipip, gre or gue`,
      ),
    ];
  });

const enoughLocalAddresses: Rule = (facts) => {
  if (!facts.localAddressesComplete) return [];
  return ([4, 6] as const).flatMap((family) => {
    const user = servers(facts).find(
      ({ server }) => server.address?.value.family === family && server.mode !== undefined && usesLocalAddress(server.mode.value),
    );
    if (user === undefined) return [];
    const have = facts.localAddresses.filter((address) => address.value.family === family).length;
    const need = facts.workers?.value ?? 1;
    if (have >= need) return [];
    const found =
      have === 0 ? `no IPv${family} local address` : `only ${have} IPv${family} local address${have === 1 ? '' : 'es'}`;
    const example = family === 4 ? '192.0.2.101' : '2001:db8::101';
    return [
      wrong(
        ['localAddresses'],
        `${found} for ${need} worker${need === 1 ? '' : 's'}, but ${formatPath(user.server.path)} is an IPv${family} server with ` +
          `mode ${user.server.mode?.value}; each worker needs one of its own`,
        have === 0 ? `add IPv${family} addresses, such as ${example}` : `add ${need - have} more, or set workers to ${have}`,
      ),
    ];
  });
};

const protocolPorts: Rule = (facts) =>
  facts.services.flatMap((service) => {
    const protocol = service.protocol?.value;
    if (protocol === undefined) return [];
    if (hasPorts(protocol)) {
      if (service.portGiven) return [];
      const remedy = 'add `port:` with a whole number from 1 to 65535, a range such as 8000-8100, or any';
      return [wrong(service.path, 'required key "port" is missing', remedy)];
    }
    const given = [...present([service.portGiven ? service.port : undefined]), ...present(service.servers.map((s) => s.ownPort))];
    return given.map((port) => wrong(port.path, `${protocol.toUpperCase()} has no ports`, 'remove the key port'));
  });

const protocolModes: Rule = (facts) =>
  servers(facts).flatMap(({ service, server }) => {
    const [protocol, mode] = [service.protocol?.value, server.mode];
    if (mode === undefined || protocol === undefined || hasPorts(protocol)) return [];
    if (mode.value === 'fullnat') {
      const reason = `${protocol.toUpperCase()} has no ports to tell clients apart behind a local address, so mode fullnat cannot carry it`;
      const remedy = `use mode ${protocol === 'esp' ? 'nat, ' : ''}direct, ipip, gre, gue or l3dsr`;
      return [wrong(mode.path, reason, remedy)];
    }
    if (mode.value === 'nat' && protocol === 'ah') {
      const reason = 'AH authenticates the addresses of its packet, so mode nat would break it (RFC 4302 3.3.3.1)';
      return [wrong(mode.path, reason, 'use mode direct, ipip, gre, gue or l3dsr')];
    }
    return [];
  });

const serverPorts: Rule = (facts) =>
  servers(facts).flatMap(({ service, server }) => {
    const [mode, own, port] = [server.mode?.value, server.ownPort, service.port?.value];
    const many = service.matches.length > 0 || (service.ports !== undefined && port === undefined);
    if (mode === undefined || own === undefined || (port === undefined && !many)) return [];
    if (!keepsPort(mode) || own.value === port) return [];
    const reason = `mode ${mode} does not change ports: the server receives ${port ?? 'the port that the client asked for'}`;
    return [wrong(own.path, reason, 'remove the key, or use mode fullnat or nat')];
  });

const tunnelPorts: Rule = (facts) =>
  facts.services.flatMap((service) => {
    const findings = present(service.servers.map((server) => (server.mode?.value === 'gue' ? undefined : server.tunnelPort))).map(
      (port) => wrong(port.path, 'a tunnel port is of mode gue only', 'remove it, or use mode gue'),
    );
    const known = service.servers.every((server) => server.mode !== undefined);
    const used = service.mode?.value === 'gue' || service.servers.some((server) => server.mode?.value === 'gue');
    if (service.tunnelPort !== undefined && known && !used) {
      findings.push(wrong(service.tunnelPort.path, 'no server of this service has mode gue', 'remove it, or use mode gue'));
    }
    return findings;
  });

/** A mark is needed where something is marked, and has no meaning elsewhere. */
const marks: Rule = (facts) =>
  facts.services.flatMap((service): Finding[] => {
    const first = [service.mode, ...service.servers.map((server) => server.mode)].find((mode) => mode?.value === 'l3dsr');
    if (first !== undefined && service.dscp === undefined && !service.dscpGiven) {
      return [
        wrong(
          first.path,
          'mode l3dsr needs a DSCP by which the servers know the VIP',
          'add `dscp:` with a whole number from 1 to 63',
        ),
      ];
    }
    const known = service.servers.every((server) => server.mode !== undefined);
    if (first === undefined && service.dscp !== undefined && known) {
      return [wrong(service.dscp.path, 'no server of this service has mode l3dsr', 'remove it, or use mode l3dsr')];
    }
    return [];
  });

/** What a server puts back for a mark must be one VIP. */
const uniqueMarks: Rule = (facts) => {
  const seen = new Map<string, { readonly vip: string; readonly dscp: Fact<number> }>();
  return facts.services.flatMap((service) => {
    const { address, dscp } = service;
    if (address === undefined || dscp === undefined) return [];
    for (const server of service.servers) {
      if (server.mode?.value !== 'l3dsr' || server.address === undefined) continue;
      const key = `${server.address.value.text} ${dscp.value}`;
      const first = seen.get(key);
      if (first === undefined) seen.set(key, { vip: address.value.text, dscp });
      else if (first.vip !== address.value.text) {
        return [
          wrong(
            dscp.path,
            `DSCP ${dscp.value} says ${first.vip} to server ${server.address.value.text} already (${formatPath(first.dscp.path)})`,
            'give each VIP of a server a DSCP of its own',
          ),
        ];
      }
    }
    return [];
  });
};

/** A range of outer sources is nobody's address, large enough to tell flows apart, and the only one of its family. */
const tunnelSources: Rule = (facts) => {
  if (facts.tunnelSources.length === 0) return [];
  const used = [
    ...present(facts.services.map((service) => service.address)).map((fact) => ({ fact, what: 'service address' })),
    ...facts.localAddresses.map((fact) => ({ fact, what: 'local address' })),
    ...facts.outbound.flatMap((rule) => rule.pool).map((fact) => ({ fact, what: 'address of a pool' })),
    ...present(servers(facts).map(({ server }) => server.address)).map((fact) => ({ fact, what: 'server' })),
    ...present(facts.neighbours.map((neighbour) => neighbour.address)).map((fact) => ({ fact, what: 'neighbour' })),
    ...present(facts.routes.map((route) => route.via)).map((fact) => ({ fact, what: 'gateway' })),
    ...facts.interfaces
      .flatMap((item) => item.addresses)
      .map(({ value, path }) => ({ fact: { value: value.address, path }, what: 'interface address' })),
  ];
  return facts.tunnelSources.flatMap(({ value, path }, i): Finding[] => {
    const { family } = value.address;
    const shown = `${networkOf(value).text}/${value.length}`;
    const first = facts.tunnelSources.slice(0, i).find((other) => other.value.address.family === family);
    if (first !== undefined) {
      return [
        wrong(path, `a second IPv${family} range of tunnel sources (first at ${formatPath(first.path)})`, 'keep one of the two'),
      ];
    }
    const longest = family === 4 ? 24 : 96;
    if (value.length > longest || value.length < 8) {
      const reason = `${shown} is no range to spread IPv${family} flows over`;
      return [
        wrong(path, reason, `use a prefix of length 8 to ${longest}, such as ${family === 4 ? '172.16.0.0/16' : 'fd00:1::/64'}`),
      ];
    }
    const user = used.find(({ fact }) => prefixContains(value, fact.value));
    if (user === undefined) return [];
    const reason = `${shown} contains the ${user.what} ${user.fact.value.text} (${formatPath(user.fact.path)})`;
    return [wrong(path, reason, 'use a prefix that nothing else uses')];
  });
};

/** In the order in which they are reported. */
export const MODE_RULES: readonly Rule[] = [
  families,
  enoughLocalAddresses,
  protocolPorts,
  protocolModes,
  serverPorts,
  tunnelPorts,
  marks,
  uniqueMarks,
  tunnelSources,
];
