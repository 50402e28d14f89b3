// The embedded store: one JSON file that holds what the API has changed.
// Guarantees: at every moment, also when the process is killed or the power fails, the file is the old or the new one as a whole; after
// write() the new one is on disk; a write that fails leaves the old one. A file that is torn, of another program or of a newer version, or
// that another process has changed is refused and never overwritten.
// Thread: main; one call at a time. The disk is waited for by threads of libuv, so that a slow one stops nothing else.
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createError } from '../errors.js';
import { canonicalJson, sha256 } from './canonical.js';

const FORMAT = 'millrace-state';
const VERSION = 1;

/** What the store needs of the file system; the parts of node:fs/promises of the same names. */
export interface FileOperations {
  readonly open: typeof open;
  readonly readFile: typeof readFile;
  readonly rename: typeof rename;
  readonly rm: typeof rm;
  readonly stat: typeof stat;
}

const NODE: FileOperations = { open, readFile, rename, rm, stat };

/** What to do about a file that is refused. */
export function stateRemedy(file: string): string {
  return (
    `Put back a copy of ${file}, or move it away (mv ${file} ${file}.broken): what was changed through the API is forgotten then, and ` +
    'the configuration file alone holds.'
  );
}

export class StateFile {
  readonly path: string;
  readonly #files: FileOperations;
  /** Of the file as it was last read or written; undefined: there was none. */
  #identity: string | undefined;
  /** Text of that file. */
  #text: string | undefined;

  constructor(path: string, files: FileOperations = NODE) {
    this.path = path;
    this.#files = files;
  }

  /**
   * The state as it was written; undefined when there is no file.
   * @throws MILLRACE_E_STATE_INVALID when the file cannot be read or is not what write() leaves; MILLRACE_E_STATE_UNWRITABLE when there
   * is no directory that a file could be written into.
   */
  async read(): Promise<unknown> {
    let text: string;
    try {
      this.#identity = await this.#look();
      text = this.#identity === undefined ? '' : await this.#files.readFile(this.path, 'utf8');
    } catch (error) {
      throw this.#refused(`it cannot be read: ${reasonOf(error)}`, error);
    }
    if (this.#identity === undefined) {
      await this.#needDirectory();
      return undefined;
    }
    const state = this.#parse(text);
    this.#text = text;
    return state;
  }

  /**
   * Replaces the state by the one with this canonical JSON (canonicalJson). Resolves when it is on disk.
   * @throws MILLRACE_E_STATE_UNWRITABLE, MILLRACE_E_STATE_INVALID when the file is not the one that this has read or written; in both
   * cases the old state is in the file.
   */
  async write(state: string): Promise<void> {
    const found = await this.#look().catch((error: unknown) => {
      throw this.#unwritable(error);
    });
    // A file that was removed is no file of anybody else's.
    if (found !== undefined && found !== this.#identity) {
      throw this.#refused('another process has written it since it was read');
    }
    const text = `{"checksum":"${sha256(state)}","format":"${FORMAT}","state":${state},"version":${VERSION}}\n`;
    try {
      await this.#replace(text);
    } catch (error) {
      throw this.#unwritable(error);
    }
  }

  async #replace(text: string): Promise<void> {
    // In the same directory: a rename goes no further than one file system. What a killed process left there is of no use.
    const temporary = join(dirname(this.path), `.${basename(this.path)}.new`);
    const identity = await this.#writeWhole(temporary, text);
    let directory: FileHandle | undefined;
    let renamed = false;
    try {
      directory = await this.#files.open(dirname(this.path), 'r');
      await this.#files.rename(temporary, this.path);
      renamed = true;
      this.#identity = identity;
      // The rename itself is on disk when the directory is.
      await directory.sync();
    } catch (error) {
      if (renamed) await this.#putBack(temporary);
      else await this.#files.rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    } finally {
      await directory?.close().catch(() => undefined);
    }
    this.#text = text;
  }

  /** A new file with this text, on disk; tells its identity. On failure there is no such file. */
  async #writeWhole(path: string, text: string): Promise<string> {
    await this.#files.rm(path, { force: true });
    const handle = await this.#files.open(path, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
      const identity = identityOf(await handle.stat({ bigint: true }));
      await handle.close();
      return identity;
    } catch (error) {
      await handle.close().catch(() => undefined);
      await this.#files.rm(path, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** After a directory that could not be written: nobody knows which file a restart would find, so the old one is to be it again. */
  async #putBack(temporary: string): Promise<void> {
    try {
      if (this.#text === undefined) {
        await this.#files.rm(this.path, { force: true });
        this.#identity = undefined;
        return;
      }
      const identity = await this.#writeWhole(temporary, this.#text);
      await this.#files.rename(temporary, this.path);
      this.#identity = identity;
    } catch {
      // The disk is failing; the error that is on its way says so.
    }
  }

  async #look(): Promise<string | undefined> {
    try {
      return identityOf(await this.#files.stat(this.path, { bigint: true }));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #needDirectory(): Promise<void> {
    const directory = dirname(this.path);
    try {
      await this.#files.stat(directory);
    } catch (error) {
      throw createError('MILLRACE_E_STATE_UNWRITABLE', `there is no directory ${directory} for the state: ${reasonOf(error)}`, {
        cause: error,
        remedy: `Make it: install -d -m 0750 ${directory}`,
      });
    }
  }

  #parse(text: string): unknown {
    if (text.trim() === '') throw this.#refused('it is empty');
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw this.#refused(`it is torn or no JSON: ${reasonOf(error)}`, error);
    }
    const field = (name: string): unknown =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
    if (field('format') !== FORMAT) throw this.#refused('it is not a state of Millrace');
    if (field('version') !== VERSION) {
      throw this.#refused(
        `it has version ${JSON.stringify(field('version'))} of the format, this Millrace reads version ${VERSION}`,
      );
    }
    const state = field('state');
    if (state === undefined || field('checksum') !== checksumOf(state)) {
      throw this.#refused('its checksum does not fit what it holds: it is damaged or was edited');
    }
    return state;
  }

  #refused(reason: string, cause?: unknown): Error {
    return createError('MILLRACE_E_STATE_INVALID', `${this.path} cannot be used: ${reason}`, {
      remedy: stateRemedy(this.path),
      ...(cause === undefined ? {} : { cause }),
    });
  }

  #unwritable(error: unknown): Error {
    const message = `${this.path} cannot be written: ${reasonOf(error)}`;
    return createError('MILLRACE_E_STATE_UNWRITABLE', message, { cause: error });
  }
}

/** undefined for what is nested more deeply than anything that was written here. */
function checksumOf(state: unknown): string | undefined {
  try {
    return sha256(canonicalJson(state));
  } catch {
    return undefined;
  }
}

function identityOf(found: {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}): string {
  return `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/, \w+( '.*)?$/, '') : String(error);
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
}
