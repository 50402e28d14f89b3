// Where the daemon is, from options and environment; and a daemon behind TLS with a token.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApiClient } from '../../../src/client/client.js';
import { resolveTarget, type TargetWords } from '../../../src/client/target.js';
import { MillraceError } from '../../../src/errors.js';
import { FakeDaemon } from './support/fake-daemon.js';

const directory = mkdtempSync(join(tmpdir(), 'millrace-target-'));
const file = (name: string): string => join(directory, name);

beforeAll(() => {
  writeFileSync(file('token'), 'secret-1\n');
  writeFileSync(file('two'), 'secret 1\n');
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', file('key.pem'), '-out', file('cert.pem')], {
    stdio: 'ignore',
  });
});
afterAll(() => rmSync(directory, { recursive: true }));

test.each<[TargetWords, NodeJS.ProcessEnv, string]>([
  [{}, {}, '/run/millrace/api.sock'],
  [{}, { MILLRACE_SOCKET: '' }, '/run/millrace/api.sock'],
  [{}, { MILLRACE_SOCKET: '/tmp/a' }, '/tmp/a'],
  [{ socket: '/tmp/b' }, { MILLRACE_SOCKET: '/tmp/a' }, '/tmp/b'],
])('%j with %j is the socket %s', (words, environment, socket) => {
  expect(resolveTarget(words, environment)).toEqual({ socket });
});

test('a URL wins over MILLRACE_SOCKET', () => {
  expect(resolveTarget({ url: 'https://lb:8443', tokenFile: file('token') }, { MILLRACE_SOCKET: '/tmp/a' })).toEqual({
    url: new URL('https://lb:8443'),
    token: 'secret-1',
  });
});

test.each<[TargetWords, string, string]>([
  [{ socket: '/a', url: 'https://lb' }, 'MILLRACE_E_USAGE', 'two daemons'],
  [{ tokenFile: '/a' }, 'MILLRACE_E_USAGE', '--token-file is for --url'],
  [{ ca: '/a' }, 'MILLRACE_E_USAGE', '--ca is for --url'],
  [{ url: 'http://lb' }, 'MILLRACE_E_USAGE', 'no https URL'],
  [{ url: 'lb:8443' }, 'MILLRACE_E_USAGE', 'no https URL'],
  [{ url: 'https://me:pw@lb' }, 'MILLRACE_E_USAGE', 'more than a host'],
  [{ url: 'https://lb', tokenFile: '/nonexistent' }, 'MILLRACE_E_INPUT_INVALID', '/nonexistent cannot be read'],
  [{ url: 'https://lb', tokenFile: file('two') }, 'MILLRACE_E_INPUT_INVALID', 'does not hold one token'],
  [{ url: 'https://lb', ca: '/nonexistent' }, 'MILLRACE_E_INPUT_INVALID', '--ca /nonexistent cannot be read'],
])('%j is refused', (words, code, message) => {
  expect.assertions(2);
  try {
    resolveTarget(words, {});
  } catch (error) {
    expect(error).toBeInstanceOf(MillraceError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  }
});

test('over TLS: the token is sent, a wrong one refused, an unknown certificate not believed', async () => {
  await using daemon = new FakeDaemon();
  daemon.token = 'secret-1';
  const url = await daemon.startTls(readFileSync(file('key.pem'), 'utf8'), readFileSync(file('cert.pem'), 'utf8'));
  const known = resolveTarget({ url: `${url}/`, tokenFile: file('token'), ca: file('cert.pem') }, {});
  expect((await new ApiClient(known).call('status')).pid).toBe(4711);

  const nameless = resolveTarget({ url, ca: file('cert.pem') }, {});
  await expect(new ApiClient(nameless).call('status')).rejects.toMatchObject({ code: 'MILLRACE_E_PERMISSION_DENIED' });

  const stranger = resolveTarget({ url, tokenFile: file('token') }, {});
  await expect(new ApiClient(stranger).call('status')).rejects.toMatchObject({
    code: 'MILLRACE_E_NO_DAEMON',
    remedy: expect.stringContaining('--ca'),
  });
  const elsewhere = resolveTarget({ url: url.replace('localhost', '127.0.0.1'), ca: file('cert.pem') }, {});
  await expect(new ApiClient(elsewhere).call('status')).rejects.toMatchObject({ code: 'MILLRACE_E_NO_DAEMON' });
});
