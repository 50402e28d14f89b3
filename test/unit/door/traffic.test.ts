// Counters and rates of the listings: what of the dataplane's counters they show, what -Z does, what a tick does.
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { BASE, openDoor, serverStats } from './fakes.js';

const CONFIG: ConfigInput = {
  ...BASE,
  services: [
    {
      name: 'web',
      address: '10.0.9.1',
      port: 80,
      protocol: 'tcp',
      mode: 'nat',
      servers: [{ address: '10.0.2.11', port: 8080 }, { address: '10.0.2.12' }],
    },
    { name: 'six', address: 'fd00:9::1', port: 80, protocol: 'tcp', mode: 'nat', servers: [{ address: 'fd00:2::11' }] },
  ],
};
const TITLE = 'Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n';
const counted = (factor: bigint) => ({
  connections: 10n * factor,
  inPackets: 60n * factor,
  outPackets: 40n * factor,
  inBytes: 6000n * factor,
  outBytes: 90_000n * factor,
});

function withTraffic() {
  const opened = openDoor(CONFIG);
  opened.balancer.servers = [
    serverStats('web', '10.0.2.11', 8080, { ...counted(1n), active: 3n, inactive: 7n }),
    serverStats('web', '10.0.2.12', 80, counted(2n)),
    serverStats('six', 'fd00:2::11', 80, counted(3n)),
  ];
  return opened;
}

afterEach(() => {
  vi.useRealTimers();
});

describe('totals', () => {
  it('of servers, and of services as the sum of them', async () => {
    const { must } = withTraffic();
    expect(await must('-Ln --stats -t 10.0.9.1:80')).toBe(
      `${TITLE}TCP  10.0.9.1:80                        30      180      120    18000   270000
  -> 10.0.2.11:8080                     10       60       40     6000    90000
  -> 10.0.2.12:80                       20      120       80    12000   180000
`,
    );
    expect(await must('-Ln --stats')).toContain(
      '  -> [fd00:2::11]:80                    30      180      120    18000   270000\n',
    );
    expect(await must('-Ln')).toContain('  -> 10.0.2.11:8080               Masq    1      3          7         \n');
  });
  it('-Z begins anew for one service or all, and leaves the dataplane as it is', async () => {
    const { must, balancer } = withTraffic();
    await must('-Z -t 10.0.9.1:80');
    const before = balancer.servers;
    expect(await must('-Ln --stats')).toMatch(/^TCP {2}10\.0\.9\.1:80 +0 +0 +0 +0 +0$/m);
    expect(await must('-Ln --stats')).toMatch(/\[fd00:9::1\]:80 +30 /);
    balancer.servers = [serverStats('web', '10.0.2.11', 8080, { ...counted(1n), connections: 14n }), ...before.slice(1)];
    expect(await must('-Ln --stats')).toMatch(/^TCP {2}10\.0\.9\.1:80 +4 +0 +0 +0 +0\n {2}-> 10\.0\.2\.11:8080 +4 +0/m);
    await must('-Z');
    expect(await must('-Ln --stats')).not.toMatch(/ [1-9][0-9]*$/m);
  });
  it('of a service stay when a server leaves, and a counter that begins again is no loss', async () => {
    const { must, balancer } = withTraffic();
    await must('-Ln');
    await must('-d -t 10.0.9.1:80 -r 10.0.2.11:8080');
    balancer.servers = balancer.servers.slice(1);
    expect(await must('-Ln --stats')).toMatch(/^TCP {2}10\.0\.9\.1:80 +30 +180 /m);
    balancer.servers = [serverStats('web', '10.0.2.12', 80, { connections: 1n }), ...balancer.servers.slice(1)];
    expect(await must('-Ln --stats')).toMatch(/^ {2}-> 10\.0\.2\.12:80 +21 +120 /m);
  });
  it('of a server that was removed and is back are one', async () => {
    const { must, balancer } = withTraffic();
    const [first, ...rest] = balancer.servers;
    balancer.servers = [
      ...rest,
      { ...first, removed: true } as never,
      serverStats('web', '10.0.2.11', 8080, { connections: 1n, active: 1n }),
    ];
    expect(await must('-Ln --stats')).toMatch(/^ {2}-> 10\.0\.2\.11:8080 +11 +60 /m);
    expect(await must('-Ln')).toContain('  -> 10.0.2.11:8080               Masq    1      4          7         \n');
  });
});

describe('rates', () => {
  const cps = async (must: (line: string) => Promise<string>) =>
    Number(/^ {2}-> 10\.0\.2\.11:8080 +([0-9]+)/m.exec(await must('-Ln --rate'))?.[1]);

  it('rise at a tick, decay by a quarter, and are gone with -Z', async () => {
    const { must, door } = withTraffic();
    expect(await cps(must)).toBe(0);
    door.tick();
    // Ten connections in two seconds are five a second, of which a quarter counts at once.
    expect(await cps(must)).toBe(1);
    const rates = [];
    for (let tick = 0; tick < 30; tick += 1) {
      rates.push(await must('-Ln --rate'));
      door.tick();
    }
    expect(rates[0]).toContain('TCP  10.0.9.1:80                         4       22       15     2250    33750\n');
    expect(await must('-Ln --rate')).toMatch(/^TCP {2}10\.0\.9\.1:80 +0 +0 +0 +0 +[0-9]{1,2}$/m);
    door.tick();
    await must('-Z');
    expect(await must('-Ln --rate')).toMatch(/^TCP {2}10\.0\.9\.1:80 +0 +0 +0 +0 +0$/m);
    expect(await must('--proc ip_vs_stats')).toContain(`${' '.repeat(7)}0        0        0                0                0\n`);
  });
  it('tick every two seconds from start() to close()', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { must, door } = withTraffic();
    door.start();
    vi.advanceTimersByTime(1999);
    expect(await cps(must)).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await cps(must)).toBe(1);
    door.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
