// What all end-to-end tests share: a lab per file, sizes for the short and the full form, and the rule that they run only where the
// kernel cleans up after them.
// Thread: the test's process; everything else is a process of its own.
import { afterAll, beforeAll } from 'vitest';
import { Lab, type LabOptions } from '../../../src/lab/lab.js';

/** `npm run test:netns -- --full` sets this: the sizes that a release is judged by. */
export const full = process.env['MILLRACE_FULL'] === '1';

/** A lab for the tests of a file, made before the first and removed after the last. */
export function useLab(options: LabOptions = {}): () => Lab {
  let lab: Lab | undefined;
  beforeAll(async () => {
    requireJail();
    lab = await Lab.start(options);
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
  });
  return () => {
    if (lab === undefined) throw new Error('the lab is used before it is made');
    return lab;
  };
}

/** Outside of their own namespaces these tests would leave interfaces and processes behind when they are killed. */
export function requireJail(): void {
  if (process.env['MILLRACE_JAIL'] === undefined) throw new Error('start end-to-end tests with "npm run test:netns"');
}
