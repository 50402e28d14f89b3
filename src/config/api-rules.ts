// The rules of the section `api`: no TCP without TLS and without somebody to tell friend from stranger, no address that is the
// dataplane's, no key that does nothing.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { parseAddress } from './address.js';
import type { Fact, Facts } from './facts.js';
import { type Finding, formatPath } from './finding.js';
import { type Rule, wrong } from './rule.js';

/** Bytes of sun_path in unix(7), without the closing zero. */
const LONGEST_SOCKET_PATH = 107;

function textAt(facts: Facts, key: string): Fact<string> | undefined {
  const fact = facts.api.get(key);
  return typeof fact?.value === 'string' ? { value: fact.value, path: fact.path } : undefined;
}

const tlsOverTcp: Rule = ({ api }) => {
  const tcp = api.get('tcp');
  if (tcp === undefined) return [];
  const missing = ['cert', 'key'].filter((key) => !api.has(`tcp.${key}`));
  const findings: Finding[] = [];
  if (missing.length > 0) {
    const reason = `tcp has no ${missing.join(' and no ')}: the API is not served over TCP without TLS`;
    findings.push(wrong(tcp.path, reason, 'add cert and key, or remove tcp and use the socket'));
  }
  if (!api.has('tcp.tokenFile') && !api.has('tcp.clientCa')) {
    const reason = 'tcp has neither tokenFile nor clientCa: everybody who reaches the port could change the configuration';
    findings.push(wrong(tcp.path, reason, 'add tokenFile, clientCa or both'));
  }
  return findings;
};

const absolutePaths: Rule = (facts) =>
  ['socket', 'tcp.cert', 'tcp.key', 'tcp.tokenFile', 'tcp.clientCa'].flatMap((key): Finding[] => {
    const path = textAt(facts, key);
    if (path === undefined || path.value.startsWith('/') || (key === 'socket' && path.value === 'none')) return [];
    const reason = `"${path.value}" is not an absolute path`;
    return [wrong(path.path, reason, key === 'socket' ? 'write the whole path, or none' : 'write the whole path')];
  });

const socket: Rule = (facts) => {
  const path = textAt(facts, 'socket');
  if (path === undefined) return [];
  if (path.value === 'none') {
    const idle = ['mode', 'group'].flatMap((key) => facts.api.get(key) ?? []);
    return idle.map((key) =>
      wrong(key.path, `there is no socket whose ${key.path.at(-1)} this could be (socket: none)`, 'remove it, or name a socket'),
    );
  }
  const bytes = new TextEncoder().encode(path.value).length;
  if (path.value.includes('\0')) return [wrong(path.path, 'the path holds a zero byte', 'remove it')];
  if (bytes <= LONGEST_SOCKET_PATH) return [];
  const reason = `the path has ${bytes} bytes, and the kernel takes ${LONGEST_SOCKET_PATH} for a socket`;
  return [wrong(path.path, reason, 'choose a shorter one')];
};

const socketMode: Rule = (facts) => {
  const mode = textAt(facts, 'mode');
  if (mode === undefined || (Number.parseInt(mode.value, 8) & 0o002) === 0) return [];
  const reason = `mode ${mode.value} lets every user of this host change the configuration`;
  return [wrong(mode.path, reason, 'write "0660", and name a group')];
};

const ports: Rule = (facts) => {
  const [first, second] = ['tcp', 'plain'].map((key) => ({
    address: parseAddress(textAt(facts, `${key}.address`)?.value ?? ''),
    port: facts.api.get(`${key}.port`),
  }));
  if (first?.address === undefined || second?.address === undefined || second.port === undefined) return [];
  if (first.port === undefined || first.port.value !== second.port.value) return [];
  // An unspecified address takes the port on all others, that of IPv6 also on those of IPv4.
  const everywhere = (address: { readonly value: bigint }): boolean => address.value === 0n;
  const same = first.address.text === second.address.text || everywhere(first.address) || everywhere(second.address);
  if (!same) return [];
  const reason = `port ${second.port.value} is also that of ${formatPath(first.port.path.slice(0, -1))}`;
  return [wrong(second.port.path, reason, 'use another port')];
};

/** The kernel has no address that Millrace owns, so that nothing could listen there. */
const addressesOfTheKernel: Rule = (facts) => {
  const owned = new Map([
    ...facts.services.flatMap(({ address }) =>
      address === undefined ? [] : [[address.value.text, 'a service address'] as const],
    ),
    ...facts.localAddresses.map((local) => [local.value.text, 'a local address'] as const),
  ]);
  return ['tcp.address', 'plain.address'].flatMap((key): Finding[] => {
    const fact = textAt(facts, key);
    const owner = fact === undefined ? undefined : owned.get(parseAddress(fact.value)?.text ?? '');
    if (fact === undefined || owner === undefined) return [];
    const reason = `${fact.value} is ${owner}, which is Millrace's and not the kernel's: nothing can listen there`;
    return [wrong(fact.path, reason, 'use an address of this host')];
  });
};

export const API_RULES: readonly Rule[] = [tlsOverTcp, absolutePaths, socket, socketMode, ports, addressesOfTheKernel];
