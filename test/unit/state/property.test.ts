// Random sequences of operations, reloads, failing disks and restarts against a model that is as simple as the rule: per service and per
// server, what did the API say last, what does the file say now.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Config } from '../../../src/config/schema.js';
import type { ConfigChanges } from '../../../src/control/diff.js';
import { createError, MillraceError } from '../../../src/errors.js';
import type { ChangeResult, Operation } from '../../../src/state/desired.js';
import { type Balancer, Reconciler } from '../../../src/state/desired-state.js';
import { fileOf, MemoryStore, service } from './support/parts.js';

type Weights = ReadonlyMap<number, number>;
/** What the file says: services by name. */
type File = ReadonlyMap<string, Weights>;

/** Few, so that operations meet each other. */
const NAMES = ['a', 'b'];
const lastOf = (name: string): number => NAMES.indexOf(name) + 1;
const serviceOf = (name: string, weights: Weights) => service(name, lastOf(name), Object.fromEntries(weights));

/** What the API has said, as flat facts. */
class Model {
  file: File;
  whole = new Map<string, 'deleted' | Map<number, number>>();
  servers = new Map<string, 'deleted' | { put: number } | { weight: number }>();
  drains = new Set<string>();
  drainedServices = new Set<string>();

  constructor(file: File) {
    this.file = file;
  }

  copy(): Model {
    return Object.assign(new Model(this.file), {
      whole: new Map([...this.whole].map(([name, said]) => [name, said === 'deleted' ? said : new Map(said)])),
      servers: new Map(this.servers),
      drains: new Set(this.drains),
      drainedServices: new Set(this.drainedServices),
    });
  }

  /** Weights without drains; undefined: no such service. */
  bare(name: string): Map<number, number> | undefined {
    const whole = this.whole.get(name);
    if (whole === 'deleted') return undefined;
    if (whole !== undefined) return new Map(whole);
    const weights = this.file.get(name);
    if (weights === undefined) return undefined;
    const result = new Map(weights);
    for (const [key, said] of this.servers) {
      const n = Number(key.slice(1));
      if (!key.startsWith(name)) continue;
      if (said === 'deleted') result.delete(n);
      else if ('put' in said) result.set(n, said.put);
      else if (result.has(n)) result.set(n, said.weight);
    }
    return result;
  }

  effective(): Record<string, Record<number, number>> {
    const all = new Set([...this.file.keys(), ...this.whole.keys()]);
    const entries = [...all].flatMap((name) => {
      const weights = this.bare(name);
      if (weights === undefined) return [];
      const drained = (n: number): boolean => this.drainedServices.has(name) || this.drains.has(`${name}${n}`);
      return [[name, Object.fromEntries([...weights].map(([n, weight]) => [n, drained(n) ? 0 : weight]))]];
    });
    return Object.fromEntries(entries);
  }

  forget(name: string, servers: 'all' | number, drains: boolean): void {
    const mine = (key: string): boolean => (servers === 'all' ? key.startsWith(name) : key === `${name}${servers}`);
    for (const key of [...this.servers.keys()]) if (mine(key)) this.servers.delete(key);
    if (drains) for (const key of [...this.drains]) if (mine(key)) this.drains.delete(key);
  }

  /** False: refused. */
  apply(action: Action): boolean {
    const { name, n, weight } = action;
    const key = `${name}${n}`;
    const weights = this.bare(name);
    const whole = this.whole.get(name);
    switch (action.op) {
      case 'put-service': {
        this.forget(name, 'all', false);
        for (const drain of [...this.drains]) {
          if (drain.startsWith(name) && !action.weights.has(Number(drain.slice(1)))) this.drains.delete(drain);
        }
        this.whole.set(name, new Map(action.weights));
        return true;
      }
      case 'delete-service':
        if (weights === undefined) return false;
        this.forget(name, 'all', true);
        this.drainedServices.delete(name);
        if (this.file.has(name)) this.whole.set(name, 'deleted');
        else this.whole.delete(name);
        return true;
      case 'put-server':
        if (weights === undefined) return false;
        if (whole instanceof Map) whole.set(n, weight);
        else this.servers.set(key, { put: weight });
        return true;
      case 'delete-server':
        if (!weights?.has(n)) return false;
        this.forget(name, n, true);
        if (whole instanceof Map) whole.delete(n);
        else if (this.file.get(name)?.has(n)) this.servers.set(key, 'deleted');
        return true;
      case 'set-weight': {
        if (!weights?.has(n)) return false;
        const said = this.servers.get(key);
        if (whole instanceof Map) whole.set(n, weight);
        else this.servers.set(key, typeof said === 'object' && 'put' in said ? { put: weight } : { weight });
        return true;
      }
      case 'drain':
        if (!weights?.has(n)) return false;
        if (!this.drainedServices.has(name)) this.drains.add(key);
        return true;
      case 'drain-all':
        if (weights === undefined) return false;
        for (const drain of [...this.drains]) if (drain.startsWith(name)) this.drains.delete(drain);
        this.drainedServices.add(name);
        return true;
      case 'undrain': {
        if (!weights?.has(n) && !this.says(name, n)) return false;
        if (this.drainedServices.delete(name)) for (const other of weights?.keys() ?? []) this.drains.add(`${name}${other}`);
        this.drains.delete(key);
        return true;
      }
      case 'undrain-all':
        if (weights === undefined && !this.saysAny(name)) return false;
        this.drainedServices.delete(name);
        for (const drain of [...this.drains]) if (drain.startsWith(name)) this.drains.delete(drain);
        return true;
      case 'reset':
        if (!this.saysAny(name) && !this.file.has(name)) return false;
        this.forget(name, 'all', true);
        this.drainedServices.delete(name);
        this.whole.delete(name);
        return true;
    }
  }

  says(name: string, n: number): boolean {
    return this.servers.has(`${name}${n}`) || this.drains.has(`${name}${n}`);
  }

  saysAny(name: string): boolean {
    const keys = [...this.servers.keys(), ...this.drains];
    return this.whole.has(name) || this.drainedServices.has(name) || keys.some((key) => key.startsWith(name));
  }

  reload(file: File): void {
    this.file = file;
    for (const [name, said] of [...this.whole]) if (said === 'deleted' && !file.has(name)) this.whole.delete(name);
    for (const [key, said] of [...this.servers]) {
      const weights = file.get(key.charAt(0));
      if (said === 'deleted' && weights !== undefined && !weights.has(Number(key.slice(1)))) this.servers.delete(key);
    }
  }
}

interface Action {
  readonly op:
    | 'put-service'
    | 'delete-service'
    | 'put-server'
    | 'delete-server'
    | 'set-weight'
    | 'drain'
    | 'drain-all'
    | 'undrain'
    | 'undrain-all'
    | 'reset';
  readonly name: string;
  readonly n: number;
  readonly weight: number;
  readonly weights: Weights;
}

function operationOf({ op, name, n, weight, weights }: Action): Operation {
  const server = `192.0.2.${n}`;
  switch (op) {
    case 'put-service':
      return { op, service: serviceOf(name, weights) };
    case 'delete-service':
      return { op, name };
    case 'put-server':
      return { op, service: name, server: { address: server, weight } };
    case 'delete-server':
      return { op, service: name, server };
    case 'set-weight':
      return { op, service: name, server, weight };
    case 'drain':
    case 'undrain':
      return { op, service: name, server };
    case 'drain-all':
      return { op: 'drain', service: name };
    case 'undrain-all':
      return { op: 'undrain', service: name };
    case 'reset':
      return { op, service: name };
  }
}

/** A balancer that believes what it is told, and remembers it. */
class PlainBalancer implements Balancer {
  config: Config;
  readonly events = { emit: () => true };

  constructor(config: Config) {
    this.config = structuredClone(config);
  }

  async apply(config: Config, options: { readonly dryRun?: boolean } = {}) {
    if (!options.dryRun) this.config = structuredClone(config);
  }

  async setWeights(changes: Parameters<Balancer['setWeights']>[0]) {
    for (const { service, server, weight } of changes) {
      const address = typeof server === 'string' ? server : server.address;
      for (const candidate of this.config.services.find((known) => known.name === service)?.servers ?? []) {
        if (candidate.address === address) candidate.weight = weight;
      }
    }
  }
}

function shown(config: Config): Record<string, Record<number, number>> {
  return Object.fromEntries(
    config.services.map(({ name, servers }) => [
      name,
      Object.fromEntries(servers.map(({ address, weight }) => [Number(address.split('.')[3]), weight])),
    ]),
  );
}

const weights: fc.Arbitrary<Weights> = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 0, max: 4 })), { maxLength: 3 })
  .map((entries) => new Map(entries));
const file: fc.Arbitrary<File> = fc
  .array(fc.tuple(fc.constantFrom(...NAMES), weights), { minLength: 1, maxLength: 3 })
  .map((entries) => new Map(entries));
const action: fc.Arbitrary<Action> = fc.record({
  op: fc.constantFrom(
    'put-service' as const,
    'delete-service' as const,
    'put-server' as const,
    'delete-server' as const,
    'set-weight' as const,
    'drain' as const,
    'drain-all' as const,
    'undrain' as const,
    'undrain-all' as const,
    'reset' as const,
  ),
  name: fc.constantFrom(...NAMES),
  n: fc.integer({ min: 1, max: 2 }),
  weight: fc.integer({ min: 0, max: 4 }),
  weights,
});
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('change' as const), actions: fc.array(action, { minLength: 1, maxLength: 2 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('dry' as const), actions: fc.array(action, { minLength: 1, maxLength: 2 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('full' as const), actions: fc.array(action, { minLength: 1, maxLength: 2 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('reload' as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);

function checkedFile(from: File): Config {
  return fileOf(...[...from].map(([name, said]) => serviceOf(name, said)));
}

test('any sequence of changes, reloads and restarts ends where the rule says', async () => {
  await fc.assert(
    fc.asyncProperty(file, fc.array(step, { minLength: 10, maxLength: 40 }), async (first, steps) => {
      const store = new MemoryStore();
      let model = new Model(first);
      const start = () =>
        Reconciler.start({
          configFile: 'millrace.yaml',
          store,
          create: async (config) => new PlainBalancer(config),
          load: async () => checkedFile(model.file),
        });
      let state = await start();
      for (const one of steps) {
        const before = shown(state.config);
        const { version, config } = state;
        if (one.kind === 'restart') {
          state = await start();
          expect(state.config).toEqual(config);
          expect(state.version).toBe(version);
        } else if (one.kind === 'reload') {
          const concerned = differing(model.file, one.file);
          model.reload(one.file);
          const { changes } = await state.reload();
          expectChanges(changes, before, model.effective(), concerned);
        } else {
          const next = model.copy();
          const accepted = one.actions.every((each) => next.apply(each));
          const writes = store.writes;
          if (one.kind === 'full') store.failure = createError('MILLRACE_E_STATE_UNWRITABLE', 'made up');
          const outcome = await state
            .change(one.actions.map(operationOf), { dryRun: one.kind === 'dry' })
            .catch((error: unknown) => error);
          const written = store.failure === undefined;
          store.failure = undefined;
          if (outcome instanceof MillraceError) {
            expect(outcome.code).toBe(accepted ? 'MILLRACE_E_STATE_UNWRITABLE' : 'MILLRACE_E_INPUT_INVALID');
            expect(state.version).toBe(version);
          } else {
            expect(accepted).toBe(true);
            const { changes } = outcome as ChangeResult;
            expectChanges(changes, before, next.effective(), new Set(one.actions.map(({ name }) => name)));
            if (one.kind === 'dry') expect(store.writes).toBe(writes);
            // A change that found nothing to write met no full disk.
            else if (one.kind === 'change' || !written) model = next;
          }
        }
        expect(shown(state.config)).toEqual(model.effective());
        expect(state.balancer.config).toEqual(state.config);
      }
      const again = await start();
      expect(again.config).toEqual(state.config);
      expect(again.version).toBe(state.version);
    }),
    { numRuns: 120 },
  );
}, 120_000);

type Shown = Record<string, Record<number, number>>;

/** What differs is in `changes`, and nothing that is not concerned is. */
function expectChanges(changes: ConfigChanges, before: Shown, after: Shown, concerned: ReadonlySet<string>): void {
  const has = (all: Shown, name: string): boolean => all[name] !== undefined;
  expect([...changes.servicesAdded].sort()).toEqual(NAMES.filter((name) => !has(before, name) && has(after, name)));
  expect([...changes.servicesRemoved].sort()).toEqual(NAMES.filter((name) => has(before, name) && !has(after, name)));
  const differ = NAMES.filter((name) => has(before, name) && has(after, name) && !isDeepStrictEqual(before[name], after[name]));
  expect(changes.servicesChanged).toEqual(expect.arrayContaining(differ));
  expect([...concerned]).toEqual(expect.arrayContaining([...changes.servicesChanged]));
  expect(changes.otherChanged).toBe(false);
}

/** Services that are not the same in two files, the order of servers included. */
function differing(a: File, b: File): Set<string> {
  const text = (of: File, name: string): string => JSON.stringify([...(of.get(name) ?? [['none']])]);
  return new Set(NAMES.filter((name) => text(a, name) !== text(b, name)));
}
