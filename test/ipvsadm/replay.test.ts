// Replays 01 and 04 of the recordings of a live IPVS, which need no traffic: every ipvsadm command, standard output, standard error and exit
// status byte for byte, and the table in /proc/net/ip_vs after every change.
import { describe, expect, it } from 'vitest';
import { procConnections, procTable } from '../../src/ipvs/print-proc.js';
import type { IpvsTable } from '../../src/ipvs/table.js';
import { DIFFERENCES } from './differences.js';
import { directorTable, must } from './director.js';
import { invocationOf, readRecording } from './recordings.js';
import { replay, SALT } from './replay.js';

describe('01 listings', () => {
  const table = directorTable({ salt: SALT });
  const files: Record<string, (table: IpvsTable) => string> = {
    'cat /proc/net/ip_vs': procTable,
    'cat /proc/net/ip_vs_conn': procConnections,
  };
  for (const block of readRecording('01-listings-before-traffic.txt')) {
    const show = files[block.command];
    if (show !== undefined) it(block.command, () => expect(show(table)).toBe(block.stdout));
    else if (invocationOf(block.command) !== undefined) it(`${block.line}: ${block.command}`, () => replay(block, table));
  }
});

describe('04 errors', () => {
  const BASE = [
    'ipvsadm -A -t 10.0.9.1:80 -s rr',
    'ipvsadm -a -t 10.0.9.1:80 -r 10.0.2.11:80 -m',
    'ipvsadm -A -u 10.0.9.1:53 -s rr',
    'ipvsadm -A -t [fd00:9::1]:80 -s rr',
    'ipvsadm -A -f 5 -s rr',
    'ipvsadm -a -f 5 -r 10.0.2.11 -g',
  ];
  /** Their outcome shows that a master ran, though no command of the recording had started it. */
  const NEEDS_MASTER = ['ipvsadm --stop-daemon master', 'ipvsadm --start-daemon master --mcast-interface dr --syncid 1'];
  const base = () => {
    const table = directorTable({ salt: SALT });
    for (const line of BASE) must(table, line);
    return table;
  };
  let table = base();
  const blocks = readRecording('04-errors.txt');
  const [rules, rest] = [blocks.slice(0, 3), blocks.slice(3)];

  it('records the commands of its own base rules', () => {
    const own = directorTable({ salt: SALT });
    for (const rule of BASE) {
      const block = rules.find(({ command }) => command === rule);
      if (block === undefined) must(own, rule);
      else replay(block, own);
    }
    expect(rules.map(({ command }) => command).filter((command) => !BASE.includes(command))).toEqual([]);
    expect(own.services()).toEqual(table.services());
  });
  for (const block of rest) {
    it(`${block.line}: ${block.command}`, () => {
      if (NEEDS_MASTER.includes(block.command) && table.daemons().length === 0)
        must(table, 'ipvsadm --start-daemon master --mcast-interface dr');
      const before = procTable(table);
      replay(block, table);
      const changed = /^### rules changed, now:\n([\s\S]*?)\n+(?:# .*)?\n*$/.exec(block.after.trimStart())?.[1];
      expect(procTable(table), block.command).toBe(changed === undefined ? before : `${changed}\n`);
      if (changed !== undefined) table = base();
    });
  }
});

it('every difference is of a recorded command', () => {
  for (const { file, line, command } of DIFFERENCES)
    expect(readRecording(file).find((block) => block.line === line)?.command).toBe(command);
});
