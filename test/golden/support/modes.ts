// A service and a flow of it for each forwarding mode and pair of families, so that a case can be played in all of them.
// "64" is an IPv6 client with an IPv4 server. Runs in tests only.

import type { ForwardMode } from '../../../src/config/forward-mode.js';
import { Flow, type FlowOptions } from './flow.js';
import {
  type CaseConfig,
  CLIENT,
  CLIENT6,
  configWith,
  LAN_MAC,
  LOCAL,
  LOCAL_PORT,
  LOCAL6,
  SERVER1,
  SERVER1_V6,
  type ServiceConfig,
  SHARED_CONFIG,
  VIP,
  VIP6,
  WAN_MAC,
} from './network.js';
import { isTunnel } from './tunnel.js';

export type Families = '44' | '66' | '64' | '46';

export const DSCP = 10;

/** Which pairs of families each mode carries. */
export const MODE_FAMILIES: Readonly<Record<ForwardMode, readonly Families[]>> = {
  fullnat: ['44', '66', '64', '46'],
  nat: ['44', '66'],
  direct: ['44', '66'],
  ipip: ['44', '66', '64', '46'],
  gre: ['44', '66', '64', '46'],
  gue: ['44', '66', '64', '46'],
  l3dsr: ['44', '66'],
};

export const MODE_NAMES: Readonly<Record<ForwardMode, string>> = {
  fullnat: 'full NAT',
  nat: 'NAT',
  direct: 'direct routing',
  ipip: 'IPIP',
  gre: 'GRE',
  gue: 'GUE',
  l3dsr: 'L3DSR',
};

/** Every mode with every pair of families that it carries. */
export const ALL_MODES: readonly (readonly [ForwardMode, Families])[] = (Object.keys(MODE_FAMILIES) as ForwardMode[]).flatMap(
  (mode) => MODE_FAMILIES[mode].map((families) => [mode, families] as const),
);

/** "-v4", "-v6", "-6to4" and "-4to6" in names of cases. */
export const SUFFIX: Readonly<Record<Families, string>> = { 44: 'v4', 66: 'v6', 64: '6to4', 46: '4to6' };

const changesPort = (mode: ForwardMode): boolean => mode === 'fullnat' || mode === 'nat';

export interface ModeOptions {
  readonly protocol?: 'tcp' | 'udp';
  readonly flow?: Partial<FlowOptions>;
}

/** A connection to the service of modeConfig(). */
export function modeFlow(mode: ForwardMode, families: Families, { protocol = 'tcp', flow = {} }: ModeOptions = {}): Flow {
  const [client, server] = [families[0] === '6', families[1] === '6'];
  const vipPort = protocol === 'tcp' ? 80 : 53;
  return new Flow({
    protocol,
    mode,
    client: client ? CLIENT6 : CLIENT,
    clientPort: 40000,
    vip: client ? VIP6 : VIP,
    vipPort,
    server: server ? SERVER1_V6 : SERVER1,
    serverPort: changesPort(mode) ? vipPort + 8000 : vipPort,
    local: { address: server ? LOCAL6 : LOCAL, port: LOCAL_PORT },
    clientSideMac: WAN_MAC,
    serverSideMac: LAN_MAC,
    ...(mode === 'l3dsr' ? { dscp: DSCP } : {}),
    ...flow,
  });
}

/** A configuration with one service per protocol that uses this mode. */
export function modeConfig(mode: ForwardMode, families: Families, changes: Partial<CaseConfig> = {}): CaseConfig {
  const services = (['tcp', 'udp'] as const).map((protocol): ServiceConfig => {
    const flow = modeFlow(mode, families, { protocol });
    const { vip, vipPort, server, serverPort, dscp } = flow.options;
    return {
      name: protocol === 'tcp' ? 'web' : 'dns',
      address: vip,
      port: vipPort,
      protocol,
      mode,
      ...(dscp === undefined ? {} : { dscp }),
      servers: [{ address: server.address, ...(serverPort === vipPort ? {} : { port: serverPort }) }],
    };
  });
  return configWith({ services, ...changes });
}

/** The shared interfaces with other MTUs. */
export function mtus(wan: number, lan: number): CaseConfig['interfaces'] {
  return SHARED_CONFIG.interfaces.map((i) => ({ ...i, mtu: i.name === 'wan' ? wan : lan }));
}

export const isOneWay = (mode: ForwardMode): boolean => mode === 'direct' || mode === 'l3dsr' || isTunnel(mode);
