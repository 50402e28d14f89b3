// The Debian package, installed by dpkg on a copy of this system (an overlay over /, in a mount namespace of its own), with no Node.js
// beside the bundled one: it works, keeps the administrator's file, and goes without a trace.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { run, runChecked } from '../../src/lab/command.js';
import { requireJail } from '../netns/support/lab-fixture.js';

const builder = fileURLToPath(new URL('../../packaging/deb/build.mjs', import.meta.url));
const full = process.env['MILLRACE_FULL'] === '1';

let system = '';
let deb = '';

/** On the copy, with the environment of an administrator who has nothing of ours. */
function inside(...argv: readonly string[]) {
  const path = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';
  return run(['chroot', system, 'env', '-i', path, 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C', ...argv], { timeout: 120_000 });
}

async function succeed(...argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await inside(...argv);
  expect({ argv, code, stderr: code === 0 ? '' : stderr }).toEqual({ argv, code: 0, stderr: '' });
  return stdout;
}

const there = (path: string) => existsSync(join(system, path));

beforeAll(async () => {
  requireJail();
  const directory = mkdtempSync('/run/millrace-deb-');
  const built = await runChecked([process.execPath, builder, '--out', directory, ...(full ? [] : ['--fast'])], {
    timeout: 900_000,
  });
  deb = built.trim().split('\n').at(-1) ?? '';
  for (const name of ['upper', 'work', 'system']) mkdirSync(join(directory, name));
  system = join(directory, 'system');
  const layers = `lowerdir=/,upperdir=${join(directory, 'upper')},workdir=${join(directory, 'work')}`;
  await runChecked(['mount', '-t', 'overlay', 'overlay', '-o', layers, system]);
  for (const name of ['proc', 'dev', 'sys']) await runChecked(['mount', '--rbind', `/${name}`, join(system, name)]);
  mkdirSync(join(system, 'tmp'), { recursive: true });
  await runChecked(['cp', deb, join(system, 'tmp', 'millrace.deb')]);
  for (const name of ['node', 'nodejs', 'npm']) rmSync(join(system, 'usr/bin', name), { force: true });
}, 900_000);

test('it installs, and runs on its own Node.js', async () => {
  await succeed('dpkg', '-i', '/tmp/millrace.deb');
  expect((await inside('sh', '-c', 'command -v node')).code).not.toBe(0);
  const versions = JSON.parse(await succeed('millrace', 'version', '--json'));
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(versions).toMatchObject({ millrace: version, node: process.versions.node });
  expect(versions.addon).toBe(version);
});

test('the example passes its check, and the other program is there', async () => {
  expect(await succeed('millrace', 'check', '/etc/millrace/millrace.yaml')).toContain('1 service, 2 servers');
  const help = await inside('millrace-realserver', '--help');
  expect(help.stdout + help.stderr).toContain('client-address');
});

test('user and group are there, the unit is where systemd looks', async () => {
  const fields = (await succeed('getent', 'passwd', 'millrace')).trim().split(':');
  expect(fields.slice(5)).toEqual(['/var/lib/millrace', '/usr/sbin/nologin']);
  expect(await succeed('getent', 'group', 'millrace')).toMatch(/^millrace:/);
  expect(there('lib/systemd/system/millrace.service')).toBe(true);
  expect(there('etc/systemd/system/multi-user.target.wants/millrace.service')).toBe(false);
});

test('the copyright names Node.js by its hash', async () => {
  const text = readFileSync(join(system, 'usr/share/doc/millrace/copyright'), 'utf8');
  const [hash = ''] = (await succeed('sha256sum', '/usr/lib/millrace/node')).split(' ');
  expect(text).toContain(process.version);
  expect(text).toContain(hash);
  expect(await succeed('zcat', '/usr/share/doc/millrace/LICENSE.node.gz')).toContain('Node.js');
});

test('installed again it keeps a file that was edited, and removed, too', async () => {
  await succeed('sh', '-c', 'echo "# mine" >> /etc/millrace/millrace.yaml');
  await succeed('dpkg', '-i', '/tmp/millrace.deb');
  await succeed('dpkg', '-r', 'millrace');
  expect(readFileSync(join(system, 'etc/millrace/millrace.yaml'), 'utf8')).toContain('# mine');
  expect(there('usr/bin/millrace')).toBe(false);
  expect(there('usr/lib/millrace')).toBe(false);
});

test('after a purge nothing is left', async () => {
  await succeed('sh', '-c', 'mkdir -p /var/lib/millrace && echo state > /var/lib/millrace/state.json');
  await succeed('dpkg', '-P', 'millrace');
  expect(['etc/millrace', 'var/lib/millrace', 'usr/share/doc/millrace'].filter(there)).toEqual([]);
  expect((await inside('getent', 'passwd', 'millrace')).code).toBe(2);
  expect((await inside('getent', 'group', 'millrace')).code).toBe(2);
  expect((await inside('dpkg', '-s', 'millrace')).code).not.toBe(0);
});

test.skipIf(!full)('lintian finds no error beyond those of packaging/deb/lintian-overrides', { timeout: 600_000 }, async () => {
  const { code, stdout, stderr } = await run(['lintian', '--no-cfg', '--fail-on', 'error', deb], { timeout: 600_000 });
  expect(stdout.split('\n').filter((line) => line.startsWith('E:'))).toEqual([]);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
});
