// The families of services and real servers, and those under the names of node_exporter's IPVS collector, as text.
// Guarantees: no two lines have the same name and labels.
// Thread: main; pure.
import { parseAddress } from '../config/address.js';
import { type Exposition, escapeLabelValue } from './exposition.js';
import { IPVS_FAMILIES, REAL_FAMILIES, SERVICE_FAMILIES } from './families.js';
import type { PerDirection, RealSample, ServiceSample, Totals } from './samples.js';

/** Something that is counted: a real server, or a whole service. */
interface Counted {
  readonly labels: string;
  readonly active: number;
  readonly inactive: number;
  readonly totals: Totals;
}

interface Real {
  readonly labels: string;
  readonly real: RealSample;
}

interface Labelled {
  readonly labels: string;
  readonly service: ServiceSample;
  readonly reals: readonly Real[];
}

/** With `perServer` services are counted by real server. */
export function writeServices(text: Exposition, services: readonly ServiceSample[], perServer: boolean): void {
  const labelled = services.map((service): Labelled => {
    const labels = `service="${escapeLabelValue(service.name)}"`;
    const reals = service.hasReals
      ? service.reals.map((real) => ({ labels: `${labels},real="${escapeLabelValue(real.key)}"`, real }))
      : [];
    return { labels, service, reals };
  });
  const counted = labelled.flatMap((entry): readonly Counted[] =>
    perServer && entry.service.hasReals ? entry.reals.map(({ labels, real }) => ({ ...real, labels })) : [whole(entry)],
  );
  writeCounters(text, counted);
  writeRateLimits(text, labelled, perServer);
  writeStates(text, labelled, perServer);
  if (perServer)
    writeReals(
      text,
      labelled.flatMap(({ reals }) => reals),
    );
}

function whole({ labels, service }: Labelled): Counted {
  const active = service.reals.reduce((sum, real) => sum + real.active, 0);
  const inactive = service.reals.reduce((sum, real) => sum + real.inactive, 0);
  return { labels, active, inactive, totals: service.totals };
}

function writeCounters(text: Exposition, counted: readonly Counted[]): void {
  const sessions = text.family(SERVICE_FAMILIES.sessions);
  for (const { labels, active, inactive } of counted) {
    sessions(`${labels},state="active"`, active);
    sessions(`${labels},state="inactive"`, inactive);
  }
  const created = text.family(SERVICE_FAMILIES.created);
  for (const { labels, totals } of counted) created(labels, totals.connections);
  const packets = text.family(SERVICE_FAMILIES.packets);
  for (const { labels, totals } of counted) byDirection(packets, labels, { in: totals.inPackets, out: totals.outPackets });
  const bytes = text.family(SERVICE_FAMILIES.bytes);
  for (const { labels, totals } of counted) byDirection(bytes, labels, { in: totals.inBytes, out: totals.outBytes });
}

function byDirection(line: (labels: string, value: number) => void, labels: string, values: PerDirection): void {
  line(`${labels},direction="in"`, values.in);
  line(`${labels},direction="out"`, values.out);
}

function writeRateLimits(text: Exposition, services: readonly Labelled[], perServer: boolean): void {
  const limited = text.family(SERVICE_FAMILIES.rateLimited);
  for (const { labels, service, reals } of services) {
    const own = service.rateLimited;
    if (perServer) {
      if (own !== undefined) byDirection(limited, labels, own);
      for (const entry of reals)
        if (entry.real.rateLimited !== undefined) byDirection(limited, entry.labels, entry.real.rateLimited);
      continue;
    }
    // Summed up, what the limits of real servers drop counts with their service.
    const { rateLimitedIn, rateLimitedOut } = service.totals;
    if (own === undefined && rateLimitedIn + rateLimitedOut === 0 && reals.every(({ real }) => real.rateLimited === undefined))
      continue;
    byDirection(limited, labels, { in: (own?.in ?? 0) + rateLimitedIn, out: (own?.out ?? 0) + rateLimitedOut });
  }
  const noRoom = text.family(SERVICE_FAMILIES.noRoom);
  for (const { labels, service } of services) if (service.noRoom !== undefined) noRoom(labels, service.noRoom);
}

/** Which real servers are up is said of each, or summed up. */
function writeStates(text: Exposition, services: readonly Labelled[], perServer: boolean): void {
  const reals = text.family(SERVICE_FAMILIES.reals);
  for (const { labels, service } of services) {
    if (perServer || service.config === undefined) continue;
    const configured = service.reals.filter((real) => real.configured !== undefined);
    const up = configured.filter((real) => real.up).length;
    reals(`${labels},state="up"`, up);
    reals(`${labels},state="down"`, configured.length - up);
  }
  const quorum = text.family(SERVICE_FAMILIES.quorum);
  for (const { labels, service } of services) if (service.quorum !== undefined) quorum(labels, service.quorum ? 1 : 0);
}

function writeReals(text: Exposition, reals: readonly Real[]): void {
  const up = text.family(REAL_FAMILIES.up);
  for (const { labels, real } of reals) if (real.configured !== undefined) up(labels, real.up ? 1 : 0);
  const weight = text.family(REAL_FAMILIES.weight);
  for (const { labels, real } of reals) if (real.configured !== undefined) weight(labels, real.configured.weight);
  const effective = text.family(REAL_FAMILIES.effectiveWeight);
  for (const { labels, real } of reals) {
    if (real.configured !== undefined || real.presented !== undefined) effective(labels, real.presented?.weight ?? 0);
  }
}

/** What /proc/net/ip_vs would list: services with an address or a mark, and the real servers that the dataplane has. */
export function writeIpvs(text: Exposition, services: readonly ServiceSample[], totals: Totals): void {
  text.family(IPVS_FAMILIES.connections)('', totals.connections);
  text.family(IPVS_FAMILIES.inPackets)('', totals.inPackets);
  text.family(IPVS_FAMILIES.outPackets)('', totals.outPackets);
  text.family(IPVS_FAMILIES.inBytes)('', totals.inBytes);
  text.family(IPVS_FAMILIES.outBytes)('', totals.outBytes);
  const backends = services.flatMap((service) => {
    const { config } = service;
    if (config === undefined || (config.address === undefined && config.mark === undefined)) return [];
    const reals = service.reals.filter((real) => real.presented !== undefined);
    return reals.map((real) => ({ real, labels: backendLabels(config, real) }));
  });
  const active = text.family(IPVS_FAMILIES.active);
  for (const { labels, real } of backends) active(labels, real.active);
  const inactive = text.family(IPVS_FAMILIES.inactive);
  for (const { labels, real } of backends) inactive(labels, real.inactive);
  const weight = text.family(IPVS_FAMILIES.weight);
  for (const { labels, real } of backends) weight(labels, real.presented?.weight ?? 0);
}

/** As node_exporter fills them from /proc/net/ip_vs: a mark is eight hexadecimal digits, any port is 0, what is not there is "". */
function backendLabels({ address, port, protocol, mark }: NonNullable<ServiceSample['config']>, real: RealSample): string {
  const marked = address === undefined;
  const labels = {
    local_address: address === undefined ? '' : (parseAddress(address)?.text ?? address),
    local_port: marked || port === 'any' ? '0' : String(port ?? 0),
    remote_address: real.address,
    remote_port: String(real.port),
    proto: marked ? 'FWM' : (protocol ?? '').toUpperCase(),
    local_mark: marked ? (mark ?? 0).toString(16).toUpperCase().padStart(8, '0') : '',
  };
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
    .join(',');
}
