// The names of all diagnostics channels, and what is published on them; NODE_DEBUG=millrace prints every message to stderr.
// Guarantees: publishing without a subscriber costs one check. Nothing here is on the packet path.
// Thread: the JavaScript thread that loaded the module; each worker_thread has channels of its own.
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { debuglog, inspect } from 'node:util';

/** Published after a configuration file was read, valid or not. */
export interface ConfigLoadMessage {
  readonly file: string;
  readonly problems: number;
}

/** Published on all events of a trace of `apply`. */
export interface ConfigApplyMessage {
  readonly services: number;
  /** Number of the published snapshot; set when the apply has succeeded. */
  generation?: number;
}

/** Published when the dataplane has started and when it has stopped. */
export interface DataplaneMessage {
  readonly workers: number;
  readonly interfaces: readonly string[];
}

/** Published when health checks take a server out or bring it back, and when a service wins or loses its quorum. */
export interface HealthTransitionMessage {
  readonly kind: string;
  readonly service: string;
  readonly server: string;
  readonly reason: string;
}

export const configLoadChannel = channel('millrace:config:load');
export const configApplyChannel = tracingChannel<unknown, ConfigApplyMessage>('millrace:config:apply');
export const dataplaneStartChannel = channel('millrace:dataplane:start');
export const dataplaneStopChannel = channel('millrace:dataplane:stop');
export const healthTransitionChannel = channel('millrace:health:transition');

const debug = debuglog('millrace');

if (debug.enabled) {
  const print = (message: unknown, name: string | symbol): void => {
    debug('%s %s', String(name), inspect(message, { breakLength: Number.POSITIVE_INFINITY }));
  };
  for (const source of [configLoadChannel, dataplaneStartChannel, dataplaneStopChannel, healthTransitionChannel])
    source.subscribe(print);
  configApplyChannel.subscribe({
    start: (message) => print(message, 'tracing:millrace:config:apply:start'),
    end: () => undefined,
    asyncStart: () => undefined,
    asyncEnd: (message) => print(message, 'tracing:millrace:config:apply:asyncEnd'),
    error: (message) => print(message, 'tracing:millrace:config:apply:error'),
  });
}
