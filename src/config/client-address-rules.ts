// The rules of clientAddress and acceptProxy: which method a protocol and mode can carry, and which keys a method has.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { networkOf } from './address.js';
import type { ClientAddressFacts, Fact, ServiceFacts } from './facts.js';
import type { Finding } from './finding.js';
import { type Rule, wrong } from './rule.js';

/** Bytes that custom TLVs may take with their heads; as kMaxConfiguredTlvs in native/tables/client_address.h. */
const MAX_TLVS = 128;
const TLV_HEAD = 3;

/** Transport protocols of a service; none where they are not known. */
function protocolsOf(service: ServiceFacts): Set<string> {
  const all = service.protocol !== undefined ? [service.protocol] : service.matches.map((match) => match.protocol);
  return new Set(all.flatMap((protocol) => (protocol?.value === 'any' ? ['tcp', 'udp'] : (protocol?.value.split('+') ?? []))));
}

interface Owned {
  readonly service: ServiceFacts;
  readonly facts: ClientAddressFacts;
  readonly method: Fact<string>;
}

function each(check: (owned: Owned) => Finding[]): Rule {
  return ({ services }) =>
    services.flatMap((service) => {
      const facts = service.clientAddress;
      return facts?.method === undefined ? [] : check({ service, facts, method: facts.method });
    });
}

const carriers: Readonly<Record<string, readonly string[]>> = {
  toa: ['tcp'],
  'proxy-v1': ['tcp'],
  uoa: ['udp'],
  'proxy-v2': ['tcp', 'udp'],
};

const protocols = each(({ service, method }) => {
  const possible = carriers[method.value];
  const other = [...protocolsOf(service)].find((protocol) => possible !== undefined && !possible.includes(protocol));
  if (possible === undefined || other === undefined) return [];
  const remedy =
    other === 'udp' ? 'use uoa or proxy-v2 for UDP' : other === 'tcp' ? 'use toa, proxy-v1 or proxy-v2 for TCP' : 'remove it';
  return [wrong(method.path, `${method.value} tells nothing of ${other.toUpperCase()}`, remedy)];
});

const fullNatOnly: Rule = ({ services }) =>
  services.flatMap((service) => {
    const wanted = [
      service.clientAddress?.method?.value === 'none' ? undefined : service.clientAddress?.method,
      service.acceptProxy,
    ];
    const server = service.servers.find((candidate) => candidate.mode !== undefined && candidate.mode.value !== 'fullnat');
    if (server?.mode === undefined) return [];
    const mode = server.mode.value;
    return wanted.flatMap((fact) => {
      if (fact === undefined) return [];
      const key = fact === service.acceptProxy ? 'acceptProxy' : 'clientAddress';
      const reason = `${key} is of mode fullnat, and a server of this service has mode ${mode}, with which it sees the client as it is`;
      return [wrong(fact.path, reason, 'remove it, or use mode fullnat')];
    });
  });

const keys: Readonly<Record<string, { readonly methods: readonly string[]; readonly protocol?: string; readonly of: string }>> = {
  kinds: { methods: ['toa'], of: 'toa' },
  onSyn: { methods: ['toa'], of: 'toa' },
  carrier: { methods: ['uoa'], of: 'uoa' },
  serverFirst: { methods: ['proxy-v1', 'proxy-v2'], protocol: 'tcp', of: 'PROXY on TCP' },
  datagrams: { methods: ['proxy-v2'], protocol: 'udp', of: 'proxy-v2 on UDP' },
  whenTooBig: { methods: ['proxy-v2'], protocol: 'udp', of: 'proxy-v2 on UDP' },
  tlvs: { methods: ['proxy-v2'], of: 'proxy-v2' },
};

const keysOfMethods = each(({ service, facts, method }) =>
  facts.keys.flatMap((key) => {
    const known = keys[key.value];
    if (known === undefined) return [];
    const protocols = protocolsOf(service);
    const carried = known.protocol === undefined || protocols.size === 0 || protocols.has(known.protocol);
    if (known.methods.includes(method.value) && carried) return [];
    return [{ ...wrong(key.path, `${key.value} is a key of ${known.of}`, 'remove it'), at: 'key' as const }];
  }),
);

const tlvs = each(({ facts }) => {
  const seen = new Set<number>();
  let length = 0;
  return facts.tlvs.flatMap((tlv): Finding[] => {
    const findings: Finding[] = [];
    if ((tlv.text === undefined) === (tlv.hex === undefined)) {
      const both = tlv.text !== undefined;
      findings.push(
        wrong(
          tlv.path,
          both ? 'a TLV has one value, and here are two' : 'a TLV needs a value',
          both ? 'keep text or hex' : 'add text or hex',
        ),
      );
    }
    if (tlv.hex !== undefined && !/^([0-9a-f]{2})*$/i.test(tlv.hex)) {
      findings.push(
        wrong([...tlv.path, 'hex'], `"${tlv.hex}" is not pairs of hexadecimal digits`, 'write two digits for each byte'),
      );
    }
    if (tlv.type !== undefined) {
      if (seen.has(tlv.type.value)) {
        findings.push(
          wrong(tlv.type.path, `type 0x${tlv.type.value.toString(16)} is used twice`, 'give each TLV a type of its own'),
        );
      }
      seen.add(tlv.type.value);
    }
    const before = length;
    length += TLV_HEAD + (tlv.hex !== undefined ? tlv.hex.length / 2 : Buffer.byteLength(tlv.text ?? ''));
    if (before <= MAX_TLVS && length > MAX_TLVS) {
      findings.push(
        wrong(tlv.path, `TLVs take ${length} bytes with this one, and there is room for ${MAX_TLVS}`, 'make them shorter'),
      );
    }
    return findings;
  });
});

/** A server hears of an IPv6 client of a VIP only where its sockets can name one. */
const families = each(({ service, facts, method }) => {
  if (method.value !== 'uoa') return [];
  const vips = [service.vips, ...service.matches.map((match) => match.destination)].map((prefix) => prefix?.value.address.family);
  const servers = service.servers.map((server) => server.address?.value.family);
  if (vips.includes(6) && servers.includes(4)) {
    return [wrong(method.path, 'an IPv4 server cannot be told an IPv6 client of UDP', 'use proxy-v2, or IPv6 servers')];
  }
  if (facts.carrier?.value === 'option' && (vips.includes(6) || servers.includes(6))) {
    return [wrong(facts.carrier.path, 'the option is one of IPv4', 'use carrier protocol for IPv6')];
  }
  return [];
});

const acceptedProtocols: Rule = ({ services }) =>
  services.flatMap((service) => {
    if (service.acceptProxy === undefined) return [];
    const other = [...protocolsOf(service)].find((protocol) => protocol !== 'tcp' && protocol !== 'udp');
    if (other === undefined) return [];
    return [wrong(service.acceptProxy.path, `there are no PROXY headers in ${other.toUpperCase()}`, 'remove it')];
  });

const acceptedPrefixes: Rule = ({ services }) =>
  services.flatMap(({ acceptProxy }) =>
    (acceptProxy?.value ?? []).flatMap((prefix) => {
      const network = networkOf(prefix.value);
      if (network.value === prefix.value.address.value) return [];
      const reason = `${prefix.value.address.text}/${prefix.value.length} is not a network: bits after the first ${prefix.value.length} are set`;
      return [wrong(prefix.path, reason, `write ${network.text}/${prefix.value.length}`)];
    }),
  );

/** In the middle of a connection nobody knows where its bytes began. */
const wholeConnections: Rule = ({ services }) =>
  services.flatMap((service) => {
    const told = service.clientAddress?.method !== undefined && service.clientAddress.method.value !== 'none';
    if (service.sloppyTcp?.value !== true || (!told && service.acceptProxy === undefined)) return [];
    const key = told ? 'clientAddress' : 'acceptProxy';
    const reason = `sloppyTcp takes connections up in the middle, where ${key} comes too late`;
    return [wrong(service.sloppyTcp.path, reason, 'remove one of the two')];
  });

/** In the order in which they are reported. */
export const CLIENT_ADDRESS_RULES: readonly Rule[] = [
  protocols,
  fullNatOnly,
  keysOfMethods,
  tlvs,
  families,
  acceptedProtocols,
  acceptedPrefixes,
  wholeConnections,
];
