// Finds what a command line has changed in a table, and says it as operations on the desired state.
// Guarantees: pure; nothing for what stayed as it was; a change of one weight is that and no more, so that everything else about the
// service goes on following its file.
// Thread: any.
import type { Config, ServiceConfig } from '../config/schema.js';
import type { ServerRef, ServiceInput } from '../control/edit.js';
import type { IpAddress } from '../ipvs/address.js';
import type { Server, ServerSettings, Service, Timeouts } from '../ipvs/model.js';
import { type IpvsTable, keyText, sameServer } from '../ipvs/table.js';
import type { Operation } from '../state/desired.js';
import { addressText, type Identity, serverInput, serviceInput } from './to-config.js';
import { serversByOrigin, type TableContent } from './to-table.js';

/** A mark: what its service was called, and which packets it is for. */
export type Mark = Required<Pick<Identity, 'name' | 'match'>>;
export type KnownMarks = ReadonlyMap<number, Mark>;

const PROTOCOL_NAMES = { 6: 'tcp', 17: 'udp', 132: 'sctp' } as const;

/** "tcp-192.0.2.1-80", "udp-2001_db8__1-53", "tcp-192.0.2.1-any", "mark-7": the same for the same service, always. */
export function generatedName(service: Service): string {
  if (service.fwmark !== 0) return `mark-${service.fwmark}`;
  const address = addressText(service.address).replaceAll(':', '_');
  return `${PROTOCOL_NAMES[service.protocol]}-${address}-${service.port === 0 ? 'any' : service.port}`;
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  let name = wanted;
  for (let number = 2; taken.has(name); number += 1) name = `${wanted}-${number}`;
  return name;
}

function sameList(left: readonly string[] = [], right: readonly string[] = []): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}

function sameSettings(left: Service, right: Service): boolean {
  const flags = (service: Service) => [...service.schedulerFlags].sort().join();
  const persistence = ({ persistent, timeout, netmask }: Service) => (persistent ? `${timeout} ${netmask}` : '');
  return (
    left.scheduler === right.scheduler &&
    flags(left) === flags(right) &&
    persistence(left) === persistence(right) &&
    left.onePacket === right.onePacket &&
    left.connTimeout === right.connTimeout &&
    left.proxyProtocol === right.proxyProtocol &&
    sameList(left.denied, right.denied) &&
    sameList(left.allowed, right.allowed)
  );
}

const SERVER_SETTINGS = [
  ...(['forward', 'upperThreshold', 'lowerThreshold', 'tunnelType', 'tunnelPort'] as const),
] as const satisfies readonly (keyof ServerSettings)[];

/** All but the weight. */
function sameServerSettings(left: Server, right: Server): boolean {
  return SERVER_SETTINGS.every((name) => left[name] === right[name]);
}

function refOf(server: Server): ServerRef {
  const address = addressText(server.address);
  return server.port === 0 ? { address } : { address, port: server.port };
}

function serverOperations(before: Service, after: Service, config: ServiceConfig): Operation[] {
  const service = config.name;
  const own = config as ServiceInput;
  const known = serversByOrigin(config);
  const gone = before.servers.filter((server) => {
    const now = after.servers.find((other) => sameServer(other, server));
    return now === undefined || now.origin === undefined;
  });
  // The oldest first, so that the newest is the last of the list.
  const changed = [...after.servers].reverse().flatMap((server): Operation[] => {
    const old = server.origin === undefined ? undefined : before.servers.find((other) => sameServer(other, server));
    if (old === undefined) return [{ op: 'put-server', service, server: serverInput(own, server, undefined) }];
    if (!sameServerSettings(old, server))
      return [{ op: 'put-server', service, server: serverInput(own, server, known.get(server.origin ?? '')) }];
    if (old.weight === server.weight) return [];
    return [{ op: 'set-weight', service, server: refOf(server), weight: server.weight }];
  });
  return [...gone.map((server): Operation => ({ op: 'delete-server', service, server: refOf(server) })), ...changed];
}

/** The section `sessions` with the timeouts that were set. One-way UDP is what a director sees of servers that answer by themselves. */
function sessionsWith(config: Config, before: Timeouts, after: Timeouts): Config['sessions'] {
  const { timeouts } = config.sessions;
  const base = typeof timeouts === 'string' ? { profile: timeouts, tcp: {}, udp: {}, sctp: {} } : timeouts;
  return {
    ...config.sessions,
    timeouts: {
      ...base,
      tcp: {
        ...base.tcp,
        ...(after.tcp === before.tcp ? {} : { established: after.tcp }),
        ...(after.tcpFin === before.tcpFin ? {} : { finWait: after.tcpFin }),
      },
      udp: { ...base.udp, ...(after.udp === before.udp ? {} : { oneWay: after.udp, normal: after.udp }) },
    },
  };
}

function sectionOperations(config: Config, content: TableContent, table: IpvsTable): Operation[] {
  const operations: Operation[] = [];
  const texts = (addresses: readonly IpAddress[]) => addresses.map(addressText);
  const value = texts(table.localAddresses());
  if (!sameList(texts(content.localAddresses), value)) operations.push({ op: 'set-section', section: 'localAddresses', value });
  const [before, after] = [content.timeouts, table.timeouts()];
  if (before.tcp !== after.tcp || before.tcpFin !== after.tcpFin || before.udp !== after.udp)
    operations.push({ op: 'set-section', section: 'sessions', value: sessionsWith(config, before, after) });
  return operations;
}

/** What leads from the configuration, which `content` shows, to the table. */
export function operationsFor(config: Config, content: TableContent, table: IpvsTable, marks: KnownMarks): Operation[] {
  const configs = new Map(config.services.map((service) => [service.name, service]));
  const before = new Map(content.services.map((service) => [keyText(service), service]));
  const after = table.services();
  const present = new Set(after.map(keyText));
  const gone = content.services.filter((service) => !present.has(keyText(service))).flatMap(({ origin }) => origin ?? []);
  const taken = new Set([...configs.keys()].filter((name) => !gone.includes(name)));
  const operations = gone.map((name): Operation => ({ op: 'delete-service', name }));
  const news: Operation[] = [];
  for (const service of after) {
    const old = before.get(keyText(service));
    if (service === old) continue;
    const own = configs.get(service.origin ?? '');
    if (own === undefined || old === undefined) {
      // A service that was deleted and added again within one -R keeps its name and nothing else.
      const known = marks.get(service.fwmark);
      const name = old?.origin ?? freeName(known?.name ?? generatedName(service), taken);
      taken.add(name);
      const mark = known === undefined ? {} : { mark: service.fwmark, match: known.match };
      news.push({ op: 'put-service', service: serviceInput(service, undefined, { name, ...mark }) });
    } else if (sameSettings(old, service)) operations.push(...serverOperations(old, service, own));
    else operations.push({ op: 'put-service', service: serviceInput(service, own, { name: own.name }) });
  }
  // The table lists the newest first within a bucket; the configuration has the oldest first.
  return [...sectionOperations(config, content, table), ...operations, ...news.reverse()];
}
