// `millrace import` from the outside: what is written where, and the exit code.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/program.js';
import { catchOutput } from './support/output.js';

let folder = '';
const caught = catchOutput();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-import-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const service =
  'virtual_server 192.0.2.1 80 {\n  lvs_sched rr\n  lvs_method NAT\n  protocol TCP\n  real_server 10.0.0.1 80 {\n    TCP_CHECK {\n    }\n  }\n}\n';
const vrrp = 'vrrp_instance VI_1 {\n  interface eth7\n  virtual_router_id 51\n  virtual_ipaddress {\n    198.51.100.1\n  }\n}\n';

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test('the configuration is written and passes check; the rest is a keepalived.conf without load balancing', async () => {
  const conf = write('keepalived.conf', vrrp + service);
  const [yaml, rest] = [join(folder, 'millrace.yaml'), join(folder, 'rest.conf')];
  expect(await runCli(['import', conf, '--interface', 'eth0', 'eth1', '--out', yaml, '--remainder', rest, '--strict'])).toBe(0);
  expect(caught.out).toBe('');
  expect(caught.err).toBe('1 service; 0 reports, 0 notes\n');
  expect(readFileSync(yaml, 'utf8')).toContain(`  # ${conf}:8: virtual_server 192.0.2.1 80\n  - name: tcp-192.0.2.1-80\n`);
  expect(readFileSync(rest, 'utf8')).toContain('vrrp_instance VI_1');
  expect(readFileSync(rest, 'utf8')).not.toContain('virtual_server');
  expect(await runCli(['check', yaml])).toBe(0);
});

test('what has no counterpart is shown like an error of a compiler; only --strict makes it one', async () => {
  const conf = write('keepalived.conf', service.replace('protocol TCP', 'protocol TCP\n  smtp_alert'));
  expect(await runCli(['import', conf, '--interface', 'eth0'])).toBe(0);
  expect(caught.out).toContain('name: tcp-192.0.2.1-80');
  expect(caught.err).toContain(
    `unsupported ${conf}:5:3: smtp_alert has no counterpart: no mail is sent\n    5 |   smtp_alert\n      |   ^^^^^^^^^^\n      = `,
  );
  expect(await runCli(['import', conf, '--interface', 'eth0', '--strict'])).toBe(1);
});

test('without an interface nothing is written, and VRRP’s is named', async () => {
  const conf = write('keepalived.conf', vrrp + service);
  expect(await runCli(['import', conf])).toBe(1);
  expect(caught.out).toBe('');
  expect(caught.err).toContain('give --interface NAME, or --base FILE (VRRP uses eth7)');
});

test('files that cannot be read or written', async () => {
  const conf = write('keepalived.conf', service);
  expect(await runCli(['import', join(folder, 'none.conf'), '--interface', 'eth0'])).toBe(1);
  expect(caught.err).toContain('none.conf cannot be read: ENOENT');
  expect(await runCli(['import', conf, '--interface', 'eth0', '--out', join(folder, 'no', 'where')])).toBe(1);
  expect(caught.err).toContain('cannot be written: ENOENT');
});

test('run takes one file, and what belongs to keepalived.conf only with one', async () => {
  expect(await runCli(['run'])).toBe(2);
  expect(await runCli(['run', '-c', 'a', '--run-as', 'b'])).toBe(2);
  expect(await runCli(['run', '-c', 'a', '--interface', 'eth0'])).toBe(2);
  expect(caught.err).toContain('belong to --run-as');
});
