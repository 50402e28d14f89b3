// Writes the balancer's configuration for the lab, as a person would write it: the demo and the tests read real files.
// Guarantees: the text passes `millrace check`; addresses come from the lab's plan only.
// Thread: any; pure functions.
import { type ForwardMode, keepsFamily, keepsPort } from '../config/forward-mode.js';
import {
  closedPort,
  echoPort,
  type Family,
  families,
  httpPort,
  interfaces,
  localAddresses,
  mappedEchoPort,
  mappedHttpPort,
  plans,
  type RealServerRole,
  realServerRoles,
  sctpPort,
  uploadPort,
} from './addresses.js';

export interface LabConfigOptions {
  /** Seconds that a connection may be half open, where they are not those of IPVS. */
  readonly synRecv?: number;
  readonly workers: number;
  readonly families?: readonly Family[];
  readonly weights?: Partial<Record<RealServerRole, number>>;
  /** Real servers behind the HTTP services; all unless told. */
  readonly httpServers?: readonly RealServerRole[];
  /** Adds an HTTP service on this port of the VIP. */
  readonly extraHttpPort?: number;
  readonly sessionsPerWorker?: number;
  /** Ranges of outer sources of tunnels. */
  readonly tunnelSources?: readonly string[];
  /** Absolute path of the API's socket; none unless told. */
  readonly apiSocket?: string;
  /** Where probes and metrics are served over plain HTTP, on the balancer's own loopback. */
  readonly plainPort?: number;
  /** Further keys of every service and of every server, as in a file: `maxConnections: 5`. */
  readonly serviceKeys?: readonly string[];
  readonly serverKeys?: readonly string[];
  /** Of all services; full NAT unless told. */
  readonly mode?: ForwardMode;
  /**
   * Uploads, an SCTP echo, echo also at the routed VIP, a port where no server listens, and what the mode can do beside: mapped ports, and behind the routed
   * VIP the servers' addresses of the other family.
   */
  readonly everyService?: boolean;
}

interface ServiceLine {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly family: Family;
  readonly servers: readonly RealServerRole[];
}

/** By which servers know a VIP in mode l3dsr: one for the VIP of a family, one for its routed VIP. */
export const dscps = { vip: 10, routedVip: 11 } as const;

/** The text of millrace.yaml. Services per family: HTTP at the VIP and at the routed VIP, UDP echo at the VIP. */
export function labConfig(options: LabConfigOptions): string {
  const chosen = options.families ?? families;
  const locals = chosen.flatMap((family) => localAddresses(family, options.workers));
  return [
    '# The lab of "millrace lab": a client network on wan, a server network on lan.',
    `workers: ${options.workers}`,
    'interfaces:',
    `  - name: ${interfaces.wan}`,
    `  - name: ${interfaces.lan}`,
    'sessions:',
    `  maxPerWorker: ${options.sessionsPerWorker ?? 262144}`,
    ...(options.synRecv === undefined ? [] : [`  timeouts: { tcp: { synRecv: ${options.synRecv} } }`]),
    '# Two per worker and address family: what the real servers see instead of the clients.',
    'localAddresses:',
    ...locals.map((address) => `  - "${address}"`),
    ...(options.tunnelSources === undefined ? [] : [`tunnelSources: ${JSON.stringify(options.tunnelSources)}`]),
    // Several balancers may run on one machine: each needs a socket of its own, or none.
    `api: { socket: ${options.apiSocket ?? 'none'}${options.plainPort === undefined ? '' : `, plain: { address: 127.0.0.1, port: ${options.plainPort} }`} }`,
    'services:',
    ...chosen.flatMap((family) => services(family, options).flatMap((service) => serviceText(service, options))),
    '',
  ].join('\n');
}

function services(family: Family, options: LabConfigOptions): ServiceLine[] {
  const { vip, routedVip } = plans[family];
  const http = options.httpServers ?? realServerRoles;
  const web = (name: string, address: string, port: number, servers = http): ServiceLine => ({
    ...{ name, address, port, targetPort: httpPort, protocol: 'tcp', servers },
    family: serverFamily(family, address, options),
  });
  const udp = (name: string, address: string, port: number, targetPort = port): ServiceLine => ({
    ...{ name, address, port, targetPort, protocol: 'udp', servers: realServerRoles },
    family: serverFamily(family, address, options),
  });
  const upload = (name: string, address: string): ServiceLine => ({ ...web(name, address, uploadPort), targetPort: uploadPort });
  const list = [web('http', vip, httpPort), web('http-routed', routedVip, httpPort), udp('echo', vip, echoPort)];
  if (options.everyService) {
    list.push(udp('echo-routed', routedVip, echoPort));
    list.push(upload('upload', vip), upload('upload-routed', routedVip));
    const sctp = (service: ServiceLine): ServiceLine => ({ ...service, protocol: 'sctp' });
    list.push(sctp(udp('sctp', vip, sctpPort)), sctp(udp('sctp-routed', routedVip, sctpPort)));
    list.push(udp('closed', vip, closedPort), udp('closed-routed', routedVip, closedPort));
    if (!keepsPort(modeOf(options))) {
      for (const [suffix, address] of [['', vip] as const, ['-routed', routedVip] as const]) {
        list.push(
          web(`mapped${suffix}`, address, mappedHttpPort),
          udp(`mapped-echo${suffix}`, address, mappedEchoPort, echoPort),
        );
      }
    }
  }
  if (options.extraHttpPort !== undefined) list.push(web('extra', vip, options.extraHttpPort, realServerRoles));
  return list.map((service) => ({ ...service, name: family === 'ipv4' ? service.name : `${service.name}6` }));
}

function modeOf(options: LabConfigOptions): ForwardMode {
  return options.mode ?? 'fullnat';
}

/** The family of the servers behind a VIP. */
function serverFamily(family: Family, address: string, options: LabConfigOptions): Family {
  const same = !options.everyService || address === plans[family].vip || keepsFamily(modeOf(options));
  if (same) return family;
  return family === 'ipv4' ? 'ipv6' : 'ipv4';
}

function serviceText(service: ServiceLine, options: LabConfigOptions): string[] {
  const routed = families.some((family) => plans[family].routedVip === service.address);
  return [
    `  - name: ${service.name}`,
    `    address: "${service.address}"`,
    `    port: ${service.port}`,
    `    protocol: ${service.protocol}`,
    `    mode: ${modeOf(options)}`,
    ...(modeOf(options) === 'l3dsr' ? [`    dscp: ${routed ? dscps.routedVip : dscps.vip}`] : []),
    '    scheduler: wrr',
    ...(options.serviceKeys ?? []).map((line) => `    ${line}`),
    `    servers:${service.servers.length === 0 ? ' []' : ''}`,
    ...service.servers.flatMap((role) => [
      `      - address: "${plans[service.family].servers[role]}"`,
      ...(keepsPort(modeOf(options)) ? [] : [`        port: ${service.targetPort}`]),
      `        weight: ${options.weights?.[role] ?? 1}`,
      ...(options.serverKeys ?? []).map((line) => `        ${line}`),
    ]),
  ];
}
