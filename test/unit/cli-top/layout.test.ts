// The lines of `millrace top`: what stands at 80 columns, what goes first below, and what keys do.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_ORDER } from '../../../src/cli/top/columns.js';
import { initialState, press } from '../../../src/cli/top/keys.js';
import { showsUnicode, sparkline } from '../../../src/cli/top/layout.js';
import { advance, type Model, VIEWS } from '../../../src/cli/top/model.js';
import { serverView, serviceView } from '../client/support/views.js';
import { modelAfter, sampleAt, screen } from './support.js';

test('80 columns: services', () => {
  expect(screen(modelAfter(3))).toEqual([
    'millrace /run/x  ready  up 1 d 2 h  servers 1 up, 1 down, 1 unchecked',
    'sessions 15  new/s 200  rx/s 4.00 k  tx/s 3.60 k  drops/s 16',
    '[1 services] 2 servers  3 workers  by connections  tab < > r q',
    '',
    'service  usable  active  conn/s   pkt/s  in bit/s  out bit/s  conn/s',
    'web         1/2     903  1.00 k  30.0 k    8.00 M     40.0 M                 ███',
    'calm        1/1      12      10     300    80.0 k      400 k                 ███',
  ]);
});

test('80 columns: servers and workers', () => {
  const model = modelAfter(3);
  expect(screen(model, { view: 'servers' }).slice(4)).toEqual([
    'service  server         state      active  conn/s   pkt/s  out bit/s  conn/s',
    'web      192.0.2.9:80   up            903  1.00 k  30.0 k     40.0 M         ███',
    'calm     192.0.2.11:80  up             12      10     300      400 k         ███',
    'web      192.0.2.10:80  down            3       0       0          0         ▁▁▁',
  ]);
  expect(screen(model, { view: 'workers' }).slice(4)).toEqual([
    'worker  cpu  sessions   new/s    rx/s    tx/s  drops/s  most drops by   rx/s',
    '     0    0         7      50  1.00 k     900        4  tcp_no_session       ███',
    '     1    1         7     150  3.00 k  2.70 k       12  tcp_no_session       ███',
  ]);
});

test('narrow terminals lose columns from the least needed on, wide ones gain room for names and trends', () => {
  const model = modelAfter(3);
  expect(screen(model, {}, { columns: 60 })[4]).toBe('service  usable  active  conn/s   pkt/s  out bit/s  conn/s');
  expect(screen(model, { view: 'servers' }, { columns: 140 })[4]).toContain('in bit/s  out bit/s');
  const name = 'a-service-with-a-rather-long-name-of-forty';
  const long = advance(undefined, sampleAt(0, [serviceView(name, [serverView('192.0.2.1:80', 'up')])]));
  expect(screen(long, {}, { columns: 140 })[5]).toContain(name);
  expect(screen(long, {}, { columns: 80 })[5]).toMatch(/^a-service-w[a-z-]*~ /);
});

const sizes = fc.record({ columns: fc.integer({ min: 1, max: 300 }), rows: fc.integer({ min: 1, max: 60 }) });

test('no screen of any size is overrun, whatever names are', () => {
  const name = fc.string({ minLength: 1, unit: 'binary' });
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 40 }),
      sizes,
      fc.constantFrom(...VIEWS),
      fc.nat(60),
      (words, size, view, offset) => {
        const services = words.map((word) => serviceView(word, [serverView('192.0.2.1:80', 'up')]));
        const model = advance(advance(undefined, sampleAt(0, services)), sampleAt(1, services));
        const lines = screen(model, { view, offset }, size);
        expect(lines.length).toBeLessThanOrEqual(size.rows);
        for (const line of lines) {
          expect([...line].length).toBeLessThanOrEqual(size.columns);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
          expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
        }
      },
    ),
  );
});

test('rows beyond the screen are scrolled to, and counted', () => {
  const services = Array.from({ length: 50 }, (_, i) => serviceView(`s${i}`, []));
  const model = advance(undefined, sampleAt(0, services));
  const order = { by: 'service', reversed: false };
  const lines = screen(model, { order, offset: 10 }, { rows: 15 });
  expect(lines).toHaveLength(15);
  expect(lines[2]).toContain('11-20 of 50');
  expect(lines[5]).toMatch(/^s10 /);
  expect(screen(model, { order, offset: 1000 }, { rows: 15 })[14]).toMatch(/^s49 /);
});

test('trouble is said while the last numbers stay', () => {
  const lines = screen(modelAfter(2), {}, { trouble: 'no daemon answers at /run/x: nothing listens there' });
  expect(lines[3]).toBe('no daemon answers at /run/x: nothing listens there');
  expect(lines[5]).toMatch(/^web /);
});

test('sparklines: as high as the largest, 0 on the ground, the newest at the right', () => {
  expect(sparkline([0, 1, 50, 100], 6, true)).toBe('  ▁▂▅█');
  expect(sparkline([1, 2, 3, 4], 2, true)).toBe('▆█');
  expect(sparkline([0, 100], 2, false)).toBe('_#');
  expect(sparkline([], 3, true)).toBe('   ');
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, noNaN: true })), fc.nat(60), fc.boolean(), (values, width, unicode) => {
      expect([...sparkline(values, width, unicode)]).toHaveLength(width);
    }),
  );
});

test.each([
  [{ LANG: 'C.UTF-8' }, true],
  [{ LANG: 'C.UTF-8', LC_ALL: 'C' }, false],
  [{ LC_CTYPE: 'de_DE.utf8' }, true],
  [{}, false],
  [{ LANG: 'C.UTF-8', TERM: 'linux' }, false],
])('%j shows blocks: %s', (environment, blocks) => {
  expect(showsUnicode(environment)).toBe(blocks);
});

test('keys', () => {
  const start = initialState('services');
  const after = (...keys: Parameters<typeof press>[1][]) =>
    keys.reduce<ReturnType<typeof press>>((state, key) => (typeof state === 'string' ? state : press(state, key, 10, 25)), start);
  expect(after({ sequence: '2', name: '2' })).toMatchObject({ view: 'servers', order: DEFAULT_ORDER.servers });
  expect(after({ name: 'tab' }, { name: 'tab' })).toMatchObject({ view: 'workers' });
  expect(after({ name: 'tab', shift: true })).toMatchObject({ view: 'workers' });
  expect(after({ name: 'right' })).toMatchObject({ order: { by: 'packets' } });
  expect(after({ sequence: '<' }, { name: 'left' }, { name: 'left' }, { name: 'left' })).toMatchObject({
    order: { by: 'service' },
  });
  expect(after({ name: 'r' })).toMatchObject({ order: { reversed: true } });
  expect(after({ name: 'space' }, { sequence: '3' })).toMatchObject({ paused: true, view: 'workers' });
  expect(after({ name: 'pagedown' }, { name: 'pagedown' }, { name: 'pagedown' })).toMatchObject({ offset: 25 });
  expect(after({ name: 'end' }, { name: 'up' }, { name: 'pageup' })).toMatchObject({ offset: 14 });
  expect(after({ name: 'down' }, { name: 'home' })).toMatchObject({ offset: 0 });
  expect(after({ name: 'q' })).toBe('quit');
  expect(after({ name: 'c', ctrl: true })).toBe('quit');
  expect(after({ name: 'z', ctrl: true })).toBe('suspend');
  expect(after({ name: 'x' })).toBe(start);
});

test('random keys keep the state one that can be drawn', () => {
  const names = ['tab', 'left', 'right', 'r', 'up', 'down', 'pageup', 'pagedown', 'home', 'end', 'space', 'x'];
  const key = fc.record({
    name: fc.constantFrom(...names),
    sequence: fc.constantFrom('1', '2', '3', '<', '>', 'x'),
    shift: fc.boolean(),
  });
  const model: Model = modelAfter(2);
  fc.assert(
    fc.property(fc.array(key), (keys) => {
      let state = initialState('services');
      for (const pressed of keys) {
        const next = press(state, pressed, 10, 3);
        if (typeof next === 'string') throw new Error(`${next} by ${pressed.name}`);
        state = next;
      }
      expect(screen(model, state).length).toBeGreaterThan(5);
    }),
  );
});
