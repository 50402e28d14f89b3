// The demo: the whole lab, real traffic through the balancer, and a report of what each real server answered.
// Guarantees: every request that fails is in the report; all that was started is stopped before it returns or throws.
// Thread: the main thread; everything else is a process of its own.
import { type Family, families, localAddresses, plans } from './addresses.js';
import type { Balancer } from './balancer.js';
import { accounted, type BalancerStats } from './balancer-events.js';
import { answeredByAll, type DemoCheck, type DemoReport, makeReport } from './demo-report.js';
import type { DemoView } from './demo-view.js';
import { Lab } from './lab.js';
import { LabError } from './lab-error.js';
import type { RealServer } from './real-server.js';
import { microsecondsText, numberText } from './text.js';
import { type LoadResult, serviceUrl } from './traffic.js';

export interface DemoOptions {
  readonly family: Family;
  readonly workers: number;
  /** Seconds of wrk, both runs together. */
  readonly duration: number;
  readonly downloadBytes?: number;
  readonly signal?: AbortSignal;
}

interface Stage {
  readonly lab: Lab;
  readonly balancer: Balancer;
  readonly options: DemoOptions;
  readonly signal: AbortSignal;
}

const curlRequests = 20;
const echoSockets = 200;
const echoDatagrams = 5;

export async function runDemo(options: DemoOptions, view: DemoView): Promise<DemoReport> {
  const start = performance.now();
  view.step('making the lab: a client, the balancer, two real servers with nginx and a UDP echo');
  await using lab = await Lab.start({ workers: options.workers });
  view.step(`starting Millrace with ${options.workers} workers`);
  await using balancer = await lab.startBalancer(lab.writeConfig({ families: [options.family] }));
  balancer.onStats((stats) => view.stats(stats));

  const ended = new AbortController();
  void balancer.process.exited.then((how) => {
    ended.abort(new LabError(`millrace run ended (${how}):\n${balancer.process.tail()}`, 'the lines above say why'));
  });
  const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal;
  const checks: DemoCheck[] = [];
  try {
    const stage = { lab, balancer, options, signal };
    for (const [text, check] of stages) {
      view.step(text(options));
      checks.push(await check(stage));
      signal.throwIfAborted();
    }
  } catch (error) {
    // An aborted request says only that it was aborted; the reason is what the reader needs.
    throw signal.aborted ? signal.reason : error;
  }
  const stats = await settledStats(balancer);
  view.end();
  const seconds = (performance.now() - start) / 1000;
  const { family, workers } = options;
  return makeReport({ family, workers, seconds, interfaces: balancer.interfaces, checks, stats });
}

type DemoStage = readonly [text: (options: DemoOptions) => string, check: (stage: Stage) => Promise<DemoCheck>];

const stages: readonly DemoStage[] = [
  [() => 'curl: single requests to both VIPs', checkCurl],
  [() => 'UDP echo', checkEcho],
  [() => 'a download, compared by sha256', checkDownload],
  [({ duration }) => `wrk: keep-alive connections, ${duration / 2} s`, (stage) => checkLoad(stage, false)],
  [({ duration }) => `wrk: a new connection for each request, ${duration / 2} s`, (stage) => checkLoad(stage, true)],
  [() => 'what the real servers saw', checkHidden],
];

async function checkCurl({ lab, options, signal }: Stage): Promise<DemoCheck> {
  const plan = plans[options.family];
  const onLink = await lab.traffic.get(serviceUrl(plan.vip), curlRequests, { signal });
  const routed = await lab.traffic.get(serviceUrl(plan.routedVip), curlRequests, { signal });
  const failed = onLink.failed + routed.failed;
  const byServer = addUp(onLink.byServer, routed.byServer);
  const answers = answeredByAll(onLink.byServer) && answeredByAll(routed.byServer);
  const detail =
    failed > 0 ? ([...onLink.reasons, ...routed.reasons][0] ?? '') : `${2 * curlRequests} requests: ${shares(byServer)}`;
  return { name: 'HTTP to both VIPs, curl', ok: failed === 0 && answers, requests: 2 * curlRequests, failed, byServer, detail };
}

async function checkEcho({ lab, options, signal }: Stage): Promise<DemoCheck> {
  const { sent, failed, repeated, byServer } = await lab.traffic.echo(options.family, echoSockets, echoDatagrams, { signal });
  const lost = repeated > 0 ? `, ${numberText(repeated)} sent twice` : '';
  const detail = `${numberText(sent)} datagrams from ${echoSockets} ports: ${shares(byServer)}${lost}`;
  return { name: 'UDP echo', ok: failed === 0 && answeredByAll(byServer), requests: sent, failed, byServer, detail };
}

async function checkDownload({ lab, options, signal }: Stage): Promise<DemoCheck> {
  const size = options.downloadBytes ?? 64 << 20;
  const file = lab.writeFile('large', size);
  const got = await lab.traffic.download(serviceUrl(plans[options.family].vip, '/files/large'), { signal });
  const ok = got.bytes === file.bytes && got.sha256 === file.sha256;
  const rate = got.bytes / (1 << 20) / got.seconds;
  const detail = ok
    ? `${numberText(got.bytes / (1 << 20))} MiB, sha256 agrees, ${numberText(rate)} MiB/s`
    : `sha256 differs: ${got.bytes} of ${file.bytes} bytes, ${got.sha256} instead of ${file.sha256}`;
  return { name: 'download', ok, requests: 1, failed: ok ? 0 : 1, byServer: {}, detail };
}

async function checkLoad({ lab, options, signal }: Stage, newConnections: boolean): Promise<DemoCheck> {
  const before = lab.servers.map((server) => server.httpPeers().length);
  const seconds = Math.max(1, Math.round(options.duration / 2));
  const url = serviceUrl(plans[options.family].vip);
  const load = await lab.traffic.load({ url, seconds, connections: 32, newConnections, signal });
  const answered = lab.servers.map((server, index) => [server.role, server.httpPeers().length - (before[index] ?? 0)] as const);
  const byServer = Object.fromEntries(answered);
  const name = newConnections ? 'wrk, a new connection per request' : 'wrk, keep-alive';
  const ok = load.failed === 0 && load.requests > 0 && answeredByAll(byServer);
  return { name, ok, requests: load.requests, failed: load.failed, byServer, detail: loadText(load, byServer) };
}

/** Full NAT means that a real server never sees a client: all that it saw must be from the pool of local addresses. */
async function checkHidden({ lab, options }: Stage): Promise<DemoCheck> {
  const pool = new Set(families.flatMap((family) => localAddresses(family, options.workers)));
  const seen = new Set(lab.servers.flatMap(peerAddresses));
  const foreign = [...seen].filter((address) => !pool.has(address));
  const detail =
    foreign.length > 0
      ? `they saw ${foreign.join(', ')}`
      : `only local addresses of the balancer: ${[...seen].sort().join(', ') || 'none'}`;
  return {
    name: 'sources seen by the real servers',
    ok: foreign.length === 0 && seen.size > 0,
    requests: 0,
    failed: 0,
    byServer: {},
    detail,
  };
}

function peerAddresses(server: RealServer): string[] {
  return [...new Set([...server.httpPeers(), ...server.echoPeers()].map((peer) => peer.address))];
}

/** Statistics in which every packet has been counted to its end; the latest ones if that does not come about. */
async function settledStats(balancer: Balancer): Promise<BalancerStats> {
  try {
    return await balancer.stats(({ totals }) => accounted(totals) === totals.rxPackets, 3_000);
  } catch (error) {
    if (balancer.latest === undefined) throw error;
    return balancer.latest;
  }
}

function loadText(load: LoadResult, byServer: Readonly<Record<string, number>>): string {
  const errors = Object.entries(load.errors).map(([kind, count]) => `${numberText(count)} ${kind} errors`);
  const latency = `p50 ${microsecondsText(load.latency.p50)}, p99 ${microsecondsText(load.latency.p99)}`;
  const failures = errors.length > 0 ? `${errors.join(', ')}; ` : '';
  return `${failures}${numberText(load.requests)} requests, ${numberText(load.requestsPerSecond)}/s, ${latency}: ${shares(byServer)}`;
}

function shares(byServer: Readonly<Record<string, number>>): string {
  const parts = Object.entries(byServer).sort(([a], [b]) => a.localeCompare(b));
  return parts.map(([server, count]) => `${server} ${numberText(count)}`).join(', ') || 'nobody answered';
}

function addUp(...parts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const part of parts) for (const [server, count] of Object.entries(part)) sum[server] = (sum[server] ?? 0) + count;
  return sum;
}
