// What a packet would meet: it is built, sent through the production pipeline by a replay, and what the replay counted and sent is put
// into words. Nothing here decides about packets; whatever is said was done by the same code that serves traffic.
// Guarantees: needs no privileges and asks no kernel; leaves no file behind.
// Thread: the JavaScript thread that calls it; synchronous.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAddress, parseMac } from '../config/address.js';
import { describeService } from '../config/matching.js';
import { SCHEDULERS } from '../config/scheduler-names.js';
import type { Config } from '../config/schema.js';
import { runReplay } from '../control/replay.js';
import { createError } from '../errors.js';
import type { NativeBinding, NativeReplayResult } from '../native-binding.js';
import { type Condition, conditionsOf, denialsOf, serverNamed } from './conditions.js';
import { buildFrame, TCP_FLAGS } from './frame.js';
import { type Header, readHeaders } from './headers.js';
import { type AssumedNetwork, assumeNetwork } from './network.js';
import { type ExplainedRule, ruleOf } from './outbound.js';
import { readCapture, writeCapture } from './pcap.js';
import { formatSentence, type Sentence } from './sentence.js';

export interface ExplainRequest {
  readonly sentence: Sentence;
  /** TCP flags byte; SYN if it is left out. */
  readonly tcpFlags?: number;
  /** Where the packet comes in; by default where the way to the client leads. */
  readonly interface?: string;
  readonly workers?: number;
  readonly seed?: string;
}

/** What becomes of the packet. */
export type Outcome =
  | { readonly kind: 'forwarded'; readonly interface: string }
  | { readonly kind: 'answered'; readonly interface: string }
  | {
      readonly kind: 'dropped';
      readonly reason: string;
      readonly stage: string;
      readonly text: string;
      readonly icmpSent: boolean;
    }
  | { readonly kind: 'kernel'; readonly text: string };

export interface Explanation {
  readonly packet: string;
  readonly interface: string;
  readonly outcome: Outcome;
  /** The service and its server, when a session began. */
  readonly service?: {
    readonly name: string;
    /** Address, port and protocol. */
    readonly match: string;
    readonly scheduler: string;
    readonly why: string;
    readonly mode: string;
    readonly server: string;
    readonly weight: number;
    /** How the server's answers reach the client. */
    readonly answers: string;
    /** How many servers of the service may get new sessions. */
    readonly candidates: number;
  };
  /** What the configuration asks of the service's clients, or why an access list kept this one out. */
  readonly conditions: readonly Condition[];
  /** The rule of the outbound gateway, when a session began by one. */
  readonly rule?: ExplainedRule;
  readonly worker?: {
    /** Worker that got the packet, and the one that has its session; the same unless it was handed over. */
    readonly received: number;
    readonly owner: number;
    readonly workers: number;
    readonly handovers: number;
    readonly text: string;
  };
  /** Full NAT: the balancer's address and port towards the server; outbound gateway: towards the outside, of echo the identifier. Tunnels:
   * the outer source, without a port. */
  readonly local?: { readonly address: string; readonly port?: number; readonly identifier?: number };
  readonly nextHop?: { readonly interface: string; readonly mac: string; readonly address: string };
  readonly before: readonly Header[];
  /** Headers of every packet that left. */
  readonly after: readonly (readonly Header[])[];
  /** Counters that are not 0, those that are the same for every packet left out. */
  readonly counters: Readonly<Record<string, number>>;
  readonly assumptions: readonly string[];
}

const STRAIGHT = 'the server answers the client itself; its packets do not pass here';
const ANSWERS: Readonly<Record<string, string>> = {
  fullnat: 'the server answers to the local address; the balancer restores VIP and client',
  nat: "the server's way to the client must lead through the balancer, which restores the VIP",
  direct: STRAIGHT,
  ipip: STRAIGHT,
  gre: STRAIGHT,
  gue: STRAIGHT,
  l3dsr: STRAIGHT,
};

/**
 * @throws MillraceError MILLRACE_E_INPUT_INVALID for an interface that the file does not have; ConfigurationError as `runReplay`.
 */
export function explain(binding: NativeBinding, config: Config, request: ExplainRequest): Explanation {
  const { sentence } = request;
  const network = assumeNetwork(config, sentence.source.address, sentence.destination.address, request.interface);
  const ingress = network.config.interfaces.find((entry) => entry.name === network.ingress);
  if (ingress === undefined) {
    const names = config.interfaces.map((entry) => entry.name).join(', ');
    throw createError(
      'MILLRACE_E_INPUT_INVALID',
      `there is no interface ${network.ingress} in the configuration; it has ${names}`,
      {
        remedy: 'Name one of them with --interface.',
      },
    );
  }
  const frame = buildFrame(sentence, {
    sourceMac: network.clientMac,
    destinationMac: parseMac(ingress.mac ?? '') ?? '',
    tcpFlags: request.tcpFlags ?? TCP_FLAGS.syn,
  });
  const { result, sent } = replayOne(binding, network.config, frame, request);
  return describe(binding, network, request, frame, result, sent);
}

function replayOne(binding: NativeBinding, config: Config, frame: Buffer, request: ExplainRequest) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-explain-'));
  try {
    const [input, output] = [join(directory, 'in.pcap'), join(directory, 'out.pcap')];
    writeFileSync(input, writeCapture(frame));
    const result = runReplay(binding, config, {
      input,
      output,
      steering: 'flow',
      ...(request.workers === undefined ? {} : { workers: request.workers }),
      ...(request.seed === undefined ? {} : { seed: request.seed }),
    });
    return { result, sent: readCapture(readFileSync(output)) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function describe(
  binding: NativeBinding,
  network: AssumedNetwork,
  request: ExplainRequest,
  frame: Buffer,
  result: NativeReplayResult,
  sent: readonly Buffer[],
): Explanation {
  const guePorts = [6080, ...network.config.services.flatMap((s) => [s.tunnelPort, ...s.servers.map((e) => e.tunnelPort)])];
  const headersOf = (bytes: Buffer): Header[] =>
    readHeaders(
      bytes,
      guePorts.filter((port) => port !== undefined),
    );
  const after = sent.map(headersOf);
  const service = serviceOf(network.config, result);
  const rule = ruleOf(network.config, result, request.sentence.source.address.family);
  const worker = workerOf(result);
  const local = localOf(network.config, after[0], ['ipip', 'gre', 'gue'].includes(service?.mode ?? ''));
  const outcome = outcomeOf(binding, network.config, result, after);
  const nextHop = outcome.kind === 'forwarded' ? nextHopOf(network.config, after[0], outcome.interface) : undefined;
  return {
    packet: formatSentence(request.sentence),
    interface: network.ingress,
    outcome,
    ...(service === undefined ? {} : { service }),
    conditions: conditionsFor(network, request.sentence, service, outcome),
    ...(rule === undefined ? {} : { rule }),
    ...(worker === undefined ? {} : { worker }),
    ...(local === undefined ? {} : { local }),
    ...(nextHop === undefined ? {} : { nextHop }),
    before: headersOf(frame),
    after,
    counters: Object.fromEntries(
      Object.entries(result.counters)
        .filter(([name, value]) => value !== 0n && !name.startsWith('loop_') && !name.endsWith('_bytes'))
        .map(([name, value]) => [name, Number(value)]),
    ),
    assumptions: [...network.assumptions, ...askedFor(network, [headersOf(frame), ...after])],
  };
}

function conditionsFor(network: AssumedNetwork, sentence: Sentence, met: Explanation['service'], outcome: Outcome): Condition[] {
  const { config, ingress } = network;
  if (outcome.kind === 'dropped' && outcome.reason === 'access_denied') return denialsOf(config, sentence, ingress);
  const service = config.services.find((entry) => entry.name === met?.name);
  if (service === undefined || met === undefined) return [];
  return conditionsOf(service, serverNamed(service, met.server), sentence, ingress);
}

/** Neighbours of this packet's way that a running balancer would ask for. */
function askedFor(network: AssumedNetwork, packets: readonly (readonly Header[])[]): string[] {
  const macs = packets.flatMap((headers) => Object.values(headers[0]?.fields ?? {}));
  const addresses = [...network.asked].filter(([mac]) => macs.includes(mac)).map(([, address]) => address);
  if (addresses.length === 0) return [];
  return [`asked by ARP or ND when it is needed, here with an invented answer: ${addresses.join(', ')}`];
}

function serviceOf(config: Config, result: NativeReplayResult): Explanation['service'] {
  const chosen = result.servers.find((server) => (server.stats.connections ?? 0n) !== 0n);
  const service = config.services.find((entry) => entry.name === chosen?.service);
  if (chosen === undefined || service === undefined) return undefined;
  const server = serverNamed(service, chosen.server);
  return {
    name: service.name,
    match:
      service.address === undefined
        ? describeService(service)
        : `${service.address} port ${service.port ?? 'any'} ${service.protocol}`,
    scheduler: service.scheduler,
    why: SCHEDULERS.find((entry) => entry.name === service.scheduler)?.summary ?? '',
    mode: server?.mode ?? service.mode,
    server: chosen.server,
    weight: server?.weight ?? 1,
    answers: ANSWERS[server?.mode ?? service.mode] ?? '',
    candidates: service.servers.filter((entry) => entry.weight > 0).length,
  };
}

function workerOf(result: NativeReplayResult): Explanation['worker'] {
  const received = result.perWorker.findIndex((counters) => (counters.rx_packets ?? 0n) !== 0n);
  if (received === -1) return undefined;
  const created = result.perWorker.findIndex((counters) => (counters.sessions_created ?? 0n) !== 0n);
  const owner = created === -1 ? received : created;
  const workers = result.perWorker.length;
  const handovers = Number(result.counters.handoff_sent ?? 0n);
  const many =
    owner === received
      ? 'any of them could get it: the card decides by a hash of its own (RSS); answers to the local address come to its owner'
      : `received by worker ${received} and handed over`;
  return { received, owner, workers, handovers, text: workers === 1 ? 'the only one' : many };
}

function localOf(config: Config, headers: readonly Header[] | undefined, tunnel: boolean): Explanation['local'] {
  const ip = headers?.find((header) => header.layer.startsWith('ipv'));
  const source = ip?.fields.source;
  const own = [...config.localAddresses, ...config.snat.flatMap((rule) => rule.pool)];
  if (typeof source !== 'string' || !own.some((text) => parseAddress(text)?.text === source)) return undefined;
  const next = headers?.[headers.indexOf(ip as Header) + 1];
  const port = tunnel ? undefined : next?.fields.source;
  const identifier = next?.layer.startsWith('icmp') ? next.fields.id : undefined;
  return {
    address: source,
    ...(typeof port === 'number' ? { port } : {}),
    ...(typeof identifier === 'number' ? { identifier } : {}),
  };
}

function nextHopOf(config: Config, headers: readonly Header[] | undefined, interfaceName: string): Explanation['nextHop'] {
  const mac = headers?.[0]?.fields.destination;
  const destination = headers?.[1]?.fields.destination;
  if (typeof mac !== 'string') return undefined;
  // Several addresses may be one neighbour's; best is the one that the packet goes to, else one of its family.
  const family = headers?.[1]?.layer === 'ipv6' ? 6 : 4;
  const hops = config.neighbours
    .filter((entry) => parseMac(entry.mac) === mac && entry.interface === interfaceName)
    .map((entry) => parseAddress(entry.address))
    .filter((address) => address?.family === family);
  const address = hops.find((hop) => hop?.text === destination) ?? hops[0];
  return { interface: interfaceName, mac, address: address?.text ?? '' };
}

function outcomeOf(binding: NativeBinding, config: Config, result: NativeReplayResult, after: readonly Header[][]): Outcome {
  if (result.passedToKernel !== 0) {
    const rules = config.snat.length === 0 ? '' : ', and no rule of the outbound gateway takes the packet';
    return {
      kind: 'kernel',
      text: `the destination is neither a VIP nor a local address${rules}: XDP leaves the packet to the kernel`,
    };
  }
  const mac = after[0]?.[0]?.fields.source;
  const out = config.interfaces.find((entry) => parseMac(entry.mac ?? '') === mac)?.name ?? '';
  const dropped = binding.counterInfo().find((info) => info.kind === 'drop' && (result.counters[info.name] ?? 0n) !== 0n);
  if (dropped !== undefined) {
    return { kind: 'dropped', reason: dropped.name, stage: dropped.unit, text: dropped.help, icmpSent: after.length > 0 };
  }
  return { kind: (result.counters.forwarded ?? 0n) !== 0n ? 'forwarded' : 'answered', interface: out };
}
