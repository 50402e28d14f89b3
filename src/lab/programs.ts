// Finds the lab's small programs, which run as processes of their own inside a namespace.
// Guarantees: works from the compiled tree and from the TypeScript sources next to it (tests run those), always naming compiled files.
// Thread: any; no state.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LabError } from './lab-error.js';

export type LabProgramName = 'udp-echo' | 'udp-client' | 'udp-refused' | 'upload-server' | 'steer-main';

function compiled(path: string): string {
  const beside = fileURLToPath(new URL(`../${path}`, import.meta.url));
  const built = fileURLToPath(new URL(`../../dist/${path}`, import.meta.url));
  const found = [beside, built].find(existsSync);
  if (found === undefined) throw new LabError(`${built} does not exist`, 'run "npm run build" first');
  return found;
}

/** The command line that starts a program of the lab. */
export function labProgram(name: LabProgramName): string[] {
  return [process.execPath, compiled(`lab/${name}.js`)];
}

/** The command line that starts `millrace`. */
export function millraceProgram(): string[] {
  return [process.execPath, compiled('cli/main.js')];
}
