// Runs a command line in this process against a daemon, and keeps what it prints.
import { vi } from 'vitest';
import { runCli } from '../../../src/cli/program.js';

export interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function run(...argv: readonly string[]): Promise<Printed> {
  let [out, err] = ['', ''];
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text);
      return true;
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      err += String(text);
      return true;
    }),
  ];
  try {
    const code = await runCli(argv);
    return { code, out, err };
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = undefined;
  }
}

/** Without the blanks that pad columns at the right. */
export function lines(text: string): string[] {
  return text.split('\n').slice(0, -1);
}
