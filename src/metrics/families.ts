// Every metric family: name, type, help, labels. The metrics are made from this list and docs/reference/metrics.md is written from it.
// Guarantees: names after prometheus.io/docs/practices/naming (prefix, base units, _total); those of workers' counters follow from the
// native list alone, so that a counter added there appears here; no label has a value per client.
// Thread: any; no state.
import type { NativeCounterInfo } from '../native-binding.js';

export interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'summary';
  readonly help: string;
  /** Besides `cluster` and `node`, which all have where they are configured. */
  readonly labels: readonly string[];
}

function family(type: Family['type'], name: string, labels: readonly string[], help: string): Family {
  return { name, type, help, labels };
}

/** Of the threads that handle packets. `core` is the CPU that a worker is pinned to; without one the label is not there. */
export const WORKER_FAMILIES = {
  packets: family('counter', 'millrace_packets_total', ['direction', 'worker', 'core'], 'Packets received (rx) and sent (tx).'),
  bytes: family(
    'counter',
    'millrace_bytes_total',
    ['direction', 'worker', 'core'],
    'Bytes received (rx) and sent (tx), without frame check sequence.',
  ),
  drops: family(
    'counter',
    'millrace_drops_total',
    ['reason', 'stage', 'worker', 'core'],
    'Packets dropped; each has one reason, see docs/reference/counters.md.',
  ),
  sessionsLimit: family(
    'gauge',
    'millrace_worker_sessions_limit',
    ['worker', 'core'],
    'Most sessions that the worker holds at a time (sessions.maxPerWorker).',
  ),
} as const;

export const INTERFACE_FAMILIES = {
  info: family(
    'gauge',
    'millrace_interface_info',
    ['interface', 'attach_mode', 'zero_copy'],
    'Always 1; says how packets of the interface are received.',
  ),
  queues: family('gauge', 'millrace_interface_queues', ['interface'], 'Receive queues in use.'),
  received: family('counter', 'millrace_interface_received_packets_total', ['interface'], 'Packets that the XDP program saw.'),
  passed: family(
    'counter',
    'millrace_interface_passed_packets_total',
    ['interface', 'to'],
    'Packets that the XDP program gave to the workers and to the kernel.',
  ),
  refused: family(
    'counter',
    'millrace_interface_drops_total',
    ['interface', 'reason'],
    'Packets that the kernel could not give to a worker or take from one.',
  ),
} as const;

export const SERVICE_FAMILIES = {
  sessions: family('gauge', 'millrace_sessions', ['service', 'real', 'state'], 'Sessions now; active: ESTABLISHED.'),
  created: family('counter', 'millrace_session_created_total', ['service', 'real'], 'Sessions begun.'),
  packets: family(
    'counter',
    'millrace_service_packets_total',
    ['service', 'real', 'direction'],
    'Packets of sessions, towards the real server (in) and from it (out).',
  ),
  bytes: family(
    'counter',
    'millrace_service_bytes_total',
    ['service', 'real', 'direction'],
    'Bytes of sessions, towards the real server (in) and from it (out).',
  ),
  rateLimited: family(
    'counter',
    'millrace_service_rate_limited_packets_total',
    ['service', 'real', 'direction'],
    'Packets dropped because a rateLimit was used up: that of the real server, or without the label real that of the service.',
  ),
  noRoom: family(
    'counter',
    'millrace_service_client_address_no_room_total',
    ['service'],
    "Connections with a packet that had no room for the client's address.",
  ),
  reals: family(
    'gauge',
    'millrace_service_reals',
    ['service', 'state'],
    'Real servers that are up and down, without perServer; without health checks all are up.',
  ),
  quorum: family('gauge', 'millrace_service_quorum', ['service'], 'Whether a service with health checks has its quorum.'),
} as const;

/** Only with perServer. */
export const REAL_FAMILIES = {
  up: family('gauge', 'millrace_real_up', ['service', 'real'], 'Whether the real server is up; without health checks it is.'),
  weight: family('gauge', 'millrace_real_weight', ['service', 'real'], 'Weight as configured.'),
  effectiveWeight: family(
    'gauge',
    'millrace_real_effective_weight',
    ['service', 'real'],
    'Weight as the dataplane has it now: 0 for a real server that is out, less than configured in a slow start.',
  ),
  lastDuration: family(
    'gauge',
    'millrace_health_check_last_duration_seconds',
    ['service', 'real', 'check', 'type'],
    'How long the last check took; check is its place in the list, from 0.',
  ),
} as const;

export const HEALTH_FAMILIES = {
  duration: family(
    'summary',
    'millrace_health_check_duration_seconds',
    ['type'],
    'How long checks took, all services, by kind of check.',
  ),
  failures: family('counter', 'millrace_health_check_failures_total', ['service'], 'Checks that failed.'),
  transitions: family(
    'counter',
    'millrace_health_transitions_total',
    ['service', 'to'],
    'How often a real server went up or down, or was held out for going down too often.',
  ),
} as const;

export const NODE_FAMILIES = {
  build: family(
    'gauge',
    'millrace_build_info',
    ['version', 'nodejs', 'addon', 'libxdp', 'libbpf', 'kernel', 'compiler'],
    'Always 1; versions of what runs.',
  ),
  workers: family('gauge', 'millrace_workers', [], 'Worker threads.'),
  localPorts: family(
    'gauge',
    'millrace_local_ports',
    ['family'],
    'Pairs of local address and port; each real server can have as many sessions in mode fullnat.',
  ),
  localPortUse: family(
    'gauge',
    'millrace_local_port_use_ratio',
    ['family'],
    'Share of these pairs that the real server with the most sessions in mode fullnat uses, over all workers.',
  ),
  reloads: family(
    'counter',
    'millrace_config_reloads_total',
    ['outcome'],
    'Reloads of the configuration that came into force and that failed.',
  ),
  reloadOk: family(
    'gauge',
    'millrace_config_last_reload_successful',
    [],
    'Whether the last reload, or the start, brought the configuration into force.',
  ),
  reloadTime: family(
    'gauge',
    'millrace_config_last_reload_success_timestamp_seconds',
    [],
    'When a configuration last came into force by a reload or the start.',
  ),
  changes: family('counter', 'millrace_config_changes_total', [], 'Changes of the configuration in force, by reload and by API.'),
  changeTime: family(
    'gauge',
    'millrace_config_last_change_timestamp_seconds',
    [],
    'When the configuration in force last changed.',
  ),
  hash: family('gauge', 'millrace_config_hash_info', ['hash'], 'Always 1; the version of the configuration in force.'),
  healthAge: family(
    'gauge',
    'millrace_health_status_age_seconds',
    [],
    'How old the durations and failures of health checks in this scrape are; 0 unless the threads of health checks are late.',
  ),
} as const;

/** Only with ipvsNames; names and labels of the IPVS collector of node_exporter. */
export const IPVS_FAMILIES = {
  connections: family('counter', 'node_ipvs_connections_total', [], 'Connections made.'),
  inPackets: family('counter', 'node_ipvs_incoming_packets_total', [], 'Packets towards real servers.'),
  outPackets: family('counter', 'node_ipvs_outgoing_packets_total', [], 'Packets from real servers.'),
  inBytes: family('counter', 'node_ipvs_incoming_bytes_total', [], 'Bytes towards real servers.'),
  outBytes: family('counter', 'node_ipvs_outgoing_bytes_total', [], 'Bytes from real servers.'),
  active: family(
    'gauge',
    'node_ipvs_backend_connections_active',
    ['local_address', 'local_port', 'remote_address', 'remote_port', 'proto', 'local_mark'],
    'Active sessions by virtual service and real server.',
  ),
  inactive: family(
    'gauge',
    'node_ipvs_backend_connections_inactive',
    ['local_address', 'local_port', 'remote_address', 'remote_port', 'proto', 'local_mark'],
    'Inactive sessions by virtual service and real server.',
  ),
  weight: family(
    'gauge',
    'node_ipvs_backend_weight',
    ['local_address', 'local_port', 'remote_address', 'remote_port', 'proto', 'local_mark'],
    'Weight of real servers as the dataplane has it now.',
  ),
} as const;

/** Counters that have a family of their own above, with a label in place of a name each. */
export const TRAFFIC_COUNTERS = {
  rx_packets: { family: WORKER_FAMILIES.packets, direction: 'rx' },
  tx_packets: { family: WORKER_FAMILIES.packets, direction: 'tx' },
  rx_bytes: { family: WORKER_FAMILIES.bytes, direction: 'rx' },
  tx_bytes: { family: WORKER_FAMILIES.bytes, direction: 'tx' },
} as const;

const GAUGE = / \(gauge\)$/;

/** The family of any other counter of the native list; undefined for drops and for those of TRAFFIC_COUNTERS. */
export function counterFamily({ name, kind, help }: NativeCounterInfo): Family | undefined {
  if (kind === 'drop' || Object.hasOwn(TRAFFIC_COUNTERS, name)) return undefined;
  const gauge = GAUGE.test(help);
  const text = help.replace(GAUGE, '');
  return family(
    gauge ? 'gauge' : 'counter',
    `millrace_worker_${name}${gauge ? '' : '_total'}`,
    ['worker', 'core'],
    `${text.charAt(0).toUpperCase()}${text.slice(1)}.`,
  );
}

/** For the reference, in its order. */
export function allFamilies(
  counters: readonly NativeCounterInfo[],
): readonly { readonly title: string; readonly families: readonly Family[] }[] {
  return [
    { title: 'Services and real servers', families: Object.values(SERVICE_FAMILIES) },
    { title: 'Real servers, with perServer', families: Object.values(REAL_FAMILIES) },
    { title: 'Health checks', families: Object.values(HEALTH_FAMILIES) },
    {
      title: 'Workers',
      families: [...Object.values(WORKER_FAMILIES), ...counters.flatMap((counter) => counterFamily(counter) ?? [])],
    },
    { title: 'Interfaces', families: Object.values(INTERFACE_FAMILIES) },
    { title: 'Node and configuration', families: Object.values(NODE_FAMILIES) },
    { title: 'Under the names of node_exporter, with ipvsNames', families: Object.values(IPVS_FAMILIES) },
  ];
}
