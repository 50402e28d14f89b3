// Checks by a program of the operator, with the exit codes of MISC_CHECK of keepalived: 0 good, 1 bad, 2 to 255 good with a weight.
// Guarantees: no shell; a program that does not end in time is killed, with a second of grace after SIGTERM.
// Thread: a health worker.
import { spawn } from 'node:child_process';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import type { CheckTarget } from '../target.js';

const GRACE = 1000;

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
        env: {
          ...process.env,
          MILLRACE_SERVICE: target.service,
          MILLRACE_SERVER: target.server,
          MILLRACE_ADDRESS: target.address,
          MILLRACE_PORT: String(target.port),
        },
      });
      child.once('error', (error) => end(bad(describeFailure(error))));
      child.once('exit', (code, signal) =>
        end(code === null ? bad(`ended by ${signal}`) : verdictOfExit(code, target.check.dynamicWeight ?? false)),
      );
      return () => {
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
        child.kill('SIGTERM');
        const kill = setTimeout(() => child.kill('SIGKILL'), GRACE).unref();
        child.once('exit', () => clearTimeout(kill));
      };
    },
    () => bad(`did not end within ${target.timeout} ms`),
  );
}
