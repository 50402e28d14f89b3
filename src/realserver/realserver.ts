// Prepares a real server, says what is in place, and undoes it: the three things that `millrace realserver` does.
// Guarantees: preparing twice changes nothing the second time; what fails half-way is taken back; each change is on record before it is
// made, so that even a killed command can be undone; several modes live side by side, and undoing one leaves the others.
// Thread: the main thread.
import { parsePrefix } from '../config/address.js';
import type { Finding } from '../doctor/facts.js';
import { renderFindings } from '../doctor/report.js';
import { createError } from '../errors.js';
import type { NativeIngressState } from '../native-binding.js';
import { absent, type Change, expected, look, lookSafely, make, stateBefore, type TakenBack, takeBack } from './changes.js';
import type { Host } from './host.js';
import { type HostFacts, judgeSetup } from './judge.js';
import { adviseMtu, type MtuAdvice } from './mtu-advice.js';
import { devicesTowards, type NetworkFacts, readNetwork } from './network-facts.js';
import { type Decapsulator, isIpv6, type Mode, type Setup, type TunnelSetup } from './setup.js';
import type { RealserverState, StateStore } from './state-file.js';
import { kernelDevices, nameOf, vipDevice, wantedBy } from './wanted.js';

export interface Realserver {
  readonly host: Host;
  readonly store: StateStore;
}

/** A setup as it was asked for: interfaces may be left to be found, and who takes tunnels off. */
export type Request = Setup extends infer S
  ? S extends TunnelSetup
    ? Omit<S, 'device'> & { readonly device: Decapsulator | 'auto' }
    : S
  : never;

export interface Prepared {
  readonly setup: Setup;
  readonly findings: readonly Finding[];
  /** made: changed now. kept: made by an earlier run. there: was so before. */
  readonly changes: readonly (Change & { readonly name: string; readonly outcome: 'made' | 'kept' | 'there' })[];
  /** Of an earlier setup of the same mode, not needed any more. */
  readonly takenBack: readonly TakenBack[];
  /** Per interface of a tunnel. */
  readonly mtu: readonly (MtuAdvice & { readonly interface: string })[];
  /** Why the kernel's devices are not used although nobody asked for the program; '' otherwise. */
  readonly deviceReason: string;
}

export async function prepare({ host, store }: Realserver, request: Request): Promise<Prepared> {
  return store.locked(async () => {
    const state = currentState(host, store);
    const network = await readNetwork(host);
    const interfaces = request.interfaces.length > 0 ? request.interfaces : await findInterfaces(host, request, network);
    const { setup, reason } = await chooseDevice(host, { ...request, interfaces });
    const findings = judgeSetup(setup, hostFacts(host, setup, network));
    refuseProblems(findings);
    const setups = [...state.setups.filter((other) => other.mode !== setup.mode), setup];
    const { changes, takenBack } = await reconcile(host, store, { ...state, setups }, state, network);
    return { setup, findings, changes, takenBack, mtu: mtuOf(setup, network), deviceReason: reason };
  });
}

/** Takes back what was made for one mode, or for all. */
export async function undo(
  { host, store }: Realserver,
  options: { readonly mode?: Mode; readonly force?: boolean } = {},
): Promise<readonly TakenBack[]> {
  return store.locked(async () => {
    const state = currentState(host, store);
    const setups = options.mode === undefined ? [] : state.setups.filter((setup) => setup.mode !== options.mode);
    const needed = new Set(wantedBy(setups, await readNetwork(host)).map(nameOf));
    const obsolete = state.changes.filter((change) => !needed.has(nameOf(change.wanted)));
    return takeAllBack(host, store, { ...state, setups }, obsolete, options.force ?? false);
  });
}

export interface StatusEntry extends Change {
  readonly name: string;
  readonly present: string;
  /** ok: as it was left. gone: not there. changed: somebody else changed it. */
  readonly condition: 'ok' | 'gone' | 'changed';
}

export interface Status {
  readonly setups: readonly Setup[];
  /** Something is prepared, and all of it is as it was left. */
  readonly inPlace: boolean;
  readonly entries: readonly StatusEntry[];
  /** What would be said against the setups now; without what is in order. */
  readonly findings: readonly Finding[];
  readonly programs: readonly { readonly name: string; readonly counters: NativeIngressState['counters'] }[];
  readonly mtu: readonly (MtuAdvice & { readonly interface: string })[];
}

export async function status({ host, store }: Realserver): Promise<Status> {
  const { setups, changes } = currentState(host, store);
  const network = await readNetwork(host);
  const entries: StatusEntry[] = [];
  for (const change of changes) {
    const found = await lookSafely(host, change.wanted);
    const condition = found === change.after ? 'ok' : found === absent ? 'gone' : 'changed';
    entries.push({ ...change, name: nameOf(change.wanted), present: found, condition });
  }
  const findings = setups
    .flatMap((setup) => judgeSetup(setup, hostFacts(host, setup, network)))
    .filter((finding) => finding.status !== 'ok');
  const programs = entries.flatMap(({ wanted, name, condition }) => {
    if (condition === 'gone' || (wanted.kind !== 'decapsulation' && wanted.kind !== 'l3dsr')) return [];
    return [{ name, counters: host.native().ingressState(wanted.interface, wanted.kind).counters }];
  });
  const inPlace =
    setups.length > 0 &&
    entries.every((entry) => entry.condition === 'ok') &&
    !findings.some((finding) => finding.status === 'problem');
  return { setups, inPlace, entries, findings, programs, mtu: setups.flatMap((setup) => mtuOf(setup, network)) };
}

function emptyState(cookie: string): RealserverState {
  return { version: 1, cookie, setups: [], changes: [] };
}

/** The record of this namespace; that of a namespace that has gone does not count. */
function currentState(host: Host, store: StateStore): RealserverState {
  const cookie = namespaceCookie(host);
  const state = store.read();
  if (state === undefined || (cookie !== '0' && state.cookie !== '0' && state.cookie !== cookie)) return emptyState(cookie);
  return state;
}

function namespaceCookie(host: Host): string {
  try {
    return String(host.native().networkNamespaceCookie());
  } catch {
    // Without the addon the number of the namespace alone has to do.
    return '0';
  }
}

function hostFacts(host: Host, setup: Setup, network: NetworkFacts): HostFacts {
  let nativeError: string | undefined;
  try {
    host.native();
  } catch (error) {
    nativeError = error instanceof Error ? error.message : String(error);
  }
  return {
    network,
    capabilities: host.capabilities(),
    sysctlsWritable: host.canWriteSysctls(),
    nativeError,
    ipv6Disabled: [vipDevice, ...setup.interfaces].filter(
      (name) => host.readSysctl(`net/ipv6/conf/${name}/disable_ipv6`) !== '0',
    ),
  };
}

function refuseProblems(findings: readonly Finding[]): void {
  const problems = findings.filter((finding) => finding.status === 'problem');
  if (problems.length === 0) return;
  throw createError('MILLRACE_E_UNSUPPORTED_HOST', `This real server cannot be prepared:\n${renderFindings(problems)}`, {
    remedy: 'Do what stands behind "how", and try again; nothing was changed.',
  });
}

/** Where the balancer's packets come in: by the way to the balancers, else by the default route, else the only one there is. */
async function findInterfaces(host: Host, request: Request, network: NetworkFacts): Promise<readonly string[]> {
  const usable = network.links.filter((link) => !link.loopback && link.up).map((link) => link.name);
  if (request.mode === 'tunnel') {
    const balancers = request.from.flatMap((prefix) => parsePrefix(prefix)?.address.text ?? []);
    const towards = (await devicesTowards(host, balancers)).filter((name) => usable.includes(name));
    if (towards.length > 0) return towards;
  }
  const vips = request.mode === 'l3dsr' ? request.marks.map((mark) => mark.vip) : request.vips;
  const { ipv4, ipv6 } = network.defaultDevices;
  const outwards = usable.filter(
    (name) => (ipv4.includes(name) && !vips.every(isIpv6)) || (ipv6.includes(name) && vips.some(isIpv6)),
  );
  if (outwards.length > 0) return outwards;
  if (usable.length === 1) return usable;
  throw createError(
    'MILLRACE_E_INPUT_INVALID',
    `it is not clear on which interface the balancer's packets come in: ${usable.join(', ') || 'none is up'}`,
    { remedy: 'Name it with --interface.' },
  );
}

/** `auto`: the kernel's devices if it has them and the balancers are single addresses, which is all those devices can tell apart. */
async function chooseDevice(host: Host, request: Request): Promise<{ readonly setup: Setup; readonly reason: string }> {
  if (request.mode !== 'tunnel') return { setup: request, reason: '' };
  const obstacle = request.device === 'bpf' ? '' : await kernelObstacle(host, { ...request, device: 'kernel' });
  if (request.device === 'kernel' && obstacle !== '') {
    throw createError('MILLRACE_E_UNSUPPORTED_HOST', `the kernel's tunnel devices cannot be used: ${obstacle}`, {
      remedy: 'Use --device bpf, or a kernel with CONFIG_NET_IPIP, CONFIG_IPV6_TUNNEL, CONFIG_NET_IPGRE and CONFIG_NET_FOU.',
    });
  }
  const device = request.device === 'auto' ? (obstacle === '' ? 'kernel' : 'bpf') : request.device;
  return { setup: { ...request, device }, reason: device === 'bpf' ? obstacle : '' };
}

const probeDevice = 'millrace-probe';
const probePort = '61';

/** Why the kernel cannot do it; '' if it can. Each kind of device is made once and removed again. */
async function kernelObstacle(host: Host, setup: TunnelSetup): Promise<string> {
  const wide = setup.from.find((prefix) => !prefix.endsWith(isIpv6(prefix) ? '/128' : '/32'));
  if (wide !== undefined) return `${wide} is more than one address, and they know single balancers only`;
  const tried = new Set<string>();
  for (const { name, type } of kernelDevices(setup)) {
    const kind = type[1] ?? '';
    if (tried.has(kind)) continue;
    tried.add(kind);
    // Ours from an earlier run prove the same, and two for one balancer are refused.
    if ((await host.ip(['link', 'show', 'dev', name, ...type.slice(0, 2)])).stdout.trim() !== '') continue;
    const made = await host.ip(['link', 'add', 'name', probeDevice, ...type]);
    if (made.code !== 0) return `this kernel has no device of type ${kind} (${made.stderr.trim()})`;
    await host.ip(['link', 'delete', 'dev', probeDevice]);
  }
  if (setup.types.includes('gue')) {
    const made = await host.ip(['fou', 'add', 'port', probePort, 'gue']);
    if (made.code !== 0) return `this kernel does not take off GUE (${made.stderr.trim().split('\n')[0] ?? ''})`;
    await host.ip(['fou', 'del', 'port', probePort]);
  }
  return '';
}

function mtuOf(setup: Setup, network: NetworkFacts): Prepared['mtu'] {
  if (setup.mode !== 'tunnel') return [];
  return setup.interfaces.flatMap((name) => {
    const mtu = network.links.find((link) => link.name === name)?.mtu;
    return mtu === undefined ? [] : adviseMtu(setup, mtu).map((advice) => ({ ...advice, interface: name }));
  });
}

/**
 * Brings the host to what `target.setups` need: makes what is missing, then takes back what is needed no more. If something cannot be
 * made, what this call made is taken back, and the record is what it was (`former`).
 */
async function reconcile(
  host: Host,
  store: StateStore,
  target: RealserverState,
  former: RealserverState,
  network: NetworkFacts,
): Promise<Pick<Prepared, 'changes' | 'takenBack'>> {
  const recorded = new Map(target.changes.map((change) => [nameOf(change.wanted), change]));
  const made: Change[] = [];
  const report: Prepared['changes'][number][] = [];
  const wanted = wantedBy(target.setups, network);
  const record = () => store.write({ ...target, changes: [...recorded.values()] });
  try {
    for (const wish of wanted) {
      const name = nameOf(wish);
      const found = await look(host, wish);
      const old = recorded.get(name);
      const asBefore = old !== undefined && old.after === found && JSON.stringify(old.wanted) === JSON.stringify(wish);
      if (asBefore && expected(host, wish, found) === found) {
        report.push({ ...old, name, outcome: 'kept' });
        continue;
      }
      const before = old !== undefined && found === old.after ? old.before : stateBefore(wish, found);
      const intent = { wanted: wish, before, after: expected(host, wish, found) };
      recorded.set(name, intent);
      if (old === undefined) made.push(intent);
      record();
      const after = await make(host, wish, found);
      const change = { ...intent, after };
      recorded.set(name, change);
      report.push({ ...change, name, outcome: after === found && before === found ? 'there' : 'made' });
    }
    record();
  } catch (error) {
    await rollBack(host, store, made, former);
    throw error;
  }
  const needed = new Set(wanted.map(nameOf));
  const obsolete = [...recorded.values()].filter((change) => !needed.has(nameOf(change.wanted)));
  const takenBack = await takeAllBack(host, store, { ...target, changes: [...recorded.values()] }, obsolete, false);
  return { changes: report, takenBack };
}

async function rollBack(host: Host, store: StateStore, made: readonly Change[], former: RealserverState): Promise<void> {
  const left: Change[] = [];
  for (const change of [...made].reverse()) {
    try {
      await takeBack(host, change, false);
    } catch {
      // The error that led here is the one to tell; what stays is on record for `undo`.
      left.unshift(change);
    }
  }
  const state = { ...former, changes: [...former.changes, ...left] };
  store.write(state.changes.length === 0 ? undefined : state);
}

/** Takes changes back, the last one first, each off the record when it is done. Without setups and changes the record goes. */
async function takeAllBack(
  host: Host,
  store: StateStore,
  state: RealserverState,
  obsolete: readonly Change[],
  force: boolean,
): Promise<readonly TakenBack[]> {
  const results: TakenBack[] = [];
  let changes = state.changes;
  const record = () => store.write(changes.length === 0 && state.setups.length === 0 ? undefined : { ...state, changes });
  record();
  for (const change of [...obsolete].reverse()) {
    results.push(await takeBack(host, change, force));
    changes = changes.filter((other) => other !== change);
    record();
  }
  return results;
}
