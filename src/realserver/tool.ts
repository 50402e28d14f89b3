// Runs millrace-realserver, the static program that lets a real server's sockets see clients behind full NAT (native/realserver/tool). It
// does the work; this finds it and passes on what it says.
// Guarantees: its words and its exit code come through unchanged; a package without it says how to build it.
// Thread: main.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createError } from '../errors.js';

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type RunTool = (words: readonly string[]) => ToolResult;

/** The program of this package: beside the addon, where it was built or shipped. */
export function findTool(exists: (file: string) => boolean = existsSync): string {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const places = [
    join(root, 'build', 'Release', 'millrace-realserver'),
    join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'millrace-realserver'),
  ];
  const found = places.find(exists);
  if (found === undefined) {
    throw createError(
      'MILLRACE_E_NATIVE_MISSING',
      `millrace-realserver is not in this package (looked at ${places.join(' and ')})`,
    );
  }
  return found;
}

export const runTool: RunTool = (words) => {
  const result = spawnSync(findTool(), words, { encoding: 'utf8' });
  if (result.error !== undefined) {
    throw createError('MILLRACE_E_COMMAND_FAILED', `millrace-realserver cannot be run: ${result.error.message}`, {
      cause: result.error,
    });
  }
  return { code: result.status ?? 1, stdout: result.stdout, stderr: result.stderr };
};

export interface ToolStatus {
  readonly prepared: boolean;
  readonly inPlace?: boolean;
  readonly interfaces?: readonly string[];
  readonly from?: readonly string[];
  readonly kinds?: readonly string[];
  readonly cgroup?: string;
  readonly counters?: Readonly<Record<string, number>>;
}

/** What is in place of it; nothing prepared where the package has no tool. */
export function toolStatus(run: RunTool = runTool): ToolStatus {
  try {
    return JSON.parse(run(['status', '--json']).stdout) as ToolStatus;
  } catch {
    return { prepared: false };
  }
}

/** Lines for `millrace realserver status`; none where nothing is prepared. */
export function renderToolStatus(status: ToolStatus): string {
  if (!status.prepared) return '';
  const list = (words: readonly string[] | undefined) => (words === undefined || words.length === 0 ? 'none' : words.join(', '));
  const counters = Object.entries(status.counters ?? {}).map(([name, value]) => `  ${String(value).padStart(12)}  ${name}`);
  return [
    `client-address: ${status.inPlace ? 'in place' : 'NOT in place; run it again'}`,
    `  processes of ${status.cgroup ?? '?'} see clients; balancers ${list(status.from)}; UDP by ${list(status.interfaces)}`,
    ...counters,
    '',
  ].join('\n');
}
