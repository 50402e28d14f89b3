// What the tests of the forwarding modes found, for the table that `npm run test:modes` prints.
// Guarantees: a row per mode, families and protocol, in the order in which the tests ran; only what a test has shown is in it.
// Thread: the test's process.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

export interface ModeRow {
  readonly mode: string;
  /** Family of the client, family of the server: "64" is an IPv6 client with an IPv4 server. */
  readonly families: string;
  readonly protocol: string;
  readonly checks: Record<string, string>;
}

const file = process.env['MILLRACE_MODES_FILE'];
// The test files follow each other, each in a process of its own.
const rows: ModeRow[] = file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];

/** Notes a figure of a check that held. */
export function record(mode: string, families: string, protocol: string, check: string, figure: string): void {
  let row = rows.find((one) => one.mode === mode && one.families === families && one.protocol === protocol);
  if (row === undefined) {
    row = { mode, families, protocol, checks: {} };
    rows.push(row);
  }
  row.checks[check] = figure;
  if (file !== undefined) writeFileSync(file, JSON.stringify(rows, null, 1));
}
