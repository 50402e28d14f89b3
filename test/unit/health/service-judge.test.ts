// What checks mean for a service: presence and weight, quorum with hysteresis, slow start, flaps.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ServiceConfig } from '../../../src/config/schema.js';
import { validateConfig } from '../../../src/config/validate.js';
import { presentService } from '../../../src/control/availability.js';
import { ServiceJudge } from '../../../src/health/service-judge.js';
import { goodConfig } from '../module/support/hosts.js';

type Extra = Partial<Parameters<typeof validateConfig>[0]['services'][number]>;

function service(change: Extra = {}, weights: readonly number[] = [1, 1, 1]): ServiceConfig {
  const config = validateConfig({
    ...goodConfig,
    services: [
      {
        name: 'web',
        address: '203.0.113.10',
        port: 80,
        protocol: 'tcp',
        healthChecks: [{ type: 'tcp' }],
        servers: weights.map((weight, i) => ({ address: `192.0.2.${11 + i}`, weight })),
        ...change,
      } as Parameters<typeof validateConfig>[0]['services'][number],
    ],
  });
  const [only] = config.services;
  if (only === undefined) throw new Error('no service');
  return only;
}

const key = (i: number): string => `192.0.2.${11 + i}:80`;
const down = { id: '', up: false, reason: 'refused' };
const up = { id: '', up: true, reason: 'ok' };

function shown(judge: ServiceJudge, of: ServiceConfig, now = 0): string[] {
  return presentService(of, judge.availability(now)).servers.map((server) => `${server.address}*${server.weight}`);
}

test('a server that fails is not shown, and comes back as it was', () => {
  const web = service();
  const judge = new ServiceJudge(web);
  expect(judge.availability(0)).toBeUndefined();
  expect(judge.hear(key(1), 0, down, 0)).toMatchObject([{ kind: 'server-down', server: key(1), reason: 'refused' }]);
  expect(shown(judge, web)).toEqual(['192.0.2.11*1', '192.0.2.13*1']);
  expect(judge.hear(key(1), 0, up, 1)).toMatchObject([{ kind: 'server-up' }]);
  expect(judge.availability(1)).toBeUndefined();
});

test('onFailure drain keeps it with weight 0', () => {
  const web = service({ health: { onFailure: 'drain' } });
  const judge = new ServiceJudge(web);
  judge.hear(key(0), 0, down, 0);
  expect(shown(judge, web)).toEqual(['192.0.2.11*0', '192.0.2.12*1', '192.0.2.13*1']);
});

test('a server has its own onFailure, alpha and commands where it says so', () => {
  const notify = { up: ['/bin/up', 'all'], down: ['/bin/down', 'all'] };
  const web = service({
    health: { onFailure: 'drain', notify },
    servers: [
      { address: '192.0.2.11', onFailure: 'remove', notify: { down: ['/bin/down', 'one'] } },
      { address: '192.0.2.12', healthChecks: [{ type: 'tcp', alpha: true }] },
    ],
  });
  const judge = new ServiceJudge(web);
  expect(shown(judge, web)).toEqual(['192.0.2.11*1', '192.0.2.12*0']);
  judge.hear(key(0), 0, down, 0);
  expect(shown(judge, web)).toEqual(['192.0.2.12*0']);
  expect(judge.hear(key(1), 0, up, 0)).toMatchObject([{ kind: 'server-up', server: key(1) }, { kind: 'quorum-up' }]);
  expect(judge.commandsOf(key(0))).toEqual({ up: ['/bin/up', 'all'], down: ['/bin/down', 'one'] });
  expect(judge.commandsOf(key(1))).toEqual(notify);
});

test('all checks of a server must be good', () => {
  const judge = new ServiceJudge(service({ healthChecks: [{ type: 'tcp' }, { type: 'ping' }] }));
  expect(judge.hear(key(0), 0, down, 0)).toHaveLength(1);
  expect(judge.hear(key(0), 1, down, 0)).toEqual([]);
  expect(judge.hear(key(0), 0, up, 0)).toEqual([]);
  expect(judge.hear(key(0), 1, up, 0)).toHaveLength(1);
});

test('the quorum is a sum of weights, with hysteresis both ways, and the sorry server stands in', () => {
  const web = service({ health: { quorum: 4, hysteresis: 1 }, sorryServer: { address: '192.0.2.99', port: 8080 } }, [2, 2, 2]);
  const judge = new ServiceJudge(web);
  const kinds = (i: number, change: typeof up): string[] => judge.hear(key(i), 0, change, 0).map((event) => event.kind);
  expect(kinds(0, down)).toEqual(['server-down']);
  expect(judge.quorum).toBe(true);
  // 2 is below 4 - 1.
  expect(kinds(1, down)).toEqual(['server-down', 'quorum-down']);
  expect(shown(judge, web)).toEqual(['192.0.2.99*1']);
  // 4 is not yet 4 + 1.
  expect(kinds(1, up)).toEqual(['server-up']);
  expect(shown(judge, web)).toEqual(['192.0.2.99*1']);
  expect(kinds(0, up)).toEqual(['server-up', 'quorum-up']);
  expect(shown(judge, web)).toEqual(['192.0.2.11*2', '192.0.2.12*2', '192.0.2.13*2']);
});

test('with alpha servers are shown only after their first good checks', () => {
  const web = service({ health: { alpha: true } });
  const judge = new ServiceJudge(web);
  expect(shown(judge, web)).toEqual([]);
  expect(judge.hear(key(2), 0, up, 0).map((event) => event.kind)).toEqual(['server-up', 'quorum-up']);
  expect(shown(judge, web)).toEqual(['192.0.2.13*1']);
});

test('slow start: the weight grows with time and ends as configured', () => {
  const web = service({ health: { slowStart: 10 } }, [100, 100, 100]);
  const judge = new ServiceJudge(web);
  judge.hear(key(0), 0, down, 0);
  judge.hear(key(0), 0, up, 1000);
  const weight = (now: number): string | undefined => shown(judge, web, now)[0];
  expect(weight(1000)).toBe('192.0.2.11*1');
  expect(weight(3500)).toBe('192.0.2.11*25');
  expect(weight(6000)).toBe('192.0.2.11*50');
  expect(judge.waiting).toBe(true);
  expect(judge.tick(11_000)).toMatchObject({ changed: true });
  expect(judge.availability(11_000)).toBeUndefined();
  expect(judge.waiting).toBe(false);
});

test('a server that flaps is kept out, longer each time', () => {
  const web = service({ health: { flaps: 3, flapWindow: 10 } });
  const judge = new ServiceJudge(web);
  const flap = (now: number) => [...judge.hear(key(0), 0, down, now), ...judge.hear(key(0), 0, up, now + 100)];
  flap(0);
  flap(1000);
  expect(flap(2000).map((event) => event.kind)).toEqual(['server-down', 'server-held']);
  expect(judge.serverIsUp(key(0))).toBe(false);
  expect(judge.tick(11_999).events).toEqual([]);
  expect(judge.tick(12_000).events).toMatchObject([{ kind: 'server-up' }]);
  flap(13_000);
  flap(13_500);
  expect(flap(14_000).map((event) => event.kind)).toContain('server-held');
  expect(judge.tick(33_999).events).toEqual([]);
  expect(judge.tick(34_000).events).toHaveLength(1);
});

test('a reload keeps what is known of servers that stay', () => {
  const judge = new ServiceJudge(service());
  judge.hear(key(0), 0, down, 0);
  const next = service({}, [5, 5]);
  judge.reconfigure(next, 0);
  expect(shown(judge, next)).toEqual(['192.0.2.12*5']);
});

test('a script sets the weight', () => {
  const web = service();
  const judge = new ServiceJudge(web);
  judge.hear(key(0), 0, { ...up, weight: 40 }, 0);
  expect(shown(judge, web)[0]).toBe('192.0.2.11*40');
  judge.hear(key(0), 0, { ...up, weight: 0 }, 0);
  expect(shown(judge, web)[0]).toBe('192.0.2.11*0');
});

test('whatever happens: who is shown is up, and the quorum follows the weights that are up', () => {
  const step = fc.tuple(fc.integer({ min: 0, max: 2 }), fc.boolean(), fc.integer({ min: 0, max: 5000 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const web = service({ health: { quorum: 2, flaps: 0 } }, [1, 2, 3]);
      const judge = new ServiceJudge(web);
      const state = [true, true, true];
      let now = 0;
      for (const [i, isUp, wait] of steps) {
        now += wait;
        state[i] = isUp;
        judge.hear(key(i), 0, isUp ? up : down, now);
        const expected = web.servers.filter((_, server) => state[server]).map((server) => `${server.address}*${server.weight}`);
        expect(shown(judge, web, now)).toEqual(expected);
        const weight = web.servers.reduce((sum, server, server_) => sum + (state[server_] ? server.weight : 0), 0);
        expect(judge.quorum).toBe(weight >= 2);
      }
    }),
  );
});

test('what drains drains, whatever a script says', () => {
  const web = service({}, [0, 1]);
  const judge = new ServiceJudge(web);
  judge.hear(key(0), 0, { ...up, weight: 40 }, 0);
  expect(shown(judge, web)).toEqual(['192.0.2.11*0', '192.0.2.12*1']);
});

test('a further check and its worker begin with the same', () => {
  const one = service();
  const two = service({ healthChecks: [{ type: 'tcp' }, { type: 'ping', alpha: true }] });
  const judge = new ServiceJudge(one);
  judge.hear(key(0), 0, down, 0);
  judge.reconfigure(two, 1);
  expect(judge.standingOf(key(0), 1)).toMatchObject({ up: false });
  expect(judge.standingOf(key(1), 1)).toMatchObject({ up: true });
  judge.hear(key(0), 1, up, 2);
  expect(judge.hear(key(0), 0, up, 3)).toMatchObject([{ kind: 'server-up' }]);
});

test('a server whose bad check is not asked for any more comes up as others do', () => {
  const two = service({ health: { slowStart: 10 }, healthChecks: [{ type: 'tcp' }, { type: 'ping' }] }, [100, 100]);
  const one = service({ health: { slowStart: 10 } }, [100, 100]);
  const judge = new ServiceJudge(two);
  judge.hear(key(0), 1, down, 0);
  expect(judge.foresee(one, 1000)?.servers.get(key(0))).toEqual({ present: true, weight: 1 });
  expect(shown(judge, two)).toEqual(['192.0.2.12*100']);
  expect(judge.reconfigure(one, 1000)).toMatchObject([{ kind: 'server-up', server: key(0) }]);
  expect(shown(judge, one, 6000)).toEqual(['192.0.2.11*50', '192.0.2.12*100']);
});
