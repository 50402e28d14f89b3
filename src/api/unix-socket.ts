// The unix socket of the API: its place in the file system, and who may open it.
// Guarantees: a socket that nobody serves is replaced; one that a process serves, and a file that is no socket, are left alone; nobody can
// open the socket before it has its group and mode.
// Thread: main; changes the process's umask for one synchronous call.
import { execFile } from 'node:child_process';
import { chmod, chown, lstat, mkdir, readFile, unlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type ApiConfig, DEFAULT_API_MODE } from '../config/schema-api.js';
import { createError } from '../errors.js';
import { reasonOf, unavailable } from './credentials.js';

/**
 * Lets the server listen at the path.
 * @throws MILLRACE_E_API_SOCKET_IN_USE, MILLRACE_E_API_UNAVAILABLE
 */
export async function listenOnSocket(server: Server, config: Pick<ApiConfig, 'socket' | 'mode' | 'group'>): Promise<void> {
  const { socket: path, mode = DEFAULT_API_MODE, group } = config;
  const gid = group === undefined ? undefined : await groupId(group);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await makeRoom(path);
    await listening(server, () => {
      const before = process.umask(0o777);
      try {
        // Binds before it returns.
        server.listen({ path });
      } finally {
        process.umask(before);
      }
    });
  } catch (error) {
    throw failureAt(path, error);
  }
  try {
    // -1 leaves the owner.
    if (gid !== undefined) await chown(path, -1, gid);
    await chmod(path, Number.parseInt(mode, 8));
  } catch (error) {
    server.close();
    throw failureAt(path, error);
  }
}

/** Resolves when the server listens, rejects when it cannot. */
export function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    listen();
  });
}

export function failureAt(place: string, error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    return createError('MILLRACE_E_API_SOCKET_IN_USE', `${place} is served by another process`, { cause: error });
  }
  return code === undefined ? error : unavailable(`the API cannot be served at ${place}: ${reasonOf(error)}`, error);
}

function codeOf(error: unknown): string | undefined {
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

async function makeRoom(path: string): Promise<void> {
  try {
    const found = await lstat(path);
    if (!found.isSocket())
      throw unavailable(`${path} is there and is no socket`, undefined, 'Remove it, or choose another path.');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (await isServed(path)) {
    throw createError('MILLRACE_E_API_SOCKET_IN_USE', `${path} is served by another process`);
  }
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
}

/** Only a refused connection says that nobody listens: a full queue or a missing permission is somebody's. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error) ?? '')));
  });
}

/** Number of a group by name (group(5), then whatever the system's name services know) or number. @throws MILLRACE_E_API_UNAVAILABLE */
export async function groupId(group: string): Promise<number> {
  if (/^[0-9]{1,9}$/.test(group)) return Number(group);
  const local = idOf(group, await readFile('/etc/group', 'utf8').catch(() => ''));
  if (local !== undefined) return local;
  const { stdout } = await promisify(execFile)('getent', ['group', '--', group]).catch(() => ({ stdout: '' }));
  const found = idOf(group, stdout);
  if (found !== undefined) return found;
  throw unavailable(
    `there is no group "${group}" (api.group)`,
    undefined,
    `Create it with \`groupadd --system ${group}\`, or name another.`,
  );
}

/** Exported for its tests. */
export function idOf(group: string, lines: string): number | undefined {
  for (const line of lines.split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id !== undefined && /^[0-9]+$/.test(id)) return Number(id);
  }
  return undefined;
}
