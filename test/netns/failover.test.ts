// Two nodes with a real keepalived each: the VIP is where MASTER is, and moves within 4 seconds, whatever ends the other node.
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { requireJail } from './support/lab-fixture.js';
import { Pair } from './support/pair.js';

const missing = !existsSync('/usr/sbin/keepalived');
const patience = { timeout: 60_000, interval: 50 };
const mostMilliseconds = 4_000;

describe.skipIf(missing)(missing ? 'two nodes (skipped: there is no keepalived)' : 'two nodes', () => {
  let pair: Pair;
  beforeEach(async () => {
    requireJail();
    pair = await Pair.start();
    // The node of higher priority is MASTER first.
    const mac = await pair.mac('a');
    await expect.poll(() => pair.neighbour(), patience).toBe(mac);
    await expect.poll(() => pair.answered, patience).toBeGreaterThan(20);
  }, 180_000);
  afterEach(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  test.each([
    ['keepalived is stopped', () => pair.stopKeepalived('a')],
    ['the cable is pulled', () => pair.unplug('a')],
  ])('%s: the other node answers', async (what, cause) => {
    const mac = await pair.mac('b');
    pair.forget();
    await cause();
    await expect.poll(() => pair.neighbour(), patience).toBe(mac);
    const before = pair.answered;
    await expect.poll(() => pair.answered, patience).toBeGreaterThan(before + 20);
    const gap = Math.round(pair.longestGap);
    process.stdout.write(`${what}: ${gap} ms without an answer\n`);
    expect(gap).toBeLessThan(mostMilliseconds);
  });
});
