// What tests of the desired state share: a checked file, a store in memory that goes through the text on disk, a reconciler over a
// balancer whose addon is a stand-in.
import type { Config, ConfigInput } from '../../../../src/config/schema.js';
import { validateConfig } from '../../../../src/config/validate.js';
import { createIn } from '../../../../src/create-load-balancer.js';
import type { LoadBalancer } from '../../../../src/load-balancer.js';
import { Reconciler } from '../../../../src/state/desired-state.js';
import type { OverlayStore } from '../../../../src/state/effective.js';
import { EMPTY_OVERLAY } from '../../../../src/state/overlay.js';
import { decodeOverlay, encodeOverlay } from '../../../../src/state/overlay-json.js';
import { FakeBinding } from '../../module/support/fake-binding.js';
import { environmentOf } from '../../module/support/hosts.js';

export type Service = ConfigInput['services'][number];

/** 203.0.113.LAST:80 with servers 192.0.2.N and their weights. */
export function service(
  name: string,
  last: number,
  servers: Readonly<Record<number, number>>,
  more: Partial<Service> = {},
): Service {
  return {
    name,
    address: `203.0.113.${last}`,
    port: 80,
    protocol: 'tcp',
    servers: Object.entries(servers).map(([n, weight]) => ({ address: `192.0.2.${n}`, weight })),
    ...more,
  };
}

export function fileOf(...services: Service[]): Config {
  return validateConfig({
    workers: 1,
    interfaces: [{ name: 'wan' }, { name: 'lan' }],
    localAddresses: ['192.0.2.101', '192.0.2.102'],
    services,
  });
}

/** "192.0.2.1:80*3" for each server. */
export function weightsOf(config: Config, name: string): string[] | undefined {
  return config.services
    .find((candidate) => candidate.name === name)
    ?.servers.map((server) => `${server.address}:${server.port ?? 80}*${server.weight}`);
}

export class MemoryStore implements OverlayStore {
  text: string | undefined;
  /** Thrown by the next write. */
  failure: Error | undefined;
  writes = 0;

  async read() {
    return this.text === undefined ? EMPTY_OVERLAY : decodeOverlay(JSON.parse(this.text), 'memory');
  }

  async write(overlay: Parameters<OverlayStore['write']>[0]) {
    const { failure } = this;
    this.failure = undefined;
    if (failure !== undefined) throw failure;
    this.writes += 1;
    this.text = encodeOverlay(overlay);
  }
}

export interface TestState extends AsyncDisposable {
  readonly state: Reconciler<LoadBalancer>;
  readonly binding: FakeBinding;
  readonly store: OverlayStore;
  /** What the next reload reads. */
  file: Config;
}

/** A reconciler over a real LoadBalancer. */
export async function startTestState(file: Config, store: OverlayStore = new MemoryStore()): Promise<TestState> {
  const binding = new FakeBinding();
  const test = { file };
  const state = await Reconciler.start({
    configFile: 'millrace.yaml',
    store,
    create: (config) => createIn(environmentOf(binding), config),
    load: async () => structuredClone(test.file),
  });
  return Object.assign(test, { state, binding, store, [Symbol.asyncDispose]: () => state.balancer.close() });
}
