// Runs one recorded command against a table and compares it byte for byte, unless differences.ts says otherwise.
// With MILLRACE_IPVSADM_RESULTS=FILE it also writes one line of JSON per command there, which scripts/test-ipvsadm.mjs counts.
// Guarantees: a difference that no longer exists fails, so the list cannot grow old.
// Thread: any.
import { appendFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Unavailable } from '../../src/ipvs/messages.js';
import type { IpvsTable } from '../../src/ipvs/table.js';
import { DIFFERENCES } from './differences.js';
import { type Outcome, run } from './director.js';
import { type Block, invocationOf } from './recordings.js';

/**
 * The eight bits that place services in buckets on the recorded machine: the only value of 256 that gives the order of 01, and right for
 * 03 and 04.
 */
export const SALT = 160;

function recorded(block: Block): Outcome {
  return { exitCode: block.exitCode ?? 0, stdout: block.stdout, stderr: block.stderr };
}

/** Why the recorded command had no table. */
function unavailable(block: Block): Unavailable | undefined {
  if (block.section === 'module absent') return 'ENOPROTOOPT';
  return invocationOf(block.command)?.unprivileged === true ? 'EPERM' : undefined;
}

/** Says what became of a command; the verdict "differs" is replaced by a later one of the same place. */
export function note(
  block: Pick<Block, 'file' | 'line' | 'command'>,
  verdict: 'equal' | 'deliberate' | 'differs',
  reason = '',
): void {
  const file = process.env['MILLRACE_IPVSADM_RESULTS'];
  if (file === undefined) return;
  appendFileSync(file, `${JSON.stringify({ file: block.file, line: block.line, command: block.command, verdict, reason })}\n`);
}

/** Replays a block of a command that runs ipvsadm; `command` is without a prefix that chose a namespace. */
export function replay(block: Block, table: IpvsTable, command = block.command): void {
  const where = `${block.file}:${block.line} ${block.command}`;
  const invocation = invocationOf(command);
  if (invocation === undefined) throw new Error(`${where}: not an ipvsadm command`);
  const found = run(unavailable(block) ?? table, invocation.argv);
  const outcome = invocation.closedStdout ? { ...found, stdout: '' } : found;
  const difference = DIFFERENCES.find(({ file, line }) => file === block.file && line === block.line);
  note(block, 'differs');
  if (difference === undefined) {
    expect(outcome, where).toEqual(recorded(block));
    note(block, 'equal');
  } else {
    expect(difference.command, where).toBe(block.command);
    expect(outcome.stderr, where).not.toBe(block.stderr);
    expect(outcome, where).toEqual({ ...recorded(block), stderr: difference.stderr });
    note(block, 'deliberate', difference.reason);
  }
}
