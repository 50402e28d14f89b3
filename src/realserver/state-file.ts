// Remembers what was changed on a real server, one file per network namespace: /run/millrace-realserver/net-INODE.json.
// Guarantees: a write replaces the file in one step; one process at a time holds the lock; a file about a namespace that has gone (another
// one may have its number now) is not believed. /run is empty after a restart of the machine, as are the things remembered.
// Thread: the main thread.
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createError } from '../errors.js';
import type { Change } from './changes.js';
import type { Setup } from './setup.js';

export interface RealserverState {
  readonly version: 1;
  /** SO_NETNS_COOKIE of the namespace as a decimal number; "0" where the kernel has none. */
  readonly cookie: string;
  readonly setups: readonly Setup[];
  /** In the order in which they were made. */
  readonly changes: readonly Change[];
}

export interface StateStore {
  read(): RealserverState | undefined;
  /** undefined removes it. */
  write(state: RealserverState | undefined): void;
  /** Runs `work` while no other process changes this namespace. */
  locked<T>(work: () => Promise<T>): Promise<T>;
}

export const stateDirectory = '/run/millrace-realserver';

/** The store of this process's network namespace. */
export function stateOfThisNamespace(directory: string = stateDirectory): StateStore {
  const inode = /\d+/.exec(readlinkSync('/proc/self/ns/net'))?.[0] ?? '0';
  const file = join(directory, `net-${inode}.json`);
  const lock = join(directory, `net-${inode}.lock`);
  return {
    read: () => readState(file),
    write: (state) => {
      if (state === undefined) {
        rmSync(file, { force: true });
        return;
      }
      mkdirSync(directory, { recursive: true, mode: 0o755 });
      writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o644 });
      renameSync(`${file}.new`, file);
    },
    locked: async (work) => {
      takeLock(directory, lock);
      try {
        return await work();
      } finally {
        rmSync(lock, { force: true });
        removeIfEmpty(directory);
      }
    },
  };
}

function readState(file: string): RealserverState | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const state: unknown = safeParse(text);
  if (isState(state)) return state;
  throw createError('MILLRACE_E_INPUT_INVALID', `${file} is not a state of this version of Millrace`, {
    remedy: 'Undo with the version that wrote it, or remove the file: the changes it names then stay until the machine restarts.',
  });
}

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isState(value: unknown): value is RealserverState {
  const field = (name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined);
  return field('version') === 1 && Array.isArray(field('setups')) && Array.isArray(field('changes'));
}

function takeLock(directory: string, lock: string): void {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      createLock(directory, lock);
      return;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    const holder = holderOf(lock);
    if (holder !== undefined && isAlive(holder)) {
      throw createError('MILLRACE_E_COMMAND_FAILED', `process ${holder} changes this real server right now`, {
        remedy: `Wait for it. If process ${holder} is something else, remove ${lock}.`,
      });
    }
    // Its holder was killed.
    rmSync(lock, { force: true });
  }
  throw createError('MILLRACE_E_COMMAND_FAILED', 'another process changes this real server right now', {
    remedy: 'Wait for it and try again.',
  });
}

/** Real servers of other network namespaces share the directory, and whoever leaves last removes it: between two calls here, too. */
function createLock(directory: string, lock: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o755 });
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || attempt === 100) throw error;
    }
  }
}

function holderOf(lock: string): number | undefined {
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Other namespaces have their files there.
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
}
