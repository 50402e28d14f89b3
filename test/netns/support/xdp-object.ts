// An XDP program that is not ours, for the tests that must find one on an interface.
// Thread: the test's process.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChecked } from '../../../src/lab/command.js';

const source = `
__attribute__((section("xdp"), used)) int foreign_pass(void *context) { return 2; }
char license_text[] __attribute__((section("license"), used)) = "GPL";
`;

/** Compiles the program and returns the path of its object file. */
export async function compileForeignXdp(directory: string): Promise<string> {
  const file = join(directory, 'foreign.c');
  const object = join(directory, 'foreign.o');
  writeFileSync(file, source);
  await runChecked(['clang-14', '-O2', '-g', '-target', 'bpf', '-c', file, '-o', object]);
  return object;
}
