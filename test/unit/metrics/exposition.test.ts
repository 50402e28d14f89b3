// The text format: escaping, and what the whole is at its largest.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { Exposition, escapeLabelValue, labelText } from '../../../src/metrics/exposition.js';
import { createMetrics } from '../../../src/metrics/metrics.js';
import { baseConfig, FakeBalancer } from './support/fake-sources.js';
import { parseExposition, sample } from './support/parse-exposition.js';

const gauge = { name: 'some_metric', type: 'gauge', help: 'Help.', labels: ['label'] } as const;

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/gs, (_, letter: string) => (letter === 'n' ? '\n' : letter));
}

describe('escaping', () => {
  test('backslash, line feed and double quote are escaped, nothing else is', () => {
    expect(escapeLabelValue('a\\b"c\nd\te\u2028é')).toBe('a\\\\b\\"c\\nd\te\u2028é');
  });

  test('any label value and any help text gives well formed text from which the value can be read again', () => {
    const anything = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(anything, anything, anything, fc.double(), (common, own, help, value) => {
        const text = new Exposition(labelText({ cluster: common }));
        text.family({ ...gauge, help })(labelText({ label: own }), value);
        const family = parseExposition(text.toString()).get('some_metric');
        const [[key, read] = ['', Number.NaN]] = family?.samples ?? [];
        expect(read).toBe(Object.is(value, -0) ? 0 : value);
        const labels = [...key.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/gs)].map(([, name, escaped]) => [
          name,
          unescaped(escaped ?? ''),
        ]);
        const expected = [
          ['cluster', common],
          ['label', own],
        ].filter(([, text]) => text !== '');
        expect(labels).toEqual(expected);
        expect(unescaped(family?.help ?? '')).toBe(help);
      }),
    );
  });

  test('a family without samples leaves nothing', () => {
    const text = new Exposition('');
    text.family(gauge);
    expect(text.toString()).toBe('');
    text.family(gauge)('', 1);
    expect(text.toString()).toBe('# HELP some_metric Help.\n# TYPE some_metric gauge\nsome_metric 1\n');
  });
});

/** Real servers with long addresses, checked, all counters in large numbers, and names as long as operators have them. */
function large(services: number, perService: number): FakeBalancer {
  const config: ConfigInput = {
    ...baseConfig,
    metrics: { cluster: 'production', node: 'lb-01' },
    services: Array.from({ length: services }, (_, i) => ({
      name: `customer-${i}-https`,
      address: `203.0.${100 + (i >> 8)}.${i & 255}`,
      port: 443,
      protocol: 'tcp' as const,
      healthChecks: [{ type: 'tcp' as const }],
      servers: Array.from({ length: perService }, (_, j) => {
        const number = i * perService + j;
        return { address: `192.168.${100 + (number >> 8)}.${number & 255}`, port: 8443 };
      }),
    })),
  };
  const balancer = new FakeBalancer(config);
  balancer.counters = Array.from({ length: 8 }, () =>
    Object.fromEntries(balancer.counterInfo.map(({ name }) => [name, 123_456_789_012n])),
  );
  balancer.servers = balancer.servers.map((server, i) => ({
    ...server,
    connections: BigInt(9_876_543 + i),
    inPackets: 1_234_567_890n,
    inBytes: 1_234_567_890_123n,
    outPackets: 1_234_567_890n,
    outBytes: 9_234_567_890_123n,
    active: 1234n,
    inactive: 4321n,
  }));
  return balancer;
}

test.each([
  [1000, 10],
  [10_000, 1],
])(
  '%i services with %i checked real servers each: below 20 MB and well formed',
  async (services, perService) => {
    const balancer = large(services, perService);
    const metrics = createMetrics(balancer.sources());
    const { body } = await metrics.metrics();
    expect(Buffer.byteLength(body)).toBeLessThan(20_000_000);
    const families = parseExposition(body);
    expect(families.get('millrace_sessions')?.samples.size).toBe(20_000);
    expect(families.get('millrace_real_up')?.samples.size).toBe(10_000);
    const last = { service: `customer-${services - 1}-https`, real: '192.168.139.15:8443' };
    const labels = { cluster: 'production', node: 'lb-01', ...last };
    expect(sample(families, 'millrace_session_created_total', labels)).toBe(9_876_543 + 9999);
    // Labels are bounded: names are those of services, real servers, reasons and the like, none of a client.
    const names = new Set(
      [...families.values()].flatMap(({ samples }) => [...samples.keys()].flatMap((key) => key.match(/\w+(?==")/g) ?? [])),
    );
    expect([...names].filter((name) => /client|source|session$/.test(name))).toEqual([]);
    // Processor time, since others may be at work; generous, since it counts the sources as well.
    const before = process.cpuUsage();
    await metrics.metrics();
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(3000);
    metrics.close();
  },
  120_000,
);
