// Writes the balancer's configuration for the lab, as a person would write it: the demo and the tests read real files.
// Guarantees: the text passes `millrace check`; addresses come from the lab's plan only.
// Thread: any; pure functions.
import {
  echoPort,
  type Family,
  families,
  httpPort,
  interfaces,
  localAddresses,
  plans,
  type RealServerRole,
  realServerRoles,
} from './addresses.js';

export interface LabConfigOptions {
  readonly workers: number;
  readonly families?: readonly Family[];
  readonly weights?: Partial<Record<RealServerRole, number>>;
  /** Real servers behind the HTTP services; all unless told. */
  readonly httpServers?: readonly RealServerRole[];
  /** Adds an HTTP service on this port of the VIP. */
  readonly extraHttpPort?: number;
  readonly sessionsPerWorker?: number;
}

interface ServiceLine {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'tcp' | 'udp';
  readonly family: Family;
  readonly servers: readonly RealServerRole[];
}

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
    '# Two per worker and address family: what the real servers see instead of the clients.',
    'localAddresses:',
    ...locals.map((address) => `  - "${address}"`),
    'services:',
    ...chosen.flatMap((family) => services(family, options).flatMap((service) => serviceText(service, options))),
    '',
  ].join('\n');
}

function services(family: Family, options: LabConfigOptions): ServiceLine[] {
  const suffix = family === 'ipv4' ? '' : '6';
  const plan = plans[family];
  const http = { protocol: 'tcp', family, targetPort: httpPort, servers: options.httpServers ?? realServerRoles } as const;
  const list: ServiceLine[] = [
    { ...http, name: `http${suffix}`, address: plan.vip, port: httpPort },
    { ...http, name: `http-routed${suffix}`, address: plan.routedVip, port: httpPort },
    {
      ...http,
      name: `echo${suffix}`,
      address: plan.vip,
      port: echoPort,
      targetPort: echoPort,
      protocol: 'udp',
      servers: realServerRoles,
    },
  ];
  if (options.extraHttpPort !== undefined) {
    list.push({ ...http, name: `extra${suffix}`, address: plan.vip, port: options.extraHttpPort, servers: realServerRoles });
  }
  return list;
}

function serviceText(service: ServiceLine, options: LabConfigOptions): string[] {
  return [
    `  - name: ${service.name}`,
    `    address: "${service.address}"`,
    `    port: ${service.port}`,
    `    protocol: ${service.protocol}`,
    '    mode: fullnat',
    '    scheduler: wrr',
    '    servers:',
    ...service.servers.flatMap((role) => [
      `      - address: "${plans[service.family].servers[role]}"`,
      `        port: ${service.targetPort}`,
      `        weight: ${options.weights?.[role] ?? 1}`,
    ]),
  ];
}
