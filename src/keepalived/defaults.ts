// What counts where a keepalived.conf says nothing: a check inherits from its real server, that one from its virtual server, that one
// from keepalived. Facts: keepalived.conf(5) of 2.2.7, "Virtual server(s)".
// Thread: any; pure.
import type { Check, Forwarding, RealServer, SorryServer, Timing, VirtualServer } from './model.js';

/** Seconds and attempts. */
export const DEFAULT_CONNECT_TIMEOUT = 5;
export const DEFAULT_DELAY_LOOP = 60;

/** How a check is timed; every value filled in. */
export function timingOf(virtual: VirtualServer, real: RealServer, check: Check): Required<Timing> {
  const pick = (key: keyof Timing) => check[key] ?? real[key] ?? virtual[key];
  const delayLoop = pick('delayLoop') ?? DEFAULT_DELAY_LOOP;
  return {
    delayLoop,
    connectTimeout: pick('connectTimeout') ?? DEFAULT_CONNECT_TIMEOUT,
    retry: pick('retry') ?? defaultRetry(check),
    delayBeforeRetry: pick('delayBeforeRetry') ?? defaultDelayBeforeRetry(check, delayLoop),
    warmup: pick('warmup') ?? delayLoop,
  };
}

function defaultRetry(check: Check): number {
  if (check.type === 'DNS_CHECK') return 3;
  return check.type === 'MISC_CHECK' ? 0 : 1;
}

function defaultDelayBeforeRetry(check: Check, delayLoop: number): number {
  if (check.type === 'DNS_CHECK') return delayLoop;
  return check.type === 'HTTP_GET' || check.type === 'SSL_GET' ? 3 : 1;
}

export function weightOf(virtual: VirtualServer, real: RealServer): number {
  return real.weight ?? virtual.weight ?? 1;
}

/** Undefined where nobody says it: keepalived then takes NAT. */
export function forwardingOf(virtual: VirtualServer, server: RealServer | SorryServer): Forwarding | undefined {
  return server.forwarding ?? virtual.forwarding;
}

/** Whether a server that fails keeps its sessions and gets no new ones (weight 0), instead of being removed. */
export function inhibitsOf(virtual: VirtualServer, real: RealServer): boolean {
  return real.inhibitOnFailure ?? virtual.inhibitOnFailure ?? false;
}

/** Whether the server counts as down until the check has succeeded once. */
export function alphaOf(virtual: VirtualServer, real: RealServer, check: Check): boolean {
  return check.alpha ?? real.alpha ?? virtual.alpha ?? false;
}
