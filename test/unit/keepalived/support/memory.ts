// Reads keepalived.conf from texts in memory.
import { basename, dirname } from 'node:path';
import type { FileAccess } from '../../../../src/keepalived/glob.js';
import { type KeepalivedFile, loadKeepalived } from '../../../../src/keepalived/load.js';

export const MAIN = '/etc/keepalived/keepalived.conf';

/** A file system of these files; whatever else is asked for does not exist. */
export function memory(files: Readonly<Record<string, string>>): FileAccess {
  const missing = (path: string) =>
    Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' });
  return {
    read: (path) => {
      const text = files[path];
      if (text === undefined) throw missing(path);
      return text;
    },
    list: (folder) => {
      const names = Object.keys(files).filter((path) => dirname(path) === folder);
      if (names.length === 0) throw missing(folder);
      return names.map((path) => basename(path));
    },
  };
}

/** Reads a text as the main file, with others beside it. */
export function load(
  text: string,
  options: { configId?: string; files?: Readonly<Record<string, string>> } = {},
): KeepalivedFile {
  const { files, ...rest } = options;
  return loadKeepalived(MAIN, { ...rest, files: memory({ [MAIN]: text, ...files }) });
}

/** Reports in short: `line:column kind reason`. */
export function short(file: KeepalivedFile, kinds?: readonly string[]): string[] {
  return file.reports
    .filter((report) => kinds === undefined || kinds.includes(report.kind))
    .map(({ line, column, kind, reason }) => `${line}:${column} ${kind} ${reason}`);
}

/** A virtual server with these lines, its real server with those, a check with further ones. */
export function server(virtual: string, real = '', check = 'TCP_CHECK {\n}'): string {
  const head = 'virtual_server 192.0.2.1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP';
  return `${head}\n${virtual}\nreal_server 10.0.0.1 80 {\n${real}\n${check}\n}\n}`;
}
