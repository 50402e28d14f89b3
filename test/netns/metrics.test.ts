// Metrics end to end: real traffic through the balancer, a real Prometheus beside it, and queries whose answers are known.
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const program = fileURLToPath(new URL('support/metrics-server.mjs', import.meta.url));
const installed = spawnSync('prometheus', ['--version']).status === 0;
/** In a network namespace of our own, where no port is taken. */
const ports = { metrics: 9464, prometheus: 9090 } as const;

interface Answer {
  readonly status: string;
  readonly data?: {
    readonly result: readonly { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }[];
  };
}

async function get(url: string): Promise<string> {
  const { code, stdout } = await lab().topology.run('lb', ['curl', '-sS', '--max-time', '10', url]);
  return code === 0 ? stdout : '';
}

/** Polls until the query has one result that is `wanted`; what it was last is in the error. */
async function expectQuery(expression: string, wanted: number): Promise<void> {
  const url = `http://127.0.0.1:${ports.prometheus}/api/v1/query?query=${encodeURIComponent(expression)}`;
  const deadline = performance.now() + 60_000;
  let last = '';
  while (performance.now() < deadline) {
    last = await get(url);
    const { data } = (last === '' ? { status: '' } : JSON.parse(last)) as Answer;
    if (data?.result.length === 1 && Number(data.result[0]?.value[1]) === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect.fail(`${expression} is not ${wanted} but ${last}`);
}

test.skipIf(!installed)('Prometheus has what went through: sessions, packets of both directions, drops, versions', async () => {
  const config = lab().writeConfig({ families: ['ipv4'] });
  appendFileSync(config, 'metrics: { cluster: lab, node: lb-1 }\n');
  await using serving = lab().topology.start('program with metrics', 'lb', [
    process.execPath,
    program,
    config,
    String(ports.metrics),
  ]);
  await serving.waitForLine((line) => line === 'ready', 30_000);
  const directory = mkdtempSync(join(tmpdir(), 'millrace-prometheus-'));
  try {
    const job = `{ job_name: millrace, scrape_interval: 500ms, scrape_timeout: 500ms, static_configs: [{ targets: ['127.0.0.1:${ports.metrics}'] }] }`;
    writeFileSync(join(directory, 'prometheus.yml'), `scrape_configs: [${job}]\n`);
    await using _prometheus = lab().topology.start('prometheus', 'lb', [
      'prometheus',
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${ports.prometheus}`,
    ]);
    await expectQuery('up{job="millrace"}', 1);

    const { vip } = plans.ipv4;
    const answered = await lab().traffic.get(serviceUrl(vip), 20);
    expect(answered.reasons).toEqual([]);
    await lab().topology.run('client', ['curl', '-sS', '--max-time', '1', serviceUrl(vip, '/', 81)]);

    await expectQuery('sum(millrace_session_created_total{cluster="lab",node="lb-1"})', 20);
    await expectQuery('count(millrace_session_created_total == 10)', 2);
    await expectQuery('sum(millrace_worker_sessions_created_total)', 20);
    await expectQuery('sum by (reason) (millrace_drops_total{reason="no_service"} > 0) > bool 0', 1);
    await expectQuery('min(sum by (direction) (millrace_service_packets_total)) > bool 60', 1);
    await expectQuery('min(sum by (direction) (millrace_packets_total)) >= bool 160', 1);
    await expectQuery('count(millrace_real_up == 1) == bool count(millrace_real_weight > 0)', 1);
    await expectQuery('count(millrace_build_info{libxdp!="",addon!=""})', 1);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
