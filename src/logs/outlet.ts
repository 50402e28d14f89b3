// Where lines end up: a file that begins anew when it is large, or a descriptor that others have given us. Each takes what it can at once.
// Guarantees: no call waits for a reader: pipes and terminals are opened again without blocking, so that the flags of the shared descriptor
// stay as they are; sockets (the journal's) are written to with MSG_DONTWAIT. A disk is written to on a thread of Node's pool.
// Thread: the log thread.

import { closeSync, fstatSync, openSync, write } from 'node:fs';
import { constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { promisify } from 'node:util';

/** Takes bytes. One write at a time. */
export interface Outlet {
  /** How many bytes were taken, which may be fewer. Rejects with EAGAIN when there is no room now, and with what is wrong otherwise. */
  write(bytes: Buffer): Promise<number>;
  /** After the last write has ended. */
  close(): Promise<void>;
}

export interface FileOptions {
  readonly path: string;
  /** Bytes. */
  readonly maxSize: number;
  /** Former files that are kept. */
  readonly maxFiles: number;
}

const MODE = 0o640;
/** How often it is looked whether the path still leads to the file, in milliseconds. */
const LOOK_AGAIN = 1000;

/** A file that grows to maxSize at most, and its predecessors `path.1` to `path.maxFiles`. */
export class RotatingFile implements Outlet {
  readonly #options: FileOptions;
  #file: FileHandle | undefined;
  #inode = 0;
  #size = 0;
  #looked = 0;

  private constructor(options: FileOptions) {
    this.#options = options;
  }

  /** Opens or makes the file; rejects with the system's error. */
  static async open(options: FileOptions): Promise<RotatingFile> {
    const file = new RotatingFile(options);
    await file.#open();
    return file;
  }

  async write(bytes: Buffer): Promise<number> {
    await this.#follow();
    // A chunk is never cut: lines stay whole. One that is larger than a file gets a file of its own.
    if (this.#size > 0 && this.#size + bytes.length > this.#options.maxSize) await this.#rotate();
    const file = this.#file ?? (await this.#open());
    const { bytesWritten } = await file.write(bytes);
    this.#size += bytesWritten;
    return bytesWritten;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #open(): Promise<FileHandle> {
    const { O_APPEND, O_CREAT, O_WRONLY } = constants;
    const file = await open(this.#options.path, O_APPEND | O_CREAT | O_WRONLY, MODE);
    const { size, ino } = await file.stat();
    this.#file = file;
    this.#size = size;
    this.#inode = ino;
    this.#looked = performance.now();
    return file;
  }

  /** Somebody else (logrotate) may have moved or removed the file. */
  async #follow(): Promise<void> {
    if (this.#file === undefined || performance.now() - this.#looked < LOOK_AGAIN) return;
    this.#looked = performance.now();
    const found = await stat(this.#options.path).catch(() => undefined);
    if (found?.ino !== this.#inode) await this.close();
  }

  async #rotate(): Promise<void> {
    const { path, maxFiles } = this.#options;
    await this.close();
    await rm(`${path}.${maxFiles}`, { force: true });
    for (let number = maxFiles - 1; number >= 0; number--) {
      await rename(number === 0 ? path : `${path}.${number}`, `${path}.${number + 1}`).catch(ignoreMissing);
    }
  }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}

/** Native help for sockets: see NativeBinding.sendNow. */
export type SendNow = (fd: number, bytes: Uint8Array) => number;

/** Standard output or standard error, whatever is behind it. */
export function openDescriptor(fd: number, sendNow: SendNow): Outlet {
  const kind = fstatSync(fd);
  if (kind.isSocket()) return new SocketOutlet(fd, sendNow);
  // A file redirected to has an offset that its users share; opened again it would have another one.
  if (kind.isFile()) return new DescriptorOutlet(fd, false);
  try {
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    return new DescriptorOutlet(own, true);
  } catch {
    // Not ours to open: written to as it is, on a thread of Node's pool, which waits then.
    return new DescriptorOutlet(fd, false);
  }
}

const writeTo = promisify(write);

class DescriptorOutlet implements Outlet {
  readonly #fd: number;
  readonly #owned: boolean;

  constructor(fd: number, owned: boolean) {
    this.#fd = fd;
    this.#owned = owned;
  }

  async write(bytes: Buffer): Promise<number> {
    return (await writeTo(this.#fd, bytes)).bytesWritten;
  }

  async close(): Promise<void> {
    if (this.#owned) closeSync(this.#fd);
  }
}

class SocketOutlet implements Outlet {
  readonly #fd: number;
  readonly #sendNow: SendNow;

  constructor(fd: number, sendNow: SendNow) {
    this.#fd = fd;
    this.#sendNow = sendNow;
  }

  async write(bytes: Buffer): Promise<number> {
    const taken = this.#sendNow(this.#fd, bytes);
    if (taken >= 0) return taken;
    const names = Object.entries(osConstants.errno).find(([, number]) => number === -taken);
    throw Object.assign(new Error(`send: errno ${-taken}`), { code: names?.[0] ?? 'EIO' });
  }

  async close(): Promise<void> {}
}
