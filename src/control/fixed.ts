// Tells which changes of a configuration cannot be made while the dataplane runs.
// Guarantees: pure; compares what the dataplane would be started with, so that a change of spelling ("auto" or the same number) is no change.
// Thread: any; no state.
import type { NativeOptions } from '../native-binding.js';

/** Where each option stands in the configuration. */
const configKeys: Readonly<Record<keyof NativeOptions, string>> = {
  workers: 'workers',
  cpus: 'cpus',
  interfaces: 'interfaces',
  attachMode: 'dataplane.attachMode',
  zeroCopy: 'dataplane.zeroCopy',
  polling: 'dataplane.polling',
  busyPollBudget: 'dataplane.busyPollBudget',
  framesPerWorker: 'dataplane.framesPerWorker',
  frameSize: 'dataplane.frameSize',
  ringSize: 'dataplane.ringSize',
  hugePages: 'dataplane.hugePages',
  seed: 'dataplane.seed',
  maxSessionsPerWorker: 'sessions.maxPerWorker',
  localPortRange: 'localPorts',
};

/** Paths in the configuration of what is fixed while a dataplane runs. */
export const FIXED_PATHS: ReadonlySet<string> = new Set(Object.values(configKeys));

export interface FixedChange {
  /** Path in the configuration. */
  readonly path: string;
  readonly from: string;
  readonly to: string;
}

/** The options that differ; empty when `next` can be applied to a dataplane that was started with `running`. */
export function fixedChanges(running: NativeOptions, next: NativeOptions): readonly FixedChange[] {
  const changes: FixedChange[] = [];
  for (const key of Object.keys(configKeys) as (keyof NativeOptions)[]) {
    const from = describe(running, key);
    const to = describe(next, key);
    if (from !== to) changes.push({ path: configKeys[key], from, to });
  }
  return changes;
}

function describe(options: NativeOptions, key: keyof NativeOptions): string {
  // A live interface has an address and an MTU of its own: what the configuration says of them is for replay.
  if (key === 'interfaces') return JSON.stringify(options.interfaces.map((entry) => entry.name));
  return JSON.stringify(options[key]);
}
