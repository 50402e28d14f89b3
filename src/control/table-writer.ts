// Brings tables into the dataplane with the smallest change: some services where that is enough, everything where it is not.
// Guarantees: what the dataplane has and what this remembers are the same after every call, also after one that failed; services that
// stay as they are are not handed over, so that neither their tables nor their sessions are touched.
// Thread: the JavaScript thread that owns the dataplane; one call at a time.
import { isDeepStrictEqual } from 'node:util';
import { configApplyChannel } from '../diagnostics.js';
import { fromNativeError } from '../errors.js';
import type { NativeApplyResult, NativeDataplane, NativeServiceConfig, NativeSlotMap, NativeTables } from '../native-binding.js';

type Writable = Pick<NativeDataplane, 'apply' | 'update'>;

export class TableWriter {
  readonly #dataplane: Writable;
  #tables: NativeTables | undefined;
  /** A change has failed, and taking it back has failed too: nobody knows what the dataplane has. */
  #unsure = false;
  #slots: NativeApplyResult = { generation: 0, services: [] };

  constructor(dataplane: Writable) {
    this.#dataplane = dataplane;
  }

  /** Slots of everything in force, and the number of the newest snapshot. */
  get slots(): NativeApplyResult {
    return this.#slots;
  }

  /** Makes `tables` those in force. Rejects with an error of the catalogue, and nothing has changed then. */
  async write(tables: NativeTables): Promise<NativeApplyResult> {
    const before = this.#tables;
    const changed = before === undefined || this.#unsure ? undefined : changedServices(before, tables);
    await this.#enter(tables, changed);
    return this.#slots;
  }

  /** The same for services that are part of the tables in force and are found by what they were found by. */
  async writeServices(services: readonly NativeServiceConfig[]): Promise<NativeApplyResult> {
    if (this.#tables === undefined) throw new TypeError('services are written before the tables that they are part of');
    const byName = new Map(services.map((service) => [service.name, service]));
    const changed: NativeServiceConfig[] = [];
    const now = this.#tables.services.map((old) => {
      const service = byName.get(old.name);
      if (service === undefined || old === service || isDeepStrictEqual(old, service)) return old;
      changed.push(service);
      return service;
    });
    if (changed.length > 0 || this.#unsure)
      await this.#enter({ ...this.#tables, services: now }, this.#unsure ? undefined : changed);
    return this.#slots;
  }

  /** `changed`: all that is new in `tables`; undefined: whatever it is. */
  async #enter(tables: NativeTables, changed: readonly NativeServiceConfig[] | undefined): Promise<void> {
    try {
      if (changed === undefined) this.#slots = await traced(tables.services.length, () => this.#dataplane.apply(tables));
      else await this.#update(changed);
    } catch (error) {
      await this.#takeBack();
      throw error;
    }
    this.#unsure = false;
    this.#tables = tables;
  }

  /** The dataplane may have begun with what it then refused. */
  async #takeBack(): Promise<void> {
    const tables = this.#tables;
    if (tables === undefined) return;
    try {
      this.#slots = await this.#dataplane.apply(tables);
      this.#unsure = false;
    } catch {
      // The first error is the one to report; the next change brings everything anew.
      this.#unsure = true;
    }
  }

  async #update(services: readonly NativeServiceConfig[]): Promise<void> {
    if (services.length === 0) return;
    const result = await traced(services.length, () => this.#dataplane.update(services));
    this.#slots = { generation: result.generation, services: mergeSlots(this.#slots, result) };
  }
}

async function traced(services: number, change: () => Promise<NativeApplyResult>): Promise<NativeApplyResult> {
  const message: { services: number; generation?: number } = { services };
  try {
    return await configApplyChannel.tracePromise(async () => {
      const result = await change();
      message.generation = result.generation;
      return result;
    }, message);
  } catch (error) {
    throw fromNativeError(error);
  }
}

/** The services that differ, where nothing else does and each of them is still found by the same; else undefined. */
export function changedServices(from: NativeTables, to: NativeTables): readonly NativeServiceConfig[] | undefined {
  const { services: before, ...restBefore } = from;
  const { services: after, ...restAfter } = to;
  if (before.length !== after.length || !isDeepStrictEqual(restBefore, restAfter)) return undefined;
  const changed: NativeServiceConfig[] = [];
  for (const [i, service] of after.entries()) {
    const old = before[i];
    if (old === service) continue;
    if (old === undefined || !isDeepStrictEqual(identityOf(old), identityOf(service))) return undefined;
    if (!isDeepStrictEqual(old, service)) changed.push(service);
  }
  return changed;
}

function identityOf({ name, address, port, ports, protocol, matches, outbound, pool }: NativeServiceConfig): unknown {
  return { name, address, port, ports, protocol, matches, outbound, pool };
}

/** A slot that has a new owner is not that of the one who left. */
function mergeSlots(all: NativeSlotMap, some: NativeSlotMap): NativeSlotMap['services'] {
  const bySlot = new Map(some.services.map((service) => [service.slot, service]));
  const taken = new Set(some.services.flatMap((service) => service.servers.map((server) => server.slot)));
  return all.services.map((service) => {
    const now = bySlot.get(service.slot);
    if (now !== undefined) return now;
    if (!service.servers.some((server) => server.removed && taken.has(server.slot))) return service;
    return { ...service, servers: service.servers.filter((server) => !(server.removed && taken.has(server.slot))) };
  });
}
