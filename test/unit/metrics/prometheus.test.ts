// A real Prometheus scrapes a real load balancer over a stand-in for the addon; skipped where it is not installed (Debian: prometheus).
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { expect, test } from 'vitest';
import { createMetrics, type Metrics } from '../../../src/metrics/metrics.js';
import { ReloadRecorder } from '../../../src/metrics/reload-recorder.js';
import { versions } from '../../../src/versions.js';
import { goodConfig, startTestBalancer } from '../module/support/hosts.js';
import { eventually, Prometheus, prometheusInstalled } from './support/prometheus.js';

async function serve(metrics: Metrics): Promise<{ readonly server: Server; readonly target: string }> {
  const server = createServer((_, response) => {
    metrics.metrics().then(
      ({ contentType, body }) => response.writeHead(200, { 'content-type': contentType }).end(body),
      () => response.writeHead(500).end(),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no address');
  return { server, target: `127.0.0.1:${address.port}` };
}

test.skipIf(!prometheusInstalled)(
  'Prometheus scrapes the balancer, and PromQL gives what the workers counted',
  async () => {
    const checked = {
      name: 'api',
      address: '203.0.113.11',
      port: 443,
      protocol: 'tcp' as const,
      healthChecks: [{ type: 'tcp' as const }],
      servers: [{ address: '192.0.2.13' }, { address: '192.0.2.14' }],
    };
    const config = {
      ...goodConfig,
      services: [...goodConfig.services, checked],
      metrics: { cluster: 'edge', node: 'lb-1', ipvsNames: true },
    };
    await using balancer = await startTestBalancer(config);
    const { lb, binding, checkers } = balancer;
    const reloads = new ReloadRecorder();
    const metrics = createMetrics({ balancer: lb, counterInfo: binding.counterInfo(), versions, reloads });
    const { server, target } = await serve(metrics);
    try {
      await using prometheus = await Prometheus.start(target);
      binding.setCounter(0, 'rx_packets', 2n ** 40n);
      binding.setCounter(1, 'rx_packets', 1n);
      binding.setCounter(1, 'no_server', 7n);
      binding.setServer(0, 0, 'connections', 40n);
      binding.setServer(1, 0, 'connections', 2n);
      binding.setServer(1, 1, 'active', 9n);
      const value = async (expression: string, wanted: number): Promise<void> => {
        const found = await eventually(`${expression} is ${wanted}`, async () => {
          const results = await prometheus.query(expression);
          return results.length === 1 && results[0]?.value === wanted ? results : undefined;
        });
        expect(found).toHaveLength(1);
      };
      await value('sum(millrace_packets_total{direction="rx"})', 2 ** 40 + 1);
      await value('sum by (reason) (millrace_drops_total > 0)', 7);
      await value('millrace_drops_total{reason="no_server",stage="schedule",worker="1",core="1",cluster="edge",node="lb-1"}', 7);
      await value('sum by (service) (millrace_session_created_total{service="web"})', 42);
      await value('millrace_session_created_total{service="web",real="192.0.2.11:8080"}', 42);
      await value('sum by (service) (millrace_sessions{service="web"})', 9);
      await value('node_ipvs_backend_connections_active{remote_address="192.0.2.12",proto="TCP",local_port="80"}', 9);
      await value('up', 1);
      await value('count(millrace_health_check_duration_seconds_count{type="tcp"})', 1);

      checkers.report([{ id: 'api 192.0.2.13:443 0', up: false, reason: 'connection refused' }]);
      await value('sum(millrace_real_up)', 3);
      await value('millrace_real_effective_weight{real="192.0.2.13:443"}', 0);
      await value('millrace_health_transitions_total{service="api",to="down"}', 1);

      await lb.setWeight('web', { address: '192.0.2.12' }, 5);
      await value('millrace_real_weight{real="192.0.2.12:80"}', 5);
      reloads.reloaded(false, 'no');
      await value('millrace_config_last_reload_successful', 0);
      await value('millrace_config_changes_total', 1);
      // What the documentation asks is at least understood.
      const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
      const queries = [...page.matchAll(/^\| [^|]+ \| `([^`]+)` \|$/gm)].map(([, query]) => query ?? '');
      expect(queries.length).toBeGreaterThan(5);
      for (const query of queries) await prometheus.query(query);
    } finally {
      metrics.close();
      server.closeAllConnections();
      server.close();
    }
  },
  180_000,
);
