// What Prometheus' own tool says of the metrics and of the alert rules; skipped where it is not installed (Debian: prometheus).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { allFamilies } from '../../../src/metrics/families.js';
import { createMetrics } from '../../../src/metrics/metrics.js';
import { baseConfig, FakeBalancer } from './support/fake-sources.js';
import { parseExposition } from './support/parse-exposition.js';

const installed = spawnSync('promtool', ['--version']).status === 0;
const example = (name: string): string => fileURLToPath(new URL(`../../../examples/prometheus/${name}`, import.meta.url));
const unlessMissing = describe.skipIf(!installed);

async function everything(perServer: boolean): Promise<string> {
  const services = (baseConfig.services ?? []).map((service) => ({
    ...service,
    rateLimit: { packetsPerSecond: 1000 },
    ...(service.name === 'web' ? { clientAddress: { method: 'toa' as const } } : {}),
  }));
  const balancer = new FakeBalancer({
    ...baseConfig,
    services,
    metrics: { cluster: 'edge', node: 'lb-1', ipvsNames: true, perServer },
  });
  const metrics = createMetrics(balancer.sources({ configVersion: () => '00ff00ff00ff00ff' }));
  const { body, contentType } = await metrics.metrics();
  metrics.close();
  expect(contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  return body;
}

test('every family of the list is there, with its help and type', async () => {
  const found = new Map([...parseExposition(await everything(true)), ...parseExposition(await everything(false))]);
  const listed = allFamilies(new FakeBalancer(baseConfig).counterInfo).flatMap(({ families }) => families);
  for (const { name, type, help } of listed) expect(found.get(name)).toMatchObject({ name, type, help });
  const names = new Set(listed.map(({ name }) => name));
  const others = [...found.keys()].filter((name) => !names.has(name) && !/^millrace_(process|nodejs)_/.test(name));
  expect(others).toEqual([]);
});

test('alert rules, the dashboard and the documentation ask for metrics that exist', async () => {
  const found = new Set([...parseExposition(await everything(true)).keys(), ...parseExposition(await everything(false)).keys()]);
  const rules = readFileSync(example('alerts.yml'), 'utf8');
  const board = readFileSync(fileURLToPath(new URL('../../../examples/grafana/millrace.json', import.meta.url)), 'utf8');
  const page = readFileSync(fileURLToPath(new URL('../../../docs/metrics.md', import.meta.url)), 'utf8');
  const queries = [...page.matchAll(/`([^`]*millrace_[^`*]*)`/g)].map(([, query]) => query).join('\n');
  const names = `${rules}\n${board}\n${queries}`.match(/millrace_[a-z_]+/g) ?? [];
  const asked = new Set(names.map((name) => name.replace(/^(millrace_health_check_duration_seconds)_(?:sum|count)$/, '$1')));
  expect(asked.size).toBeGreaterThan(20);
  expect([...asked].filter((name) => !found.has(name))).toEqual([]);
  const reasons = new Set(new FakeBalancer(baseConfig).counterInfo.filter(({ kind }) => kind === 'drop').map(({ name }) => name));
  const named = [...rules.matchAll(/reason=~?"(\w+)"/g)].map(([, name]) => name ?? '');
  expect(named.filter((name) => !reasons.has(name))).toEqual([]);
  const pattern = /reason!~"([^"]+)"/.exec(rules)?.[1] ?? '';
  const excluded = [...reasons].filter((name) => new RegExp(`^(?:${pattern})$`).test(name));
  expect(excluded.sort()).toEqual([
    'access_denied',
    'connection_limit',
    'echo_refused',
    'server_bandwidth',
    'server_packet_rate',
    'service_bandwidth',
    'service_packet_rate',
  ]);
});

unlessMissing('promtool', () => {
  test.each([true, false])('check metrics finds nothing to say (perServer: %s)', async (perServer) => {
    const run = spawnSync('promtool', ['check', 'metrics'], { input: await everything(perServer), encoding: 'utf8' });
    expect(run.stdout + run.stderr).toBe('');
    expect(run.status).toBe(0);
  });

  test('every query of the dashboard is PromQL', () => {
    const board = JSON.parse(
      readFileSync(fileURLToPath(new URL('../../../examples/grafana/millrace.json', import.meta.url)), 'utf8'),
    ) as {
      readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
    };
    const queries = board.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(15);
    // promtool parses rules; JSON is YAML.
    const rules = queries.map((expr, i) => ({ record: `query:${i}`, expr: expr.replaceAll('$__rate_interval', '1m') }));
    const directory = mkdtempSync(join(tmpdir(), 'millrace-promtool-'));
    try {
      const file = join(directory, 'rules.yml');
      writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      const run = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' });
      expect(run.stdout + run.stderr).toContain(`SUCCESS: ${queries.length} rules found`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('check metrics does have something to say of a gauge that is named like a counter', () => {
    const input = '# HELP a_total Help.\n# TYPE a_total gauge\na_total 1\n';
    expect(spawnSync('promtool', ['check', 'metrics'], { input }).status).not.toBe(0);
  });

  test('the alert rules are right and do what their tests say', () => {
    const check = spawnSync('promtool', ['check', 'rules', example('alerts.yml')], { encoding: 'utf8' });
    expect(check.stdout + check.stderr).toContain('SUCCESS: 11 rules found');
    const run = spawnSync('promtool', ['test', 'rules', example('alerts.test.yml')], { encoding: 'utf8' });
    expect(run.stdout + run.stderr).toMatch(/^Unit Testing:.*\n {2}SUCCESS\n*$/);
    expect(run.status).toBe(0);
  });

  test('every alert is tested with series that raise it', () => {
    const alerts = [...readFileSync(example('alerts.yml'), 'utf8').matchAll(/alert: (\w+)/g)].map(([, name]) => name ?? '');
    const tests = readFileSync(example('alerts.test.yml'), 'utf8');
    const untested = alerts.filter((name) => !new RegExp(`alertname: ${name}\\n\\s+exp_alerts:`).test(tests));
    expect(untested).toEqual([]);
  });
});
