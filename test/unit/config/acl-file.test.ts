// Access list files: what they say, and their mistakes with file, line and column.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { parseAclFile } from '../../../src/config/acl-file.js';
import { loadConfig } from '../../../src/config/load.js';
import { validateConfig } from '../../../src/config/validate.js';

const folder = mkdtempSync(join(tmpdir(), 'millrace-acl-'));
afterAll(() => rmSync(folder, { recursive: true }));

const config = (acl: string) => `
interfaces: [{ name: wan }]
localAddresses: [192.0.2.101]
services:
  - name: web
    address: 203.0.113.10
    port: 80
    protocol: tcp
    acl: ${acl}
    servers: [{ address: 192.0.2.11 }]
`;

test('a file beside the configuration adds its prefixes, in canonical form', async () => {
  writeFileSync(join(folder, 'list'), '# offices\nallow 198.51.100.0/24  # one\n\n  deny\t2001:0db8::/32\r\n');
  writeFileSync(join(folder, 'good.yaml'), config('{ file: list, deny: [10.0.0.0/8] }'));
  const { services } = await loadConfig(join(folder, 'good.yaml'));
  expect(services[0]?.acl).toEqual({ allow: ['198.51.100.0/24'], deny: ['10.0.0.0/8', '2001:db8::/32'] });
  expect(validateConfig({ interfaces: [{ name: 'wan' }], localAddresses: ['192.0.2.101'], services }).services).toEqual(services);
});

test('every mistake of a file is reported with file, line and column', async () => {
  const lines = ['allow', 'permit 10.0.0.0/8', 'deny 10.0.0.1/8', 'deny 10.0.0.0/8 now', 'allow 10.0.0.0/33', 'deny 10.0.0.0/8'];
  writeFileSync(join(folder, 'wrong'), lines.join('\n'));
  writeFileSync(join(folder, 'bad.yaml'), config('{ file: wrong, allow: [10.0.0.0/8] }'));
  await expect(loadConfig(join(folder, 'bad.yaml'))).rejects.toMatchObject({
    code: 'MILLRACE_E_CONFIG_INVALID',
    problems: [
      { file: join(folder, 'wrong'), line: 1, column: 1, reason: 'no prefix after allow', source: 'allow' },
      { line: 2, column: 1, reason: 'expected allow or deny, found "permit"' },
      { line: 3, column: 6, reason: '10.0.0.1/8 is not a network: bits after the first 8 are set', remedy: 'write 10.0.0.0/8' },
      { line: 4, column: 17, reason: '"now" stands after the prefix' },
      { line: 5, column: 7, reason: 'expected a prefix such as 192.0.2.0/24, found "10.0.0.0/33"' },
      { line: 6, column: 6, reason: 'prefix 10.0.0.0/8 is there already (in the configuration)' },
    ],
  });
});

test('a file that is not there is named together with the service', async () => {
  writeFileSync(join(folder, 'missing.yaml'), config('{ file: nowhere }'));
  await expect(loadConfig(join(folder, 'missing.yaml'))).rejects.toMatchObject({
    code: 'MILLRACE_E_CONFIG_UNREADABLE',
    message: expect.stringContaining('access list of service "web"'),
  });
});

test('an object cannot name a file', () => {
  const service = { name: 'web', address: '203.0.113.10', port: 80, protocol: 'tcp' as const, servers: [] };
  expect(() => validateConfig({ interfaces: [{ name: 'wan' }], services: [{ ...service, acl: { file: 'list' } }] })).toThrow(
    'read together with a configuration file',
  );
});

test('any text is read or explained, and what is read is a prefix', () => {
  const word = fc.constantFrom(
    'allow',
    'deny',
    '10.0.0.0/8',
    '10.0.0.0/9',
    '::/0',
    '2001:db8::/32',
    '#',
    'x',
    ' ',
    '\t',
    '\n',
    '\r\n',
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), (words) => {
      const text = words.join(' ');
      const { allow, deny, problems } = parseAclFile(text, 'list');
      const said = text.split('\n').filter((line) => line.replace(/#.*$/, '').trim() !== '').length;
      expect(allow.length + deny.length + problems.length).toBe(said);
      expect(new Set([...allow, ...deny]).size).toBe(allow.length + deny.length);
    }),
  );
});
