// Tells the service manager how the daemon is: the protocol of sd_notify(3), as systemd and others speak it.
// Guarantees: without NOTIFY_SOCKET nothing happens and the addon is not even loaded for it; a socket that takes nothing is told of once
// and hinders nothing; a status is one line, whatever text it is made of; WATCHDOG=1 is sent only while every worker moves.
// Thread: main; a message is one datagram that does not wait.
import { fromNativeError, MillraceError } from '../errors.js';
import { nameWorkers, STUCK_AFTER, type WorkerProgress } from './progress.js';

/** What the service manager asked for through the environment. */
export interface NotifySettings {
  /** A path, or "@abstract". */
  readonly socket: string;
  /** Microseconds within which it wants a WATCHDOG=1; undefined: none is wanted. */
  readonly watchdog: number | undefined;
  /** What was wrong with the environment; undefined: nothing. */
  readonly complaint: string | undefined;
}

/** Longest interval of a timer of Node.js, milliseconds. */
const LONGEST_TIMER = 2_147_483_647;

/** Longest status, characters: one line of `systemctl status`. */
const LONGEST_STATUS = 500;

/**
 * Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of `env`, so that programs that are started later do not speak for the daemon.
 * Source: sd_notify(3), sd_watchdog_enabled(3).
 */
export function takeNotifySettings(env: NodeJS.ProcessEnv, pid: number): NotifySettings | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: time, WATCHDOG_PID: whose } = env;
  delete env['NOTIFY_SOCKET'];
  delete env['WATCHDOG_USEC'];
  delete env['WATCHDOG_PID'];
  if (socket === undefined || socket === '') return undefined;
  const meant = whose === undefined || whose === '' || whose === String(pid);
  if (time === undefined || time === '' || !meant) return { socket, watchdog: undefined, complaint: undefined };
  const watchdog = /^[0-9]{1,16}$/.test(time) ? Number(time) : 0;
  if (Number.isSafeInteger(watchdog) && watchdog > 0) return { socket, watchdog, complaint: undefined };
  return {
    socket,
    watchdog: undefined,
    complaint: `WATCHDOG_USEC is ${JSON.stringify(time)}, which is no number of microseconds: the watchdog stays off`,
  };
}

export interface ServiceManagerParts {
  /** undefined: started by hand. */
  readonly settings: NotifySettings | undefined;
  /** One datagram; throws as the addon does. */
  readonly send: (socket: string, text: string) => void;
  readonly complain: (message: string, remedy: string) => void;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly monotonic: () => bigint;
}

export class ServiceManager {
  readonly #parts: ServiceManagerParts;
  #watching: NodeJS.Timeout | undefined;
  /** Reloads under way. */
  #reloads = 0;
  #stopping = false;
  #failing = false;
  #stuck = '';

  constructor(parts: ServiceManagerParts) {
    this.#parts = parts;
    if (parts.settings?.complaint !== undefined) {
      parts.complain(parts.settings.complaint, 'Correct WatchdogSec of the unit.');
    }
  }

  /** Traffic flows. */
  ready(status: string): void {
    this.#send('READY=1', `STATUS=${oneLine(status)}`);
  }

  status(status: string): void {
    this.#send(`STATUS=${oneLine(status)}`);
  }

  /** A reload begins; `systemctl reload` waits for reloaded(). */
  reloading(): void {
    this.#reloads++;
    if (this.#stopping) return;
    this.#send('RELOADING=1', `MONOTONIC_USEC=${this.#parts.monotonic() / 1000n}`, 'STATUS=reloading');
  }

  /** A reload has ended, well or not. Of several that overlap the last one counts. */
  reloaded(status: string): void {
    this.#reloads--;
    if (this.#stopping) return;
    if (this.#reloads === 0) this.ready(status);
    else this.status(status);
  }

  /** The end begins, and takes up to `seconds`: the manager is asked for that much patience. */
  stopping(status: string, seconds: number): void {
    this.#stopping = true;
    this.#send('STOPPING=1', `EXTEND_TIMEOUT_USEC=${Math.ceil(seconds * 1_000_000)}`, `STATUS=${oneLine(status)}`);
  }

  /** From now on, WATCHDOG=1 at half of the time that was asked for, as sd_watchdog_enabled(3) recommends. */
  watch(progress: WorkerProgress): void {
    const time = this.#parts.settings?.watchdog;
    if (time === undefined) return;
    const look = (): void => this.#look(progress);
    look();
    this.#watching = setInterval(look, Math.min(Math.max(time / 2000, 1), LONGEST_TIMER)).unref();
  }

  close(): void {
    clearInterval(this.#watching);
  }

  #look(progress: WorkerProgress): void {
    const stuck = progress.stuck(Number(this.#parts.monotonic() / 1_000_000n));
    const names = stuck.length === 0 ? '' : nameWorkers(stuck);
    if (names === '') this.#send('WATCHDOG=1');
    if (names === this.#stuck) return;
    this.#stuck = names;
    this.status(names === '' ? 'all workers move again' : `${names} stuck`);
    if (names === '') return;
    this.#parts.complain(
      `${names} stuck: no turn of the loop for ${STUCK_AFTER / 1000} s or more; the service manager's watchdog is not fed`,
      'The service manager will start Millrace again; report it with the stacks of `gdb -p PID -batch -ex "thread apply all bt"`.',
    );
  }

  #send(...lines: readonly string[]): void {
    const { settings, send, complain } = this.#parts;
    if (settings === undefined) return;
    try {
      send(settings.socket, lines.join('\n'));
      this.#failing = false;
    } catch (thrown) {
      if (this.#failing) return;
      this.#failing = true;
      const error = fromNativeError(thrown);
      const known = error instanceof MillraceError;
      complain(
        `the service manager at ${settings.socket} is told nothing: ${known ? error.message : String(error)}`,
        known ? error.remedy : 'Check NOTIFY_SOCKET.',
      );
    }
  }
}

/** A line break would begin another assignment. */
function oneLine(text: string): string {
  return [...text.replaceAll(/\p{Cc}+/gu, ' ')].slice(0, LONGEST_STATUS).join('').trim();
}
