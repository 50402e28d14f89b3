// What a command prints, caught for the tests of a file.
import { afterEach, beforeEach, vi } from 'vitest';

/** Both streams of the test that runs; empty at its beginning. Also puts back the exit code that a command sets. */
export function catchOutput(): { out: string; err: string } {
  const caught = { out: '', err: '' };
  beforeEach(() => {
    caught.out = '';
    caught.err = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      caught.out += String(text);
      return true;
    });
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      caught.err += String(text);
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  });
  return caught;
}
