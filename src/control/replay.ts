// Prepares a configuration for a replay and runs it: no host is asked, so whatever depends on one is decided here.
// Guarantees: the same configuration, capture, seed and worker count give the same result on every machine.
// Thread: the JavaScript thread that calls it; synchronous.
import type { Config } from '../config/schema.js';
import { toNative } from '../config/to-native.js';
import { validateConfig } from '../config/validate.js';
import { createError, fromNativeError } from '../errors.js';
import type { NativeBinding, NativeReplayResult } from '../native-binding.js';

export interface ReplayRequest {
  /** Path of the capture that is received. */
  readonly input: string;
  /** Path of the capture that is written. */
  readonly output: string;
  readonly steering: 'flow' | 'wrong';
  /** Decimal, 64 bits; replaces the configuration's. */
  readonly seed?: string;
  /** Replaces the configuration's. */
  readonly workers?: number;
}

/**
 * @throws ConfigurationError when the configuration lacks what only a replay needs (an interface's address), MillraceError
 * MILLRACE_E_PCAP_INVALID and others of the native side.
 */
export function runReplay(binding: NativeBinding, config: Config, request: ReplayRequest): NativeReplayResult {
  // Fewer local addresses than workers is wrong here as it is in a run, so the replaced number is checked like one in the file.
  const workers = request.workers ?? (config.workers === 'auto' ? 1 : config.workers);
  // Threads are not pinned in a replay, so CPUs play no part.
  const { cpus: _, ...rest } = config;
  const checked = validateConfig({ ...rest, workers });
  const withoutMac = checked.interfaces.filter((entry) => entry.mac === undefined).map((entry) => entry.name);
  if (withoutMac.length > 0) {
    throw createError(
      'MILLRACE_E_CONFIG_INVALID',
      `replay needs the Ethernet address of each interface; missing: ${withoutMac.join(', ')}`,
      {
        remedy: 'Add `mac` (and `addresses`) to the interface; there is no kernel to ask.',
      },
    );
  }
  const { options, tables } = toNative(checked, { allowedCpus: [], interfaces: [] });
  const seed = request.seed ?? (options.seed === '0' ? '1' : options.seed);
  try {
    return binding.replay({ ...options, cpus: Array.from({ length: workers }, () => -1), seed }, tables, {
      input: request.input,
      output: request.output,
      workers,
      steering: request.steering,
    });
  } catch (error) {
    throw fromNativeError(error);
  }
}
