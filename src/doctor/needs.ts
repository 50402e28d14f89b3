// What a configuration asks of a host, in the doctor's terms; and what the configuration's own resolution must know of the host.
// Guarantees: pure.
// Thread: any; no state.
import { largestMtu } from '../config/frame-size.js';
import type { HostDescription } from '../config/to-native.js';
import type { NativeOptions } from '../native-binding.js';
import type { HostFacts, HostNeeds } from './facts.js';

/** CPUs and queues, for `workers: auto` and the default CPUs. */
export function hostDescription(facts: HostFacts): HostDescription {
  return {
    allowedCpus: facts.cpus?.allowed ?? [0],
    interfaces: (facts.interfaces ?? []).map(({ name, rxQueues }) => ({ name, rxQueues })),
  };
}

export function needsOf(options: NativeOptions, facts: HostFacts): HostNeeds {
  const interfaces = options.interfaces.map((entry) => entry.name);
  const probes = (facts.interfaces ?? []).filter((probe) => interfaces.includes(probe.name));
  const small = probes.every((probe) => probe.mtu <= largestMtu(2048));
  const frame = options.frameSize === 0 ? (small ? 2048 : 4096) : options.frameSize;
  return {
    workers: options.workers,
    interfaces,
    cpus: options.cpus,
    attachMode: options.attachMode,
    zeroCopy: options.zeroCopy,
    frameSize: options.frameSize,
    packetMemory: options.workers * options.framesPerWorker * frame,
    hugePages: options.hugePages,
    busyPoll: options.busyPollBudget > 0,
  };
}
