// The rules of persistence and of how connections begin: what contradicts what, and what cannot work in a mode or protocol.
// Guarantees: pure; reports every violation once, at the later of two places that contradict each other.
// Thread: any.
import type { PersistenceFacts, ServiceFacts } from './facts.js';
import type { Finding } from './finding.js';
import { formatPath } from './finding.js';
import { type Rule, wrong } from './rule.js';

const persistentClients: Rule = (facts) =>
  facts.services.flatMap(({ address, persistence, scheduler }) => {
    const findings: Finding[] = [];
    if (persistence?.prefix !== undefined && persistence.prefix.value > 32 && address?.value.family === 4) {
      const reason = `an IPv4 address has 32 bits, not ${persistence.prefix.value}`;
      findings.push(wrong(persistence.prefix.path, reason, 'write 32 or less, or remove it: then each address is a client'));
    }
    if (persistence !== undefined && scheduler?.value === 'quic-cid') {
      const reason = 'scheduler quic-cid follows the connection id when the address of a client changes, persistence the address';
      findings.push(wrong(persistence.path, reason, 'remove persistence, or use another scheduler'));
    }
    return findings;
  });

/** Services of a group have one set of templates, so they must mean the same by it. */
const persistenceGroups: Rule = (facts) => {
  const groups = new Map<string, { readonly service: ServiceFacts; readonly persistence: PersistenceFacts }[]>();
  return facts.services.flatMap((service) => {
    const { persistence } = service;
    if (persistence?.group === undefined) return [];
    const name = persistence.group.value;
    const members = groups.get(name) ?? [];
    groups.set(name, [...members, { service, persistence }]);
    const findings = oneServerPerHost(service, name);
    const first = members[0]?.persistence;
    if (first?.timeout !== undefined && persistence.timeout !== undefined && first.timeout.value !== persistence.timeout.value) {
      const reason = `timeout ${persistence.timeout.value}, but group "${name}" has ${first.timeout.value} at ${formatPath(first.path)}`;
      findings.push(wrong(persistence.timeout.path, reason, 'write the same timeout for all services of a group'));
    }
    const family = service.address?.value.family;
    const kin = members.find((member) => member.service.address?.value.family === family)?.persistence;
    const whole = family === 4 ? 32 : 128;
    if (kin !== undefined && (kin.prefix?.value ?? whole) !== (persistence.prefix?.value ?? whole)) {
      const reason = `group "${name}" has another prefix at ${formatPath(kin.path)}`;
      findings.push(wrong((persistence.prefix ?? persistence).path, reason, 'write the same prefix for all services of a group'));
    }
    return findings;
  });
};

/** Templates of a group name hosts: with two servers on one, they could not say which. */
function oneServerPerHost(service: ServiceFacts, group: string): Finding[] {
  const seen = new Set<string>();
  return service.servers.flatMap(({ address }) => {
    if (address === undefined) return [];
    if (!seen.has(address.value.text)) return seen.add(address.value.text) && [];
    const reason = `group "${group}" sends clients to hosts, and ${address.value.text} is in this service twice`;
    return [wrong(address.path, reason, 'keep one server of each host, or remove the group')];
  });
}

const onePacket: Rule = (facts) =>
  facts.services.flatMap(({ onePacket: given, protocol, persistence, servers }) => {
    if (given?.value !== true) return [];
    const findings: Finding[] = [];
    if (protocol !== undefined && protocol.value !== 'udp') {
      findings.push(
        wrong(given.path, `onePacket schedules datagrams, and protocol ${protocol.value} has connections`, 'remove it'),
      );
    }
    const fullnat = servers.find((server) => server.mode === undefined || server.mode.value === 'fullnat');
    if (fullnat !== undefined) {
      const reason = `onePacket keeps no session, but mode fullnat needs one to bring the answer of ${formatPath(fullnat.path)} back`;
      findings.push(wrong(given.path, reason, 'use mode direct, ipip, gre, gue or l3dsr, or nat if no answer is expected'));
    }
    if (persistence !== undefined) {
      const reason = 'onePacket sends each datagram to another server, persistence all of a client to one';
      findings.push(wrong(given.path, reason, 'remove one of the two'));
    }
    return findings;
  });

const tcpOnly: Rule = (facts) =>
  facts.services.flatMap(({ sloppyTcp, connReuseMode, protocol, servers }) => {
    const findings: Finding[] = [];
    const udp = protocol !== undefined && !protocol.value.includes('tcp');
    if (udp && sloppyTcp !== undefined) findings.push(wrong(sloppyTcp.path, 'sloppyTcp is about TCP connections', 'remove it'));
    if (udp && connReuseMode !== undefined) {
      findings.push(wrong(connReuseMode.path, 'connReuseMode is about TCP connections', 'remove it'));
    }
    const fullnat = servers.find((server) => server.mode === undefined || server.mode.value === 'fullnat');
    if (!udp && sloppyTcp?.value === true && fullnat !== undefined) {
      const reason = `a connection taken up in the middle would reach ${formatPath(fullnat.path)} from a new local port, and be reset`;
      findings.push(wrong(sloppyTcp.path, reason, 'remove it, or use a mode that keeps the address of the client'));
    }
    return findings;
  });

/** In the order in which they are reported. */
export const CONNECTION_RULES: readonly Rule[] = [persistentClients, persistenceGroups, onePacket, tcpOnly];
