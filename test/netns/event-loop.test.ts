// Packets never wait for JavaScript: a program that embeds the balancer and blocks its event loop stops nothing.
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const program = fileURLToPath(new URL('support/embedded.mjs', import.meta.url));

interface Report {
  readonly event: string;
  readonly time: number;
  readonly received: number;
}

test('with the event loop blocked for three seconds under load, no request fails and packets keep their rate', async () => {
  const argv = [process.execPath, program, lab().writeConfig()];
  await using embedding = lab().topology.start('embedding program', 'lb', argv);
  const reports: Report[] = [];
  embedding.onLine((line) => reports.push(JSON.parse(line) as Report));
  await embedding.waitForLine((line) => line.includes('"ready"'), 30_000);

  const load = lab().traffic.load({ url: serviceUrl(plans.ipv4.vip), seconds: 8, connections: 32 });
  const flowing = await embedding.waitForLine((line) => (JSON.parse(line) as Report).received > 2_000);
  const start = JSON.parse(flowing) as Report;
  await embedding.waitForLine((line) => (JSON.parse(line) as Report).time > start.time + 1_000);
  embedding.signal('SIGUSR2');
  await embedding.waitForLine((line) => line.includes('"free"'));
  const result = await load;

  expect(result.errors).toEqual({});
  expect(result.requests).toBeGreaterThan(0);
  const blocking = reports.find((report) => report.event === 'blocking');
  const free = reports.find((report) => report.event === 'free');
  if (blocking === undefined || free === undefined) throw new Error('the program did not report its block');
  expect(free.time - blocking.time).toBeGreaterThanOrEqual(2_900);
  const rate = (from: Report, to: Report) => (to.received - from.received) / (to.time - from.time);
  // Others use the machine too: a rate that halves would be more than that.
  expect(rate(blocking, free)).toBeGreaterThan(0.6 * rate(start, blocking));
});
