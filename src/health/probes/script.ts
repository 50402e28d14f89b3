// Checks by a program of the operator, with the exit codes of MISC_CHECK of keepalived: 0 good, 1 bad, 2 to 255 good with a weight.
// Guarantees: no shell; a program that does not end in time is killed with all that it has started, with a second of grace after SIGTERM.
// Thread: a health worker.
import { spawn } from 'node:child_process';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import type { CheckTarget } from '../target.js';

const GRACE = 1000;

/** Programs under way: each is the leader of a process group. */
const running = new Set<number>();

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch {
    // Nobody is left.
  }
}

/** Kills all programs under way, for the end of the worker. */
export function endScripts(): void {
  for (const leader of running) signalGroup(leader, 'SIGKILL');
}

export function verdictOfExit(code: number, dynamicWeight: boolean): Outcome {
  if (code === 0) return good('exit code 0');
  if (code >= 2 && dynamicWeight) return good(`exit code ${code}`, code - 2);
  return bad(`exit code ${code}`);
}

export function checkScript(target: CheckTarget): Promise<Outcome> {
  const [program = '', ...parameters] = target.check.command ?? [];
  return untilVerdict(
    target.timeout,
    (end) => {
      const child = spawn(program, parameters, {
        stdio: 'ignore',
        detached: true,
        env: {
          ...process.env,
          MILLRACE_SERVICE: target.service,
          MILLRACE_SERVER: target.server,
          MILLRACE_ADDRESS: target.address,
          MILLRACE_PORT: String(target.port),
        },
      });
      const { pid } = child;
      if (pid !== undefined) running.add(pid);
      child.once('error', (error) => end(bad(describeFailure(error))));
      child.once('exit', (code, signal) => {
        if (pid !== undefined) running.delete(pid);
        end(code === null ? bad(`ended by ${signal}`) : verdictOfExit(code, target.check.dynamicWeight ?? false));
      });
      return () => {
        if (pid === undefined || !running.has(pid)) return;
        signalGroup(pid, 'SIGTERM');
        const kill = setTimeout(() => signalGroup(pid, 'SIGKILL'), GRACE);
        child.once('exit', () => {
          clearTimeout(kill);
          signalGroup(pid, 'SIGKILL');
        });
      };
    },
    () => bad(`did not end within ${target.timeout} ms`),
  );
}
