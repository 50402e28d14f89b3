// The wait between SIGTERM and the stop: traffic goes on, while whoever sends it here is told by /readyz to send it elsewhere.
// Guarantees: ends when no session is left, at the deadline, when the signal fires or when the balancer closes, whichever comes first;
// never rejects. The dataplane is not touched: new connections are still served, for a client that has not heard yet would lose them.
// Thread: main.
import { setTimeout as pause } from 'node:timers/promises';
import type { LoadBalancer } from '../load-balancer.js';

/** How often sessions are counted, milliseconds. */
const LOOK_EVERY = 100;

export interface DrainOptions {
  /** Milliseconds from now. */
  readonly timeout: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Called with the number of sessions when it has changed. */
  readonly progress: (sessions: bigint) => void;
}

type Drained = Pick<LoadBalancer, 'workerCounter' | 'closed'>;

/** Sessions of all workers. */
export function sessionsOf(balancer: Drained): bigint {
  return balancer.workerCounter('sessions').reduce((sum, sessions) => sum + sessions, 0n);
}

/** Resolves with the number of sessions that are left. */
export async function drainSessions(balancer: Drained, { timeout, signal, progress }: DrainOptions): Promise<bigint> {
  const deadline = performance.now() + timeout;
  let told = sessionsOf(balancer);
  for (;;) {
    const sessions = sessionsOf(balancer);
    if (sessions !== told) progress(sessions);
    told = sessions;
    const left = deadline - performance.now();
    if (sessions === 0n || left <= 0 || signal.aborted || balancer.closed) return sessions;
    await pause(Math.min(left, LOOK_EVERY), undefined, { signal }).catch(() => undefined);
  }
}
