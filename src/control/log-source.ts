// What somebody who reads the workers' logs needs of a load balancer (src/logs).
// Thread: main; the handle is for any thread of the process.
import type { NativeApplyResult, NativeDataplane } from '../native-binding.js';

export interface LogSource {
  /** Finds the workers' rings: NativeBinding.openLogs. */
  readonly handle: number;
  /** Names of interfaces, by the numbers that workers have for them. */
  readonly interfaces: readonly string[];
  /** Slots of everything in force; another generation is another map. */
  slots(): NativeApplyResult;
}

/** Throws {code: 'not_running'} when the dataplane does not run. */
export function logSourceOf(
  dataplane: Pick<NativeDataplane, 'logHandle'>,
  interfaces: readonly { readonly name: string }[],
  tables: { readonly slots: NativeApplyResult },
): LogSource {
  return { handle: dataplane.logHandle(), interfaces: interfaces.map(({ name }) => name), slots: () => tables.slots };
}
