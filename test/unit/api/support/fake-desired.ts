// Stands in for the desired state: operations change a configuration in memory and go to a balancer, nothing is stored.
import { createHash } from 'node:crypto';
import type { Config, ConfigInput } from '../../../../src/config/schema.js';
import { validateConfig } from '../../../../src/config/validate.js';
import { serverKey } from '../../../../src/control/availability.js';
import { diffConfigs } from '../../../../src/control/diff.js';
import * as edit from '../../../../src/control/edit.js';
import { createError } from '../../../../src/errors.js';
import type { LoadBalancer } from '../../../../src/load-balancer.js';
import type { ChangeOptions, ChangeResult, DesiredState, Operation, Origin } from '../../../../src/state/desired.js';

export class FakeDesired implements DesiredState {
  readonly origins = new Map<string, Origin>();
  readonly operations: Operation[] = [];
  config: Config;
  /** What the file would have. */
  file: Config;
  readonly #balancer: LoadBalancer;
  /** Thrown by the next change. */
  failure: Error | undefined;

  constructor(balancer: LoadBalancer) {
    this.#balancer = balancer;
    this.config = balancer.config;
    this.file = balancer.config;
  }

  get version(): string {
    return createHash('sha256').update(JSON.stringify(this.config)).digest('hex').slice(0, 16);
  }

  async change(operations: readonly Operation[], options: ChangeOptions = {}): Promise<ChangeResult> {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    this.operations.push(...operations);
    let next: ConfigInput | Config = this.config;
    for (const operation of operations) next = this.#apply(validateConfig(next), operation);
    return this.#enter(validateConfig(next), options);
  }

  reload(options: ChangeOptions = {}): Promise<ChangeResult> {
    return this.#enter(this.file, options);
  }

  async #enter(config: Config, { dryRun = false, expected }: ChangeOptions): Promise<ChangeResult> {
    if (expected !== undefined && expected !== this.version) {
      throw createError('MILLRACE_E_VERSION_CONFLICT', `version ${expected} is not in force`);
    }
    const changes = diffConfigs(this.config, config);
    if (!dryRun) {
      this.config = config;
      await this.#balancer.apply(config);
    }
    return { version: this.version, changes, dryRun, stale: [] };
  }

  #apply(config: Config, operation: Operation): ConfigInput | Config {
    switch (operation.op) {
      case 'put-service': {
        this.origins.set(`services.${operation.service.name}`, 'api');
        const others = config.services.filter((service) => service.name !== operation.service.name);
        return { ...config, services: [...others, operation.service] };
      }
      case 'delete-service':
        return edit.removeService(config, operation.name);
      case 'put-server': {
        const service = config.services.find(({ name }) => name === operation.service);
        if (service === undefined) throw new Error('the API is to look first');
        const key = serverKey(service, operation.server);
        this.origins.set(`services.${operation.service}.servers.${key}`, 'api');
        const servers = [...service.servers.filter((server) => serverKey(service, server) !== key), operation.server];
        return { ...config, services: config.services.map((other) => (other === service ? { ...service, servers } : other)) };
      }
      case 'delete-server':
        return edit.removeServer(config, operation.service, operation.server);
      case 'set-weight':
        return edit.setWeight(config, operation.service, operation.server, operation.weight);
      case 'drain':
      case 'undrain': {
        const weight = operation.op === 'drain' ? 0 : 1;
        const service = config.services.find(({ name }) => name === operation.service);
        const refs = operation.server === undefined ? (service?.servers ?? []) : [operation.server];
        return refs.reduce((result: Config, ref) => edit.setWeight(result, operation.service, ref, weight), config);
      }
      case 'set-section':
        return { ...config, [operation.section]: operation.value };
      case 'reset':
        return this.file;
    }
  }
}
