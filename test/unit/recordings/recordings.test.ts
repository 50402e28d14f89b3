// The check that nothing recorded is left out: it finds a set that is missing, one with other servers, and one with other options.
import { expect, test } from 'vitest';
// @ts-expect-error: a script without types
import { missingSets, readOriginal, readSets } from '../../../scripts/lib/recordings.mjs';

const original = `# comment
== sched=rr  weights=r1:4,r2:3 mode=short  port=8001
2 1 2 1
  -> 10.0.2.11:8001               Masq    4      0          20

== sched=sh -b sh-fallback,sh-port weights=r1:1,r2:1 mode=held (3 VIPs, 30 each) port=8002
1 ERR:ECONNREFUSED 2
`;
const tree = `# comment
set rr none 4,3 short ipv4 8001
2 1
2 1
set sh fallback,port 1,1 held ipv4 8002
1 - 2
`;

test('an original that is in the tree is found complete', () => {
  expect(readOriginal(original)).toHaveLength(2);
  expect(missingSets(readOriginal(original), readSets(tree, 'sequences'))).toEqual([]);
});

test('what is missing or otherwise is told', () => {
  const differs = (changed: string) => missingSets(readOriginal(original), readSets(changed, 'sequences'));
  expect(differs(tree.replace('8002', '8003'))).toEqual(['port 8002 (sh) is missing']);
  expect(differs(tree.replace('1 - 2', '1 2 2'))).toEqual(['port 8002 (sh) has other servers']);
  expect(differs(tree.replace('fallback,port', 'port'))).toEqual([
    'port 8002 is "sh fallback,port 1,1 held" there and "sh port 1,1 held" here',
  ]);
  expect(missingSets(readOriginal('== something else\n1 2'), [])).toEqual(['unreadable: == something else']);
});

test('of a file of mappings the third column is the server', () => {
  const [set] = readSets('set dh none 1,1 held ipv4 8289\n- 10.0.10.1 2\n10.7.0.1 10.0.10.2 -\n', 'mappings');
  expect(set.servers).toEqual(['2', '-']);
});
