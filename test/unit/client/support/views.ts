// Answers of the API as tests need them.
import type { Reply, ServerViewBody, ServiceViewBody, StatusViewBody } from '../../../../src/api/contract.js';

export function counters(scale: number): ServerViewBody['counters'] {
  const count = (factor: number): string => String(scale * factor);
  return {
    connections: count(10),
    inPackets: count(100),
    inBytes: count(10_000),
    outPackets: count(200),
    outBytes: count(50_000),
    active: count(3),
    inactive: count(2),
  };
}

export function serverView(server: string, state: ServerViewBody['state'], extra: Partial<ServerViewBody> = {}): ServerViewBody {
  const [, address = '', port = '0'] = /^\[?(.*?)\]?:(\d+)$/.exec(server) ?? [];
  return {
    server,
    address,
    port: Number(port),
    mode: 'fullnat',
    weight: 1,
    effectiveWeight: 1,
    state,
    origin: 'file',
    counters: counters(1),
    ...extra,
  };
}

export function serviceView(name: string, servers: ServerViewBody[], extra: Partial<ServiceViewBody> = {}): ServiceViewBody {
  return {
    name,
    address: '203.0.113.10',
    port: 80,
    protocol: 'tcp',
    scheduler: 'wlc',
    mode: 'fullnat',
    quorum: true,
    origin: 'file',
    counters: counters(servers.length),
    servers,
    ...extra,
  };
}

export function statusView(extra: Partial<StatusViewBody> = {}): StatusViewBody {
  return {
    version: 'feedbeeffeedbeef',
    generation: 3,
    pid: 4711,
    started: 1_764_000_000_000,
    now: 1_764_093_784_000,
    ready: true,
    draining: false,
    workers: 2,
    services: 2,
    servers: { up: 1, down: 1, unchecked: 1 },
    sessions: '15',
    lastReload: { at: 1_764_000_060_000, ok: true, message: '' },
    ...extra,
  };
}

export function sessionView(extra: Partial<Reply<'sessions'>['sessions'][number]> = {}): Reply<'sessions'>['sessions'][number] {
  return {
    protocol: 'tcp',
    client: '198.51.100.7:4242',
    vip: '203.0.113.10:80',
    local: '192.0.2.101:1025',
    server: '192.0.2.11:8080',
    service: 'web',
    mode: 'fullnat',
    state: 'ESTABLISHED',
    expires: 899,
    packetsIn: 3,
    packetsOut: 2,
    worker: 0,
    ...extra,
  };
}

export function workerView(worker: number, scale = 1): Reply<'workers'>[number] {
  return {
    worker,
    cpu: worker,
    counters: {
      rxPackets: String(1000 * scale),
      txPackets: String(900 * scale),
      sessions: '7',
      sessionsCreated: String(50 * scale),
    },
    drops: { tcp_no_session: String(4 * scale), no_service: '1' },
  };
}
