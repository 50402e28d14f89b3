// Reading configurations: what a right one becomes, and that no input at all makes the reader fail in an unforeseen way.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { effectiveConfig } from '../../../src/config/effective.js';
import { loadConfig, type ParseResult, parseConfig } from '../../../src/config/load.js';
import { TIMEOUT_PROFILES } from '../../../src/config/timeout-profiles.js';
import { validateConfig } from '../../../src/config/validate.js';
import { ConfigurationError } from '../../../src/errors.js';

const MINIMAL = `
interfaces: [{name: wan}]
localAddresses: [192.0.2.101]
services:
  - {name: web, address: 203.0.113.10, port: 80, protocol: tcp, servers: [{address: 192.0.2.11}]}
`;

function parsed(text: string) {
  const result = parseConfig(text, 'test.yaml');
  if (!('config' in result)) throw new Error(result.problems.map((problem) => problem.reason).join('; '));
  return result.config;
}

test('every key that was left out has its default', () => {
  const config = parsed(MINIMAL);
  expect(config.workers).toBe('auto');
  expect(config.dataplane).toEqual({
    driver: 'af_xdp',
    attachMode: 'auto',
    zeroCopy: 'auto',
    polling: 'adaptive',
    busyPollBudget: 0,
    framesPerWorker: 8192,
    frameSize: 'auto',
    ringSize: 2048,
    hugePages: true,
    seed: '0',
  });
  expect(config.sessions).toEqual({ maxPerWorker: 1_048_576, timeouts: 'ipvs' });
  expect(config.localPorts).toBe('1024-65535');
  expect(config.services[0]).toMatchObject({
    mode: 'fullnat',
    scheduler: 'wrr',
    servers: [{ address: '192.0.2.11', weight: 1 }],
  });
});

test('an anchored mapping may be used again', () => {
  const config = parsed(`
interfaces: [{name: wan}]
localAddresses: [192.0.2.101]
services:
  - {name: a, address: 203.0.113.10, port: 80, protocol: tcp, servers: &pool [{address: 192.0.2.11}]}
  - {name: b, address: 203.0.113.10, port: 81, protocol: tcp, servers: *pool}
`);
  expect(config.services[1]?.servers).toEqual([{ address: '192.0.2.11', weight: 1 }]);
});

test('a mistake behind an alias points at the anchored text', () => {
  const { problems } = parseConfig('a: &x {name: wan, mtuu: 1}\ninterfaces: [*x]\nservices: []\n', 'test.yaml');
  expect(problems.map(({ line, column, reason }) => [line, column, reason])).toEqual([
    [1, 1, 'unknown key "a"'],
    [1, 19, 'unknown key "mtuu"'],
  ]);
});

test('lines that end in CR LF have the same columns', () => {
  const wrong = 'interfaces: [{name: wan}]\nservices: []\nwrokers: 2\n';
  const [problem] = parseConfig(wrong.replaceAll('\n', '\r\n'), 'test.yaml').problems;
  expect(problem).toMatchObject({ line: 3, column: 1, source: 'wrokers: 2', remedy: 'did you mean "workers"?' });
});

test('the effective configuration has every timeout and port, and is itself a right configuration', () => {
  const config = parsed(`${MINIMAL}sessions: {timeouts: {profile: dpvs, tcp: {established: 600}}}\n`);
  const effective = effectiveConfig(config);
  expect(effective.sessions.timeouts).toEqual({
    profile: 'dpvs',
    tcp: { ...TIMEOUT_PROFILES.dpvs.tcp, established: 600 },
    udp: TIMEOUT_PROFILES.dpvs.udp,
    sctp: TIMEOUT_PROFILES.dpvs.sctp,
  });
  expect(effective.services[0]?.servers[0]?.port).toBe(80);
  expect(parsed(stringify(effective))).toEqual(effective);
});

test('a file that does not exist is unreadable, not invalid', async () => {
  await expect(loadConfig('/nonexistent/millrace.yaml')).rejects.toMatchObject({
    code: 'MILLRACE_E_CONFIG_UNREADABLE',
    message: expect.stringContaining('/nonexistent/millrace.yaml cannot be read'),
  });
});

test('an aborted read rejects with the reason of the signal', async () => {
  const reason = new Error('not any more');
  await expect(loadConfig('/dev/null', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test('a file that is not UTF-8 is refused with that reason', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  try {
    const file = join(folder, 'latin1.yaml');
    writeFileSync(file, Buffer.from([0x6e, 0x61, 0xef, 0x76, 0x65]));
    const error: unknown = await loadConfig(file).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as ConfigurationError).problems).toMatchObject([{ file, line: 1, reason: 'the file is not UTF-8 text' }]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an object is checked like a file, with paths instead of lines', () => {
  const base = { interfaces: [{ name: 'wan' }], localAddresses: ['192.0.2.101'] };
  const service = {
    name: 'web',
    address: '203.0.113.10',
    port: 80,
    protocol: 'tcp' as const,
    servers: [{ address: '2001:db8::1' }],
  };
  expect(validateConfig({ ...base, services: [] }).workers).toBe('auto');
  try {
    validateConfig({ ...base, services: [{ ...service, mode: 'nat' }] });
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as ConfigurationError).problems).toMatchObject([
      { path: 'services[0].servers[0].address', line: 0, column: 0 },
    ]);
    expect((error as ConfigurationError).message).toContain('services[0].servers[0].address: server 2001:db8::1 is IPv6');
  }
});

test('an object with something that is not data is refused', () => {
  const odd = { interfaces: [{ name: 'wan' }], services: [], workers: () => 2 } as unknown as Parameters<
    typeof validateConfig
  >[0];
  expect(() => validateConfig(odd)).toThrow('not plain data');
});

test('checking an object does not change it', () => {
  const input = { interfaces: [{ name: 'wan' }], services: [] };
  validateConfig(input);
  expect(input).toEqual({ interfaces: [{ name: 'wan' }], services: [] });
});

test('nesting beyond any reason is refused and not a crash', () => {
  const { problems } = parseConfig(`services: ${'['.repeat(100_000)}`, 'deep.yaml');
  expect(problems.length).toBeGreaterThan(0);
});

test('aliases that multiply are refused and not expanded', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 12; i++) lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`);
  const { problems } = parseConfig(lines.join('\n'), 'bomb.yaml');
  expect(problems.some((problem) => problem.reason.includes('alias'))).toBe(true);
});

function wellFormed(result: ParseResult): void {
  if ('config' in result) {
    expect(result.problems).toEqual([]);
    return;
  }
  expect(result.problems.length).toBeGreaterThan(0);
  for (const { line, column, reason, remedy, length } of result.problems) {
    expect(line).toBeGreaterThanOrEqual(1);
    expect(column).toBeGreaterThanOrEqual(1);
    expect(length).toBeGreaterThanOrEqual(0);
    expect(reason).not.toBe('');
    expect(remedy).not.toBe('');
  }
}

test('any bytes give a configuration or problems', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => wellFormed(parseConfig(bytes, 'f'))));
});

test('any text of YAML punctuation gives a configuration or problems', () => {
  const piece = fc.constantFrom(
    'a',
    '1',
    ':',
    ' ',
    '\n',
    '- ',
    '  ',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&a',
    '*a',
    '!t',
    '"',
    "'",
    '|',
    '>',
    '?',
    '#',
    '\t',
    '---',
    '%',
    '<<',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => wellFormed(parseConfig(pieces.join(''), 'f'))),
    { numRuns: 2000 },
  );
});

test('any value under any known key gives a configuration or problems', () => {
  const word = fc.constantFrom(
    '192.0.2.11',
    '2001:db8::1',
    '0.0.0.0/0',
    'wan',
    'tcp',
    'auto',
    'ipvs',
    '1024-65535',
    '02:00:00:00:00:01',
    '__proto__',
    'web',
  );
  const key = fc.constantFrom(
    ...[
      'workers',
      'cpus',
      'interfaces',
      'dataplane',
      'sessions',
      'timeouts',
      'localAddresses',
      'localPorts',
      'routes',
      'neighbours',
      'services',
    ],
    ...[
      'name',
      'address',
      'port',
      'protocol',
      'servers',
      'weight',
      'mac',
      'mtu',
      'prefix',
      'via',
      'interface',
      'frameSize',
      'ringSize',
      'profile',
    ],
    ...['__proto__', 'constructor', 'toString', 'tcp'],
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { depthSize: 'medium' },
      fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null), fc.double()),
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.array(fc.tuple(key, tie('tree')), { maxLength: 8 }).map((entries) => new Map(entries)),
    ),
  }));
  const top = fc.array(fc.tuple(key, tree), { maxLength: 8 }).map((entries) => new Map(entries));
  fc.assert(
    fc.property(top, (value) => wellFormed(parseConfig(stringify(value), 'f'))),
    { numRuns: 400 },
  );
});

test('JSON is read as JSON, with the result and the problems that YAML has', () => {
  const good = { interfaces: [{ name: 'wan' }], localAddresses: ['192.0.2.101'], services: [] as unknown[] };
  const web = {
    name: 'web',
    address: '203.0.113.10',
    port: 80,
    protocol: 'tcp',
    servers: [{ address: '192.0.2.11', weight: 3 }],
  };
  const written = (value: unknown) => [
    JSON.stringify(value),
    JSON.stringify(value, null, 2),
    ` \n${JSON.stringify(value, null, '\t')}\n`,
  ];
  for (const text of written({ ...good, services: [web] }))
    expect(parsed(text)).toEqual(parsed(stringify({ ...good, services: [web] })));
  const wrong = parseConfig(JSON.stringify({ ...good, services: [{ ...web, port: 'none' }] }, null, 2), 'test.json');
  expect(wrong.problems).toMatchObject([{ file: 'test.json', line: 14, column: 15, path: 'services[0].port' }]);
  const twice = parseConfig('{"interfaces":[{"name":"wan"}],"services":[],"services":[]}', 'test.json');
  expect(twice.problems).toMatchObject([{ line: 1, column: 46, reason: 'key "services" stands here twice' }]);
});
