// Two nodes with a real keepalived each: the VIP is where MASTER is, and moves within 4 seconds, whatever ends the other node.
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireJail } from './support/lab-fixture.js';
import { type Node, Pair } from './support/pair.js';

const missing = !existsSync('/usr/sbin/keepalived');
const patience = { timeout: 60_000, interval: 50 };
const mostMilliseconds = 4_000;

describe.skipIf(missing)(missing ? 'two nodes (skipped: there is no keepalived)' : 'two nodes', () => {
  let pair: Pair;
  beforeAll(async () => {
    requireJail();
    pair = await Pair.start();
  }, 120_000);
  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  /** Waits until the client has its answers from a node. */
  async function servedBy(node: Node): Promise<void> {
    const mac = await pair.mac(node);
    await expect.poll(() => pair.neighbour(), patience).toBe(mac);
    pair.forget();
    await expect.poll(() => pair.answered, patience).toBeGreaterThan(20);
  }

  /** The longest time without an answer while the VIP moves. */
  async function moved(to: Node, cause: () => void | Promise<void>): Promise<void> {
    pair.forget();
    await cause();
    const mac = await pair.mac(to);
    await expect.poll(() => pair.neighbour(), patience).toBe(mac);
    const before = pair.answered;
    await expect.poll(() => pair.answered, patience).toBeGreaterThan(before + 20);
    const gap = Math.round(pair.longestGap);
    process.stdout.write(`failover to ${to}: ${gap} ms without an answer\n`);
    expect(gap).toBeLessThan(mostMilliseconds);
  }

  test('the node of higher priority answers', () => servedBy('a'));
  test('keepalived is stopped: the other node answers', () => moved('b', () => pair.stopKeepalived('a')));
  test('keepalived is started: the first one answers again', () => moved('a', () => pair.startKeepalived('a')));
  test('the cable is pulled: the other node answers', () => moved('b', () => pair.link('a', 'down')));
  test('the cable is back: the first one answers again', () => moved('a', () => pair.link('a', 'up')));
});
