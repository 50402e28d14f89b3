// What `millrace top` shows, apart from how: rates from two samples of the API, their history, rows of three views, sorted.
// Guarantees: pure; a counter that went back (a daemon that began again) gives no rate, never a negative one; rows that are gone are
// forgotten with their history.
// Thread: main.
import type { Reply, ServerViewBody, ServiceViewBody, StatusViewBody } from '../../api/contract.js';
import { workerCounter } from '../remote/views.js';

export const VIEWS = ['services', 'servers', 'workers'] as const;
export type ViewName = (typeof VIEWS)[number];

/** Rates that are kept per row. */
export const HISTORY = 60;

/** One look at the daemon. */
export interface Sample {
  /** Milliseconds of a clock that never goes back; when the answers were there. */
  readonly at: number;
  readonly status: StatusViewBody;
  readonly services: readonly ServiceViewBody[];
  readonly workers: Reply<'workers'>;
}

/** Of services and servers; per second but for `active`. */
export interface FlowRates {
  readonly active: number;
  readonly connections: number;
  readonly packets: number;
  readonly inBits: number;
  readonly outBits: number;
}

interface RowBase {
  /** Names the row among all of its view. */
  readonly key: string;
  /** The rate that the sparkline shows, oldest first. */
  readonly history: readonly number[];
}

export interface ServiceRow extends RowBase, FlowRates {
  readonly name: string;
  readonly usable: number;
  readonly servers: number;
  readonly quorum: boolean;
}

export interface ServerRow extends RowBase, FlowRates {
  readonly service: string;
  readonly server: string;
  readonly state: ServerViewBody['state'];
  /** Of the dataplane, where it has one. */
  readonly weight: number;
}

export interface WorkerRow extends RowBase {
  readonly worker: number;
  readonly cpu: number;
  readonly sessions: number;
  /** Per second, like all that follow. */
  readonly created: number;
  readonly received: number;
  readonly sent: number;
  readonly dropped: number;
  /** The reason of most drops since the sample before; empty without drops. */
  readonly reason: string;
}

export interface Model {
  readonly sample: Sample;
  /** Between this sample and the one before; 0: there was none. */
  readonly seconds: number;
  readonly services: readonly ServiceRow[];
  readonly servers: readonly ServerRow[];
  readonly workers: readonly WorkerRow[];
}

/** The model after one more sample. Without a model before, or after a new start of the daemon, all rates are 0. */
export function advance(former: Model | undefined, sample: Sample): Model {
  const same = former?.sample.status.pid === sample.status.pid && former.sample.status.started === sample.status.started;
  const before = same ? former : undefined;
  const seconds = before === undefined ? 0 : Math.max(0, (sample.at - before.sample.at) / 1000);
  const rate = (now: string | undefined, then: string | undefined): number => perSecond(now, then, seconds);

  const oldServices = new Map(before?.sample.services.map((service) => [service.name, service]));
  const histories = historyOf(before);
  const known = before !== undefined;
  const services: ServiceRow[] = [];
  const servers: ServerRow[] = [];
  for (const service of sample.services) {
    const old = oldServices.get(service.name);
    const key = service.name;
    const rates = flowRates(service.counters, old?.counters, rate);
    services.push({
      key,
      name: service.name,
      usable: service.servers.filter(({ state }) => state === 'up' || state === 'unchecked').length,
      servers: service.servers.filter(({ state }) => state !== 'removed').length,
      quorum: service.quorum,
      ...rates,
      history: grown(histories.services.get(key), rates.connections, known),
    });
    const oldServers = new Map(old?.servers.map((server) => [server.server, server]));
    for (const server of service.servers) {
      const serverKey = `${service.name} ${server.server}`;
      const ofServer = flowRates(server.counters, oldServers.get(server.server)?.counters, rate);
      servers.push({
        key: serverKey,
        service: service.name,
        server: server.server,
        state: server.state,
        weight: server.effectiveWeight ?? 0,
        ...ofServer,
        history: grown(histories.servers.get(serverKey), ofServer.connections, known),
      });
    }
  }
  const oldWorkers = new Map(before?.sample.workers.map((worker) => [worker.worker, worker]));
  const workers = sample.workers.map((worker): WorkerRow => {
    const old = oldWorkers.get(worker.worker);
    const of = (name: string): number =>
      rate(workerCounter(worker, name), old === undefined ? undefined : workerCounter(old, name));
    const drops = Object.entries(worker.drops).map(
      ([reason, count]) => [reason, old === undefined ? 0 : rate(count, old.drops[reason] ?? '0')] as const,
    );
    const most = drops.reduce((best, entry) => (entry[1] > best[1] ? entry : best), ['', 0] as readonly [string, number]);
    const received = of('rxPackets');
    return {
      key: String(worker.worker),
      worker: worker.worker,
      cpu: worker.cpu,
      sessions: Number(workerCounter(worker, 'sessions') ?? 0),
      created: of('sessionsCreated'),
      received,
      sent: of('txPackets'),
      dropped: drops.reduce((sum, [, count]) => sum + count, 0),
      reason: most[0],
      history: grown(histories.workers.get(String(worker.worker)), received, known),
    };
  });
  return { sample, seconds, services, servers, workers };
}

/** Per second, from two values of a counter; 0 without the first, and when it went back. */
export function perSecond(now: string | undefined, then: string | undefined, seconds: number): number {
  if (now === undefined || then === undefined || seconds <= 0) return 0;
  const difference = BigInt(now) - BigInt(then);
  return difference <= 0n ? 0 : Number(difference) / seconds;
}

type Rate = (now: string | undefined, then: string | undefined) => number;

function flowRates(now: ServerViewBody['counters'], then: ServerViewBody['counters'] | undefined, rate: Rate): FlowRates {
  return {
    active: Number(now.active),
    connections: rate(now.connections, then?.connections),
    packets: rate(now.inPackets, then?.inPackets) + rate(now.outPackets, then?.outPackets),
    inBits: 8 * rate(now.inBytes, then?.inBytes),
    outBits: 8 * rate(now.outBytes, then?.outBytes),
  };
}

function historyOf(model: Model | undefined): Record<ViewName, Map<string, readonly number[]>> {
  const of = (rows: readonly RowBase[] | undefined) => new Map(rows?.map(({ key, history }) => [key, history]));
  return { services: of(model?.services), servers: of(model?.servers), workers: of(model?.workers) };
}

function grown(history: readonly number[] | undefined, value: number, known: boolean): readonly number[] {
  return known ? [...(history ?? []), value].slice(-HISTORY) : [];
}

/** Sums of all workers, per second. */
export function totals({ workers }: Model): { received: number; sent: number; created: number; dropped: number } {
  const sum = (name: 'received' | 'sent' | 'created' | 'dropped'): number => workers.reduce((all, row) => all + row[name], 0);
  return { received: sum('received'), sent: sum('sent'), created: sum('created'), dropped: sum('dropped') };
}
