// Replays listings of the recordings whose traffic is over: 08, 09, 10 and the end of 12. Services, servers and connections are read out of
// each listing, listed again and compared byte for byte; commands that make rules are run as they are.
import { describe, expect, it } from 'vitest';
import { NO_TRAFFIC } from '../../src/ipvs/model.js';
import { directorTable, must } from './director.js';
import { connectionsOfListing, readListing } from './listing-text.js';
import { type Block, invocationOf, readRecording } from './recordings.js';
import { replay, SALT } from './replay.js';

const PREFIX = /^ip netns exec d2 /;

/** Blocks of 08 that replay-traffic.test.ts compares with connections of their own. */
const COMPARED_ELSEWHERE = [9, 29, 40, 51, 451, 465, 476];

function isElsewhere({ file, line, section }: Block): boolean {
  return file.startsWith('08') && (COMPARED_ELSEWHERE.includes(line) || section.startsWith('M. '));
}

/** Lists again what was listed. `rules` are commands of the recording so far that made the table; without them the listing makes it. */
function listAgain(block: Block, command: string, rules: readonly string[]): void {
  const words = command.split(' ');
  if (words[1] === '-Lnc' || words[1] === '-Lc') {
    const connections = connectionsOfListing(block.stdout);
    replay(block, directorTable({ salt: SALT, counters: { ...NO_TRAFFIC, connections: () => connections } }), command);
    return;
  }
  const listing = words[1] === '-Ln' ? readListing(block.stdout, words[2] ?? '') : undefined;
  const table = directorTable({ salt: SALT, counters: listing?.counters ?? NO_TRAFFIC });
  // Kinds of tunnels do not stand in every listing.
  const known = words[2] === '--tun-info' || listing === undefined ? rules : listing.rules;
  for (const rule of known) must(table, rule);
  replay(block, table, command);
}

describe.each(['08-persistence-thresholds-sysctls.txt', '09-tcp-udp-sctp-states.txt', '10-packet-notes.txt'])('%s', (file) => {
  const rules: string[] = [];
  for (const block of readRecording(file)) {
    if (invocationOf(block.command) === undefined || isElsewhere(block)) continue;
    const isRule = /^ipvsadm -[Aa] /.test(block.command);
    const before = [...rules];
    if (isRule) rules.push(block.command);
    it(`${block.line}: ${block.command}`, () => {
      if (!isRule) return listAgain(block, block.command, before);
      const table = directorTable({ salt: SALT });
      for (const rule of before) must(table, rule);
      replay(block, table);
    });
  }
});

describe('12, after its connections had ended', () => {
  const blocks = readRecording('12-sync-daemon.txt');
  const end = blocks.findIndex((block) => block.command === 'cat /proc/net/ip_vs_conn_sync');
  const later = blocks.slice(end + 1).filter((block) => block.command.endsWith('-Lnc'));

  it('has two listings', () => expect(later).toHaveLength(2));
  for (const block of later) it(`${block.line}: ${block.command}`, () => listAgain(block, block.command.replace(PREFIX, ''), []));
});
