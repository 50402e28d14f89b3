// Follows keepalived, which speaks VRRP for us: it writes the state of each vrrp_instance into a fifo, and services whose addresses belong
// to an instance are in force while that instance is MASTER.
// Guarantees: an instance of which nothing is known is not MASTER; states survive a restart of this process, in a file beside the fifo, as
// long as keepalived lives; what was written while nobody read is read first; any text in the fifo is passed over that is no state.
// Facts: keepalived.conf(5) of 2.2.7, vrrp_notify_fifo: lines of the form INSTANCE "VI_1" MASTER 100.
// Thread: main; the fifo is read without blocking.
import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { createError } from '../errors.js';

export const VRRP_STATES = ['MASTER', 'BACKUP', 'FAULT', 'STOP'] as const;
export type VrrpState = (typeof VRRP_STATES)[number];
export type VrrpStates = ReadonlyMap<string, VrrpState>;

export interface FollowerOptions {
  /** Path of the fifo; made where it is missing. */
  readonly fifo: string;
  /** Where keepalived writes its process id. */
  readonly pidFile?: string;
  /** An instance has another state. */
  readonly changed: (states: VrrpStates) => void;
}

/** Debian's keepalived. */
const PID_FILE = '/run/keepalived.pid';
/** Longer lines are no states. */
const LONGEST_LINE = 4096;

/** A line of the fifo about an instance; undefined for any other, such as those of groups and of priorities. */
export function parseNotification(line: string): { readonly instance: string; readonly state: VrrpState } | undefined {
  const [, instance, word] = /^INSTANCE "([^"]+)" ([A-Z_]+)(?: [0-9]+)?$/.exec(line) ?? [];
  const state = VRRP_STATES.find((known) => known === word);
  return instance === undefined || state === undefined ? undefined : { instance, state };
}

export class VrrpFollower implements Disposable {
  readonly #options: FollowerOptions;
  readonly #socket: Socket;
  readonly #states: Map<string, VrrpState>;
  #rest = '';

  /** Starts to follow. @throws MillraceError MILLRACE_E_INPUT_INVALID when the fifo cannot be made or is none. */
  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#states = knownStates(options.fifo, options.pidFile ?? PID_FILE);
    // Both ends, so that the reading does not end when keepalived is started anew.
    this.#socket = new Socket({ fd: openFifo(options.fifo), readable: true, writable: false });
    this.#socket.setEncoding('utf8');
    this.#socket.on('data', (text: string) => this.#read(text));
  }

  /** By instance; one that is not here has not been heard of. */
  get states(): VrrpStates {
    return this.#states;
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, LONGEST_LINE);
    let changed = false;
    for (const line of lines) {
      const found = parseNotification(line);
      if (found === undefined || this.#states.get(found.instance) === found.state) continue;
      this.#states.set(found.instance, found.state);
      changed = true;
    }
    if (!changed) return;
    remember(this.#options.fifo, this.#states);
    this.#options.changed(this.#states);
  }
}

function openFifo(path: string): number {
  // mkfifo fails where there is something already; what that is shows when it is opened.
  spawnSync('mkfifo', ['-m', '600', path]);
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    if (fstatSync(fd).isFIFO()) return fd;
    closeSync(fd);
  } catch (error) {
    throw fifoError(path, error instanceof Error ? error.message : String(error));
  }
  throw fifoError(path, 'it is not a fifo');
}

function fifoError(path: string, reason: string): Error {
  return createError('MILLRACE_E_INPUT_INVALID', `the fifo ${path} of keepalived cannot be read: ${reason}`, {
    remedy: 'Name the fifo that vrrp_notify_fifo in keepalived.conf names, in a folder that exists.',
  });
}

const stateFile = (fifo: string): string => `${fifo}.state`;

/** What was known last, if the keepalived that said so may still be there. */
function knownStates(fifo: string, pidFile: string): Map<string, VrrpState> {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8'));
    if (!Number.isInteger(pid) || pid <= 0) return new Map();
    process.kill(pid, 0);
    const lines = readFileSync(stateFile(fifo), 'utf8').split('\n');
    return new Map(lines.flatMap((line) => parseNotification(line) ?? []).map(({ instance, state }) => [instance, state]));
  } catch {
    return new Map();
  }
}

/** Replaced as a whole, so that a crash leaves the old or the new one. */
function remember(fifo: string, states: VrrpStates): void {
  const text = [...states].map(([instance, state]) => `INSTANCE "${instance}" ${state}\n`).join('');
  writeFileSync(`${stateFile(fifo)}.new`, text, { mode: 0o600 });
  renameSync(`${stateFile(fifo)}.new`, stateFile(fifo));
}
