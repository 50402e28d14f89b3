// The daemon as its operator has it: the real API, command line, metrics, probes and ipvsadm over a balancer that carries real traffic.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import type { Balancer } from '../../src/lab/balancer.js';
import type { CommandResult } from '../../src/lab/command.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { full, useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip, servers } = plans.ipv4;
const url = serviceUrl(vip);
const plainPort = 9464;
const socket = (): string => join(lab().directory, 'api.sock');

function start(): Promise<Balancer> {
  const file = lab().writeConfig({ apiSocket: socket(), plainPort });
  return lab().startBalancer(file, { words: ['-c', file, '--state', join(lab().directory, 'state.json')] });
}

function millrace(...words: string[]): Promise<CommandResult> {
  return lab().topology.run('lb', ['env', `MILLRACE_SOCKET=${socket()}`, ...millraceProgram(), ...words]);
}

async function succeeds(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await millrace(...words);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return stdout;
}

async function asJson<T>(...words: string[]): Promise<T> {
  return JSON.parse(await succeeds(...words, '-o', 'json')) as T;
}

function curl(...words: string[]): Promise<CommandResult> {
  return lab().topology.run('lb', ['curl', '-sS', '--max-time', '10', ...words]);
}

const byServer = async (times = 8) => {
  const { reasons, byServer: answers } = await lab().traffic.get(url, times);
  expect(reasons).toEqual([]);
  return Object.keys(answers).sort();
};

test('a drain by the command line moves new connections, survives a restart, and is undone', async () => {
  const first = await start();
  try {
    const status = await asJson<{ ready: boolean; workers: number; services: number }>('status');
    expect(status).toMatchObject({ ready: true, workers: lab().workers });
    expect(await byServer()).toEqual(['rs1', 'rs2']);
    expect(await succeeds('drain', 'http', `${servers.rs2}:80`, '--dry-run')).toContain('http');
    expect(await byServer()).toEqual(['rs1', 'rs2']);
    await succeeds('drain', 'http', `${servers.rs2}:80`);
    expect(await byServer()).toEqual(['rs1']);
    const text = await succeeds('servers', 'http');
    expect(text).toMatch(new RegExp(`${servers.rs2}:80 .*drained`));
  } finally {
    await first.process.stop();
  }
  await using _second = await start();
  expect(await byServer()).toEqual(['rs1']);
  await succeeds('undrain', 'http', `${servers.rs2}:80`);
  expect(await byServer()).toEqual(['rs1', 'rs2']);
});

test('a server that is put and deleted through the API serves and stops serving, and a stale version is refused', async () => {
  await using _balancer = await start();
  const api = (path: string, ...words: string[]) =>
    curl(
      '--unix-socket',
      socket(),
      '-o',
      join(lab().directory, 'answer.json'),
      '-w',
      '%{http_code}',
      ...words,
      `http://localhost/api/v1${path}`,
    );
  const server = encodeURIComponent(`${servers.rs1}:80`);
  expect((await api(`/services/http/servers/${server}`, '-X', 'DELETE')).stdout).toBe('200');
  expect(await byServer()).toEqual(['rs2']);
  const body = ['-X', 'PUT', '-H', 'content-type: application/json', '-d', '{"weight":1}'];
  expect((await api(`/services/http/servers/${server}`, ...body, '-H', 'if-match: "0000000000000000"')).stdout).toBe('412');
  expect((await api(`/services/http/servers/${server}`, ...body)).stdout).toBe('200');
  expect(await byServer()).toEqual(['rs1', 'rs2']);
  expect((await api('/services/nowhere')).stdout).toBe('404');
  await succeeds('reset', '--all');
});

test('ipvsadm lists what is there, drains by weight, and counts what went through', async () => {
  await using _balancer = await start();
  expect(await byServer(10)).toEqual(['rs1', 'rs2']);
  const listing = await succeeds('ipvsadm', '-Ln');
  expect(listing).toMatch(/^IP Virtual Server version 1\.2\.1 \(size=\d+\)\nProt LocalAddress:Port Scheduler Flags\n/);
  expect(listing).toMatch(new RegExp(`^TCP  ${vip}:80 wrr *$`, 'm'));
  await succeeds('ipvsadm', '-e', '-t', `${vip}:80`, '-r', `${servers.rs1}:80`, '--fullnat', '-w', '0');
  expect(await byServer()).toEqual(['rs2']);
  const missing = await millrace('ipvsadm', '-D', '-t', '192.0.2.250:80');
  expect([missing.code, missing.stderr]).toEqual([255, 'No such service\n']);
  await succeeds('reset', '--all');
});

test('sessions are listed, counted and ended', async () => {
  await using balancer = await start();
  const load = lab().traffic.load({ url, seconds: 5, connections: 16 });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.sessions >= 16);
  const { sessions } = await asJson<{ sessions: { service: string; vip: string; state: string }[] }>(
    ...['sessions', 'list', '--service', 'http', '--limit', '5'],
  );
  expect(sessions).toHaveLength(5);
  expect(sessions[0]).toMatchObject({ service: 'http', vip: `${vip}:80` });
  expect((await asJson<{ sessions: number }>('sessions', 'count', '--service', 'http')).sessions).toBeGreaterThanOrEqual(16);
  // wrk's connections are reset with their next packet, and wrk connects again.
  expect((await asJson<{ sessions: number }>('sessions', 'end', '--service', 'http')).sessions).toBeGreaterThanOrEqual(16);
  const result = await load;
  expect(Object.values(result.errors).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(16);
  expect(result.requests).toBeGreaterThan(100);
});

test('probes and metrics are served without TLS, and nothing else is', async () => {
  await using _balancer = await start();
  const at = (path: string) => curl('-w', '\n%{http_code}', `http://127.0.0.1:${plainPort}${path}`);
  expect((await at('/healthz')).stdout).toMatch(/\n200$/);
  expect((await at('/readyz?verbose')).stdout).toMatch(/\n200$/);
  expect((await at('/api/v1/status')).stdout).toMatch(/\n404$/);
  expect(await byServer(4)).toEqual(['rs1', 'rs2']);
  const { stdout } = await at('/metrics');
  expect(stdout).toMatch(/^millrace_build_info\{/m);
  expect(stdout).toMatch(/^millrace_config_last_reload_successful 1$/m);
});

test('reloads under load fail no request, however many, and a wrong one leaves the old configuration', async () => {
  await using balancer = await start();
  const reloads = full ? 1000 : 40;
  const load = lab().traffic.load({ url, seconds: full ? 120 : 10, connections: 16, newConnections: true });
  load.catch(() => {});
  await balancer.stats(({ totals }) => totals.forwarded > 1000);
  for (let i = 0; i < reloads; i++) {
    lab().writeConfig({ apiSocket: socket(), plainPort, ...(i % 2 === 0 ? { extraHttpPort: 8080 } : {}) });
    await balancer.reload();
  }
  lab().writeConfig({ apiSocket: socket(), plainPort, weights: { rs1: -1 } });
  await expect(balancer.reload()).rejects.toThrow(/refused/);
  const refused = await millrace('reload');
  expect(refused.code).not.toBe(0);
  const status = await asJson<{ lastReload: { ok: boolean } }>('status');
  expect(status.lastReload.ok).toBe(false);
  lab().writeConfig({ apiSocket: socket(), plainPort });
  await balancer.reload();
  expect((await load).errors).toEqual({});
});

test('without a daemon the command line says so', async () => {
  const { code, stderr } = await millrace('status');
  expect(code).toBe(5);
  expect(stderr).toContain('MILLRACE_E_NO_DAEMON');
});
