// A load balancer that serves a keepalived.conf: read at the start and at each HUP, with the services of a vrrp_instance in force while
// keepalived says that it is MASTER.
// Guarantees: a change of state needs no file: what counts is the configuration that was taken over last, however wrong the file has become.
// Thread: main.

import type { Config } from '../config/schema.js';
import { type CreateOptions, createLoadBalancer, type FileResolver } from '../create-load-balancer.js';
import type { DaemonEvent } from '../daemon/output.js';
import { MillraceError } from '../errors.js';
import { loadFromKeepalived } from '../keepalived/import.js';
import type { Report } from '../keepalived/report.js';
import { VrrpFollower } from '../keepalived/vrrp-follower.js';
import { inForce, instancesByAddress } from '../keepalived/vrrp-services.js';
import type { LoadBalancer } from '../load-balancer.js';
import type { KeepalivedOptions } from './keepalived-options.js';

export interface RunAsOptions extends KeepalivedOptions {
  readonly vrrpFifo?: string;
}

/** All of a file, whatever of it is in force. */
interface Whole {
  readonly config: Config;
  readonly instances: ReadonlyMap<string, string>;
}

/** In place of a path: what was taken over last, as it is now. */
const AS_IT_IS = 'vrrp:';

type Create = (file: string, options: CreateOptions) => Promise<LoadBalancer>;

export function createFromKeepalived(options: RunAsOptions, emit: (event: DaemonEvent) => void): Create {
  const warn = (message: string, remedy: string): void => emit({ event: 'warning', time: Date.now(), message, remedy });
  const tell = (reports: readonly Report[]): void => {
    for (const { kind, file, line, column, reason, remedy } of reports) {
      if (kind !== 'note') warn(`${file}:${line}:${column}: ${reason}`, remedy);
    }
  };
  return async (file, given) => {
    let taken: Whole | undefined;
    let next: Whole | undefined;
    let balancer: LoadBalancer | undefined;
    const refresh = async (): Promise<void> => {
      try {
        await balancer?.apply(AS_IT_IS);
      } catch (error) {
        if (balancer?.closed) return;
        const known = error instanceof MillraceError;
        warn(
          `a change of state of VRRP was not taken over: ${String(error)}`,
          known ? error.remedy : 'Send SIGHUP to try again.',
        );
      }
    };
    const follower =
      options.vrrpFifo === undefined ? undefined : new VrrpFollower({ fifo: options.vrrpFifo, changed: () => void refresh() });
    const resolve: FileResolver = async (path, { signal }) => {
      next = path === AS_IT_IS && taken !== undefined ? taken : await read(file, options, signal, tell);
      return follower === undefined ? next.config : inForce(next.config, next.instances, follower.states);
    };
    try {
      balancer = await createLoadBalancer(file, { ...given, resolve });
    } catch (error) {
      follower?.close();
      throw error;
    }
    taken = next;
    balancer.events.on('applied', () => {
      taken = next;
    });
    balancer.events.once('stopped', () => follower?.close());
    // What was heard while it started.
    if (follower !== undefined) await refresh();
    return balancer;
  };
}

async function read(
  file: string,
  options: RunAsOptions,
  signal: AbortSignal | undefined,
  tell: (reports: readonly Report[]) => void,
): Promise<Whole> {
  const given = { ...options, interfaces: options.interface, localAddresses: options.localAddress, signal };
  const imported = await loadFromKeepalived(file, given, tell);
  return { config: imported.config, instances: instancesByAddress(imported.file.kept) };
}
