// The smallest change that brings new tables into the dataplane: whatever the steps, what it has in the end is what was asked for, and a
// service that stayed as it was was never handed over again.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toNativeTables } from '../../../src/config/to-native.js';
import { validateConfig } from '../../../src/config/validate.js';
import { TableWriter } from '../../../src/control/table-writer.js';
import type { NativeServiceConfig, NativeTables } from '../../../src/native-binding.js';
import { goodConfig } from '../module/support/hosts.js';

interface Plan {
  /** Weights of the servers of each service; none: the service is not there. */
  readonly services: readonly (readonly number[] | undefined)[];
  readonly echoReplies: boolean;
}

function tablesOf({ services, echoReplies }: Plan): NativeTables {
  return toNativeTables(
    validateConfig({
      ...goodConfig,
      echoReplies,
      services: services.flatMap((weights, i) =>
        weights === undefined
          ? []
          : {
              name: `s${i}`,
              address: `203.0.113.${i + 1}`,
              port: 80,
              protocol: 'tcp' as const,
              servers: weights.map((weight, server) => ({ address: `192.0.2.${server + 11}`, weight })),
            },
      ),
    }),
  );
}

class Model {
  tables: NativeTables | undefined;
  refusal: unknown;
  /** All but these are refused after they have been published, as a full map of XDP is. */
  late: NativeTables | undefined;
  generation = 0;
  slots = 0;
  readonly handedOver: string[][] = [];

  async apply(tables: NativeTables) {
    this.tables = tables;
    if (this.late !== undefined && this.late !== tables) throw this.refusal;
    this.handedOver.push(tables.services.map((service) => service.name));
    return this.#result(tables.services);
  }

  async update(services: readonly NativeServiceConfig[]) {
    if (this.refusal !== undefined) throw this.refusal;
    if (this.tables === undefined) throw new Error('updated before it was applied');
    const now = this.tables.services.map((old) => services.find((service) => service.name === old.name) ?? old);
    this.tables = { ...this.tables, services: now };
    this.handedOver.push(services.map((service) => service.name));
    return this.#result(services);
  }

  #result(services: readonly NativeServiceConfig[]) {
    this.generation += 1;
    return {
      generation: this.generation,
      services: services.map(({ name, servers }) => ({
        name,
        slot: Number(name.slice(1)),
        servers: servers.map(({ address, port }) => ({ address, port, slot: this.slots++, removed: false })),
      })),
    };
  }
}

const plan: fc.Arbitrary<Plan> = fc.record({
  services: fc.array(fc.option(fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 3 }), { nil: undefined }), {
    minLength: 4,
    maxLength: 4,
  }),
  echoReplies: fc.boolean(),
});

test('whatever the steps, the dataplane has what was asked for, and gets no service that stayed as it was', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 12 }), async (plans) => {
      const dataplane = new Model();
      const writer = new TableWriter(dataplane);
      let before: Plan | undefined;
      for (const next of plans) {
        dataplane.handedOver.length = 0;
        const slots = await writer.write(tablesOf(next));
        expect(dataplane.tables).toEqual(tablesOf(next));
        const names = next.services.flatMap((weights, i) => (weights === undefined ? [] : [`s${i}`]));
        expect(slots.services.map((service) => service.name)).toEqual(names);
        expect(slots.generation).toBe(dataplane.generation);
        const alike =
          before !== undefined &&
          before.echoReplies === next.echoReplies &&
          before.services.every((weights, i) => (weights === undefined) === (next.services[i] === undefined));
        if (alike) {
          const changed = names.filter((name) => {
            const i = Number(name.slice(1));
            return JSON.stringify(before?.services[i]) !== JSON.stringify(next.services[i]);
          });
          expect(dataplane.handedOver).toEqual(changed.length === 0 ? [] : [changed]);
        }
        before = next;
      }
    }),
    { numRuns: 60 },
  );
});

test('a change that the dataplane refuses leaves what is remembered as it was', async () => {
  const dataplane = new Model();
  const writer = new TableWriter(dataplane);
  await writer.write(tablesOf({ services: [[1], [1]], echoReplies: true }));
  const changed = tablesOf({ services: [[2], [1]], echoReplies: true });
  dataplane.refusal = { code: 'limit_exceeded', message: 'full', errno: 0 };
  await expect(writer.write(changed)).rejects.toMatchObject({ code: 'MILLRACE_E_LIMIT_EXCEEDED' });
  dataplane.refusal = undefined;
  await writer.write(changed);
  expect(dataplane.tables).toEqual(changed);
  expect(dataplane.handedOver.at(-1)).toEqual(['s0']);
});

test('services cannot be written before tables', async () => {
  await expect(new TableWriter(new Model()).writeServices([])).rejects.toThrow(TypeError);
});

test('what is refused after it has begun is taken back', async () => {
  const dataplane = new Model();
  const writer = new TableWriter(dataplane);
  const first = tablesOf({ services: [[1], [1]], echoReplies: true });
  await writer.write(first);
  dataplane.late = first;
  dataplane.refusal = { code: 'limit_exceeded', message: 'full', errno: 0 };
  const refused = tablesOf({ services: [[1]], echoReplies: true });
  await expect(writer.write(refused)).rejects.toMatchObject({ code: 'MILLRACE_E_LIMIT_EXCEEDED' });
  expect(dataplane.tables).toEqual(first);
  // Where that is not possible either, nothing is taken for granted any more.
  dataplane.late = tablesOf({ services: [], echoReplies: true });
  await expect(writer.write(refused)).rejects.toMatchObject({ code: 'MILLRACE_E_LIMIT_EXCEEDED' });
  dataplane.late = dataplane.refusal = undefined;
  dataplane.tables = refused;
  await writer.writeServices([]);
  expect(dataplane.tables).toEqual(first);
});
