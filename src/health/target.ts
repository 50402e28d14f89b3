// What one check of one server is, after the configuration's defaults have been filled in: the work of a health worker.
// Guarantees: plain data, so that it crosses to a worker thread as it is; two configurations that ask for the same check of the same
// server give the same id and the same text.
// Thread: any; pure.
import { parseAddress } from '../config/address.js';
import type { CheckType } from '../config/check-types.js';
import type { Config, HealthCheckConfig, ServerConfig, ServiceConfig } from '../config/schema.js';
import { serverKey } from '../control/availability.js';

export interface CheckTarget {
  /** Service, server and place of the check in the list: unique. */
  readonly id: string;
  readonly service: string;
  /** As serverKey() names it. */
  readonly server: string;
  readonly type: CheckType;
  readonly address: string;
  readonly family: 4 | 6;
  /** 0 for kinds without ports. */
  readonly port: number;
  /** Milliseconds. */
  readonly interval: number;
  readonly retryInterval: number;
  readonly timeout: number;
  /** First checks come within so many milliseconds. */
  readonly warmup: number;
  readonly jitter: number;
  readonly rise: number;
  readonly fall: number;
  /** Whether it counts as bad until it has been good. */
  readonly alpha: boolean;
  /** The rest of the check, as configured. */
  readonly check: HealthCheckConfig;
}

/** All checks of a configuration. */
export function targetsOf(config: Config): CheckTarget[] {
  return config.services.flatMap(targetsOfService);
}

export function targetsOfService(service: ServiceConfig): CheckTarget[] {
  return service.servers.flatMap((server) =>
    checksOf(service, server).map((check, place) => targetOf(service, server, check, place)),
  );
}

/** The checks of a server: its own, or those of the service. */
export function checksOf(service: ServiceConfig, server: ServerConfig): readonly HealthCheckConfig[] {
  return server.healthChecks ?? service.healthChecks ?? [];
}

function targetOf(service: ServiceConfig, server: ServerConfig, check: HealthCheckConfig, place: number): CheckTarget {
  const key = serverKey(service, server);
  const address = parseAddress(check.address ?? server.address);
  const interval = check.interval * 1000;
  return {
    id: `${service.name} ${key} ${place}`,
    service: service.name,
    server: key,
    type: check.type,
    address: address?.text ?? server.address,
    family: address?.family ?? 4,
    port: check.port ?? server.port ?? (typeof service.port === 'number' ? service.port : 0),
    interval,
    retryInterval: check.retryInterval === undefined ? interval : check.retryInterval * 1000,
    timeout: check.timeout * 1000,
    warmup: check.warmup === undefined ? interval : check.warmup * 1000,
    jitter: check.jitter,
    rise: check.rise,
    fall: check.fall,
    alpha: service.health?.alpha ?? false,
    check,
  };
}
