// Runs the operator's commands at changes of health: notify_up, notify_down, quorum_up, quorum_down of keepalived by another name.
// Guarantees: no shell; commands of one service run one after the other, in the order of the events; a few at a time in all, so that ten
// thousand servers that fail at once do not become ten thousand processes; each is ended after a minute; what goes wrong is reported and
// hinders nothing.
// Thread: main; the commands are processes of their own.
import { spawn } from 'node:child_process';
import { describeFailure } from './outcome.js';
import type { HealthEvent } from './service-judge.js';

const TIME_LIMIT = 60_000;

/** Commands at a time. */
const AT_A_TIME = 16;

export type Complain = (message: string) => void;

export class Notifier {
  readonly #complain: Complain;
  readonly #queues = new Map<string, Promise<void>>();
  #running = 0;
  /** Those whose turn within their service has come. */
  readonly #waiting: (() => void)[] = [];

  constructor(complain: Complain) {
    this.#complain = complain;
  }

  run(command: readonly string[] | undefined, event: Omit<HealthEvent, 'kind'> & { readonly kind: string }): void {
    if (command === undefined) return;
    const before = this.#queues.get(event.service) ?? Promise.resolve();
    const mine = before.then(() => this.#inTurn(() => this.#execute(command, event)));
    this.#queues.set(event.service, mine);
    void mine.then(() => {
      if (this.#queues.get(event.service) === mine) this.#queues.delete(event.service);
    });
  }

  /** Resolves when all commands that were asked for have ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#queues.values());
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    if (this.#running < AT_A_TIME) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await work();
    } catch (error) {
      this.#complain(describeFailure(error));
    } finally {
      // The place goes to the next one, if there is one.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #execute(
    [program = '', ...parameters]: readonly string[],
    event: { kind: string; service: string; server: string; reason: string },
  ) {
    return new Promise<void>((resolve) => {
      const child = spawn(program, parameters, {
        stdio: 'ignore',
        timeout: TIME_LIMIT,
        killSignal: 'SIGKILL',
        env: {
          ...process.env,
          MILLRACE_EVENT: event.kind,
          MILLRACE_SERVICE: event.service,
          MILLRACE_SERVER: event.server,
          MILLRACE_REASON: event.reason,
        },
      });
      child.once('error', (error) => {
        this.#complain(`command ${program} of service ${event.service}: ${describeFailure(error)}`);
        resolve();
      });
      child.once('exit', (code, signal) => {
        if (code !== 0)
          this.#complain(`command ${program} of service ${event.service} ended with ${signal ?? `exit code ${code}`}`);
        resolve();
      });
    });
  }
}
