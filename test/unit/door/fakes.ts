// A desired state and a balancer that hold what they are told, checked by the real rules of the configuration.
// Guarantees: a change that the check refuses changes nothing, as in the real one.
// Thread: any.
import type { Config, ConfigInput } from '../../../src/config/schema.js';
import { validateConfig } from '../../../src/config/validate.js';
import { diffConfigs } from '../../../src/control/diff.js';
import * as edit from '../../../src/control/edit.js';
import type { SessionFilter, SessionList, SessionPaging, SessionView } from '../../../src/control/sessions.js';
import type { ServerStats, Stats } from '../../../src/control/stats.js';
import { IpvsDoor, type IpvsDoorOptions } from '../../../src/door/ipvs-door.js';
import { createError } from '../../../src/errors.js';
import type { ChangeOptions, ChangeResult, Operation } from '../../../src/state/desired.js';
import { RESOLVER } from '../../ipvsadm/director.js';

export const BASE: ConfigInput = { workers: 1, interfaces: [{ name: 'eth0' }], localAddresses: ['10.0.2.101'], services: [] };

function portOf(
  service: Config['services'][number],
  server: { readonly port?: number | undefined },
): number | string | undefined {
  return server.port ?? service.port;
}

function applied(config: ConfigInput, operation: Operation): ConfigInput {
  const current = config as Config;
  switch (operation.op) {
    case 'put-service': {
      const { service } = operation;
      const known = config.services.some(({ name }) => name === service.name);
      const services = known
        ? config.services.map((other) => (other.name === service.name ? service : other))
        : [...config.services, service];
      return { ...config, services };
    }
    case 'delete-service':
      return edit.removeService(current, operation.name);
    case 'put-server': {
      const service = current.services.find(({ name }) => name === operation.service);
      if (service === undefined) throw createError('MILLRACE_E_INPUT_INVALID', `no service ${operation.service}`);
      const { server } = operation;
      const same = (other: Config['services'][number]['servers'][number]) =>
        other.address === server.address && portOf(service, other) === portOf(service, server);
      const servers = service.servers.some(same)
        ? service.servers.map((other) => (same(other) ? server : other))
        : [...service.servers, server];
      return {
        ...config,
        services: config.services.map((other) => (other.name === service.name ? { ...other, servers } : other)),
      };
    }
    case 'delete-server':
      return edit.removeServer(current, operation.service, operation.server);
    case 'set-weight':
      return edit.setWeight(current, operation.service, operation.server, operation.weight);
    case 'set-section':
      return { ...config, [operation.section]: operation.value };
    default:
      throw new Error(`not for the door: ${operation.op}`);
  }
}

export class FakeState {
  config: Config;
  version = '0';
  /** All operations that were accepted. */
  readonly operations: Operation[] = [];
  changes = 0;
  /** Run before the next change, as somebody else's change would. */
  interfere: (() => void) | undefined;

  constructor(config: ConfigInput = BASE) {
    this.config = validateConfig(config);
  }

  async change(operations: readonly Operation[], options: ChangeOptions = {}): Promise<ChangeResult> {
    const { interfere } = this;
    this.interfere = undefined;
    interfere?.();
    if (options.expected !== undefined && options.expected !== this.version)
      throw createError('MILLRACE_E_VERSION_CONFLICT', `version ${this.version}, not ${options.expected}`);
    const before = this.config;
    this.config = validateConfig(operations.reduce<ConfigInput>(applied, before));
    this.operations.push(...operations);
    this.bump();
    return { version: this.version, changes: diffConfigs(before, this.config), dryRun: false, stale: [] };
  }

  bump(): void {
    this.changes += 1;
    this.version = String(this.changes);
  }
}

/** Counters of a server; all that is not given is 0. */
export function serverStats(service: string, address: string, port: number, counted: Partial<ServerStats>): ServerStats {
  const none = { connections: 0n, inPackets: 0n, inBytes: 0n, outPackets: 0n, outBytes: 0n, active: 0n, inactive: 0n };
  return { service, address, port, removed: false, ...none, rateLimitedIn: 0n, rateLimitedOut: 0n, ...counted };
}

export class FakeBalancer {
  servers: readonly ServerStats[] = [];

  stats(): Pick<Stats, 'services' | 'servers'> {
    return { services: [], servers: this.servers };
  }

  listed: readonly SessionView[] = [];
  /** Rows of a page at most, as where a worker ends. */
  pageSize = Number.POSITIVE_INFINITY;
  /** Every page that was asked for. */
  readonly pages: SessionPaging[] = [];
  /** In place of an answer. */
  failure: Error | undefined;

  async sessions(_filter: SessionFilter = {}, page: SessionPaging = {}): Promise<SessionList> {
    this.pages.push(page);
    if (this.failure !== undefined) throw this.failure;
    const from = Number((page.cursor ?? '0-0').split('-')[1]);
    const next = from + Math.min(page.limit ?? 100, this.pageSize);
    const sessions = this.listed.slice(from, next);
    return next < this.listed.length ? { sessions, cursor: `0-${next}` } : { sessions };
  }

  async countSessions(): Promise<number> {
    return this.listed.length;
  }
}

/** A session of full NAT; all that is not given is as it is. */
export function session(given: Partial<SessionView> = {}): SessionView {
  return {
    protocol: 'tcp',
    client: '10.0.1.2:40000',
    vip: '10.0.9.1:80',
    local: '10.0.2.101:1025',
    server: '10.0.2.11:8080',
    service: 'web',
    mode: 'fullnat',
    state: 'ESTABLISHED',
    expires: 899,
    packetsIn: 3,
    packetsOut: 2,
    worker: 0,
    ...given,
  };
}

export interface Door {
  readonly state: FakeState;
  readonly balancer: FakeBalancer;
  readonly door: IpvsDoor;
  /** Runs a command line written as in a shell. */
  readonly run: (line: string, stdin?: string) => ReturnType<IpvsDoor['run']>;
  /** The same; it must succeed, and its standard output is returned. */
  readonly must: (line: string, stdin?: string) => Promise<string>;
}

export function openDoor(config: ConfigInput = BASE, options: Partial<IpvsDoorOptions> = {}): Door {
  const [state, balancer] = [new FakeState(config), new FakeBalancer()];
  const door = new IpvsDoor({ state, balancer, resolver: () => RESOLVER, ...options });
  const run = (line: string, stdin?: string) =>
    door.run(
      line.split(' ').filter((word) => word !== ''),
      stdin,
    );
  const must = async (line: string, stdin?: string) => {
    const { stdout, stderr, exitCode } = await run(line, stdin);
    if (exitCode !== 0 || stderr !== '') throw new Error(`${line}: status ${exitCode}: ${stderr}`);
    return stdout;
  };
  return { state, balancer, door, run, must };
}
