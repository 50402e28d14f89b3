// Rates from two samples, histories, sorting: the part of `millrace top` that knows no terminal.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { columnIds, tableOf } from '../../../src/cli/top/columns.js';
import { advance, HISTORY, perSecond, type ServerRow, type ServiceRow, totals } from '../../../src/cli/top/model.js';
import { counters, serverView, serviceView, statusView } from '../client/support/views.js';
import { modelAfter, sampleAt, servicesAt } from './support.js';

test('the first sample has levels and no rates', () => {
  const model = advance(undefined, sampleAt(0));
  expect(model.seconds).toBe(0);
  expect(model.services[1]).toMatchObject({ name: 'web', active: 3, connections: 0, packets: 0, history: [] });
});

test('rates are differences by seconds, bits for bytes', () => {
  const model = advance(advance(undefined, sampleAt(0)), sampleAt(4));
  expect(model.seconds).toBe(4);
  // counters(1): 10 connections, 100 + 200 packets, 10,000 and 50,000 bytes; 100 of these a second.
  expect(model.services[1]).toMatchObject({
    name: 'web',
    usable: 1,
    servers: 2,
    quorum: false,
    active: 3 * 401,
    connections: 1000,
    packets: 30_000,
    inBits: 8_000_000,
    outBits: 40_000_000,
    history: [1000],
  });
  expect(model.servers.map(({ server, connections }) => [server, connections])).toEqual([
    ['192.0.2.11:80', 10],
    ['192.0.2.9:80', 1000],
    ['192.0.2.10:80', 0],
  ]);
  expect(model.workers[1]).toMatchObject({
    worker: 1,
    created: 150,
    received: 3000,
    sent: 2700,
    dropped: 12,
    reason: 'tcp_no_session',
  });
  expect(totals(model)).toEqual({ received: 4000, sent: 3600, created: 200, dropped: 16 });
});

test('counters beyond 2^53 lose nothing before the difference is taken', () => {
  expect(perSecond('18446744073709551615', '18446744073709551605', 2)).toBe(5);
});

test('a rate is never negative, infinite or not a number', () => {
  const count = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
  fc.assert(
    fc.property(count, count, fc.double({ min: -10, max: 1e6, noNaN: true }), (now, then, seconds) => {
      const rate = perSecond(now, then, seconds);
      expect(rate).toBeGreaterThanOrEqual(0);
      expect(rate).not.toBeNaN();
    }),
  );
});

test('a daemon that began again has no rates in its first sample, and no history', () => {
  const model = modelAfter(3);
  const restarted = advance(model, { ...sampleAt(4), status: statusView({ pid: 4712 }) });
  expect(restarted.seconds).toBe(0);
  expect(restarted.services[1]).toMatchObject({ connections: 0, history: [] });
});

test('what is new begins with 0, what is gone is forgotten', () => {
  const added = [...servicesAt(1), serviceView('new', [serverView('192.0.2.30:80', 'up')], { counters: counters(1000) })];
  const model = advance(advance(undefined, sampleAt(0)), sampleAt(1, added));
  expect(model.services.find(({ name }) => name === 'new')).toMatchObject({ connections: 0, history: [0] });
  const without = advance(model, sampleAt(2));
  expect(without.services.map(({ name }) => name)).toEqual(['calm', 'web']);
  expect(without.services[1]?.history).toEqual([1000, 1000]);
});

test('history is bounded', () => {
  expect(modelAfter(HISTORY + 5).services[0]?.history).toHaveLength(HISTORY);
});

test('worker counters may be named as in C++', () => {
  const snake = (rx: string) => ({ worker: 0, cpu: -1, counters: { rx_packets: rx }, drops: {} });
  const first = advance(undefined, { ...sampleAt(0), workers: [snake('10')] });
  expect(advance(first, { ...sampleAt(1), workers: [snake('30')] }).workers[0]).toMatchObject({ received: 20, sent: 0 });
});

const names = (rows: readonly unknown[]): string[] => rows.map((row) => (row as ServiceRow).name);

test('sorted by numbers from the largest, by texts from the first, and the other way round', () => {
  const model = modelAfter(1);
  expect(names(tableOf(model, 'services', { by: 'connections', reversed: false }).rows)).toEqual(['web', 'calm']);
  expect(names(tableOf(model, 'services', { by: 'connections', reversed: true }).rows)).toEqual(['calm', 'web']);
  expect(names(tableOf(model, 'services', { by: 'service', reversed: false }).rows)).toEqual(['calm', 'web']);
  const servers = tableOf(model, 'servers', { by: 'server', reversed: false }).rows.map((row) => (row as ServerRow).server);
  expect(servers).toEqual(['192.0.2.9:80', '192.0.2.10:80', '192.0.2.11:80']);
});

test('every column sorts: the same rows, none lost', () => {
  const model = modelAfter(2);
  for (const view of ['services', 'servers', 'workers'] as const) {
    for (const by of columnIds(view)) {
      for (const reversed of [false, true]) {
        const rows = tableOf(model, view, { by, reversed }).rows;
        expect(new Set(rows)).toEqual(new Set<unknown>(model[view]));
        expect(rows).toHaveLength(model[view].length);
      }
    }
  }
});
