// The kinds of health checks, and which keys of a check each of them has.
// Thread: any; no state.

export const CHECK_TYPES = ['tcp', 'http', 'https', 'tls', 'udp', 'dns', 'smtp', 'ping', 'grpc', 'script'] as const;
export type CheckType = (typeof CHECK_TYPES)[number];

export const DNS_TYPES = ['A', 'AAAA', 'ANY', 'CNAME', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'TXT'] as const;
export type DnsType = (typeof DNS_TYPES)[number];

const HTTP = ['method', 'path', 'host', 'headers', 'status', 'contains', 'matches', 'matchFlags', 'digest', 'keepAlive'] as const;
const SOCKET = ['address', 'bindAddress', 'bindInterface', 'mark'] as const;

/** Keys that not all kinds have, by kind. */
export const KEYS_OF_CHECKS: Readonly<Record<CheckType, readonly string[]>> = {
  tcp: [...SOCKET, 'port'],
  http: [...SOCKET, 'port', ...HTTP],
  https: [...SOCKET, 'port', ...HTTP, 'tls'],
  tls: [...SOCKET, 'port', 'tls'],
  udp: [...SOCKET, 'port', 'payload', 'replyRequired', 'contains', 'matches', 'matchFlags'],
  dns: [...SOCKET, 'port', 'query', 'queryType'],
  smtp: [...SOCKET, 'port', 'helo'],
  ping: SOCKET,
  grpc: [...SOCKET, 'port', 'host', 'service', 'tls'],
  script: ['command', 'dynamicWeight'],
};

/** Keys that all kinds have. */
export const COMMON_CHECK_KEYS = [
  'type',
  'interval',
  'jitter',
  'timeout',
  'rise',
  'fall',
  'retryInterval',
  'warmup',
  'alpha',
] as const;
