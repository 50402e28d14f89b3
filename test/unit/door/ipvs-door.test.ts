// ipvsadm against a configuration: what it shows of one, and what it makes of one.
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { BASE, openDoor } from './fakes.js';

const FULL: ConfigInput = {
  ...BASE,
  localAddresses: ['10.0.2.101', 'fd00:2::101'],
  services: [
    {
      name: 'web',
      address: '10.0.9.1',
      port: 80,
      protocol: 'tcp',
      mode: 'fullnat',
      scheduler: 'wlc',
      persistence: { timeout: 300, prefix: 24 },
      healthChecks: [{ type: 'tcp' }],
      servers: [
        { address: '10.0.2.11', port: 8080, weight: 3, upperThreshold: 100, lowerThreshold: 50 },
        { address: '10.0.2.12', mode: 'nat' },
        { address: 'fd00:2::13' },
      ],
    },
    {
      name: 'dns',
      address: '10.0.9.1',
      port: 53,
      protocol: 'udp',
      mode: 'direct',
      scheduler: 'rr',
      onePacket: true,
      servers: [{ address: '10.0.2.11', weight: 0 }],
    },
    {
      name: 'hash',
      address: 'fd00:9::1',
      port: 443,
      protocol: 'tcp',
      mode: 'gue',
      scheduler: 'mh',
      schedulerOptions: { fallback: true, port: true },
      servers: [{ address: 'fd00:2::11' }, { address: 'fd00:2::12', tunnelPort: 7000 }, { address: 'fd00:2::13', mode: 'gre' }],
    },
    {
      name: 'all',
      address: '10.0.9.2',
      port: 'any',
      protocol: 'tcp',
      mode: 'ipip',
      persistence: {},
      servers: [{ address: '10.0.2.11' }],
    },
    {
      name: 'marked',
      mark: 7,
      match: [{ destination: '10.0.9.3', ports: '8000-8100', protocol: 'tcp' }],
      mode: 'direct',
      scheduler: 'sh',
      servers: [{ address: '10.0.2.12' }],
    },
    { name: 'prefix', address: '10.1.0.0/16', port: 80, protocol: 'tcp', servers: [] },
    { name: 'range', address: '10.0.9.4', port: '8000-8100', protocol: 'tcp', servers: [] },
    { name: 'both', address: '10.0.9.5', port: 53, protocol: 'tcp+udp', servers: [] },
    { name: 'ipsec', address: '10.0.9.6', protocol: 'esp', mode: 'direct', servers: [] },
    { name: 'unmarked', match: [{ destination: '10.0.9.7' }], servers: [] },
  ],
};

const LISTED = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.9.1:80 wlc persistent 300 mask 255.255.255.0
  -> [fd00:2::13]:80              FullNat 1      0          0         
  -> 10.0.2.11:8080               FullNat 3      0          0         
  -> 10.0.2.12:80                 Masq    1      0          0         
TCP  10.0.9.2:0 wrr persistent 360
  -> 10.0.2.11:0                  Tunnel  1      0          0         
UDP  10.0.9.1:53 rr ops
  -> 10.0.2.11:53                 Route   0      0          0         
TCP  [fd00:9::1]:443 mh (mh-fallback,mh-port)
  -> [fd00:2::11]:443             Tunnel  1      0          0         
  -> [fd00:2::12]:443             Tunnel  1      0          0         
  -> [fd00:2::13]:443             Tunnel  1      0          0         
FWM  7 sh
  -> 10.0.2.12:0                  Route   1      0          0         
`;

const SAVED = `-A -t 10.0.9.1:80 -s wlc -p 300 -M 255.255.255.0
-a -t 10.0.9.1:80 -r [fd00:2::13]:80 --fullnat -w 1
-a -t 10.0.9.1:80 -r 10.0.2.11:8080 --fullnat -w 3
-a -t 10.0.9.1:80 -r 10.0.2.12:80 -m -w 1
-A -t 10.0.9.2:0 -s wrr -p 360
-a -t 10.0.9.2:0 -r 10.0.2.11:0 -i -w 1 --tun-type ipip
-A -u 10.0.9.1:53 -s rr -o
-a -u 10.0.9.1:53 -r 10.0.2.11:53 -g -w 0
-A -t [fd00:9::1]:443 -s mh -b mh-fallback,mh-port
-a -t [fd00:9::1]:443 -r [fd00:2::11]:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t [fd00:9::1]:443 -r [fd00:2::12]:443 -i -w 1 --tun-type gue --tun-port 7000 --tun-nocsum
-a -t [fd00:9::1]:443 -r [fd00:2::13]:443 -i -w 1 --tun-type gre --tun-nocsum
-A -f 7 -s sh
-a -f 7 -r 10.0.2.12:0 -g -w 1
`;

describe('what the table shows', () => {
  it('services, servers, modes and flags', async () => {
    const { must, state } = openDoor(FULL);
    expect(await must('-Ln')).toBe(LISTED);
    expect(await must('-Sn')).toBe(SAVED);
    expect(await must('-Ln --thresholds -t 10.0.9.1:80')).toContain(
      '  -> 10.0.2.11:8080               100        50         0          0         \n',
    );
    expect(state.changes).toBe(0);
  });
  it('names what it leaves out when asked, on stderr', async () => {
    const { run } = openDoor(FULL);
    const { stdout, stderr } = await run('--verbose -Ln');
    expect(stdout).toBe(LISTED);
    expect(stderr.split('\n')).toEqual([
      'millrace: service prefix is not in the table: its address is a prefix',
      'millrace: service range is not in the table: it has a range of ports',
      'millrace: service both is not in the table: its protocol is tcp+udp',
      'millrace: service ipsec is not in the table: its protocol is esp',
      'millrace: service unmarked is not in the table: it has a list of matches and no mark',
      '',
    ]);
  });
  it('names of hosts and ports', async () => {
    const { must } = openDoor(FULL);
    expect(await must('')).toContain('TCP  www.example.test:http wlc persistent 300 mask 255.255.255.0\n');
  });
  it('files of /proc/net', async () => {
    const { must, run } = openDoor(FULL);
    expect(await must('--proc ip_vs')).toContain('TCP  0A000901:0050 wlc  persistent 75000 FFFFFF00\n');
    expect(await must('--proc ip_vs_stats')).toContain('   Total Incoming Outgoing         Incoming         Outgoing\n');
    expect(await must('--proc ip_vs_conn')).toMatch(/^Pro FromIP .*PEData\n$/);
    expect(await run('--proc ip_vs_app')).toMatchObject({ exitCode: 2, stdout: '' });
  });
});

describe('what commands make of the configuration', () => {
  it('a service and its servers', async () => {
    const { must, state } = openDoor();
    await must('-A -t 10.0.9.1:80 -s sh -b sh-port -p 60 -M 255.255.255.0');
    await must('-a -t 10.0.9.1:80 -r 10.0.2.11:8080 -m -w 5 -x 10 -y 2');
    await must('-a -t 10.0.9.1:80 -r 10.0.2.12 -i --tun-type gue --tun-port 7000');
    await must('-a -t 10.0.9.1:80 -r 10.0.2.13:81 --fullnat');
    await must('-a -t 10.0.9.1:80 -r 10.0.2.14');
    expect(state.config.services).toEqual([
      {
        name: 'tcp-10.0.9.1-80',
        address: '10.0.9.1',
        port: 80,
        protocol: 'tcp',
        mode: 'direct',
        scheduler: 'sh',
        schedulerOptions: { port: true },
        persistence: { timeout: 60, prefix: 24, expireQuiescent: false },
        servers: [
          { address: '10.0.2.11', port: 8080, weight: 5, mode: 'nat', upperThreshold: 10, lowerThreshold: 2 },
          { address: '10.0.2.12', weight: 1, mode: 'gue', tunnelPort: 7000 },
          { address: '10.0.2.13', port: 81, weight: 1, mode: 'fullnat' },
          { address: '10.0.2.14', weight: 1 },
        ],
      },
    ]);
  });
  it('an edit keeps what IPVS does not know, and is no more than it says', async () => {
    const { must, state } = openDoor(FULL);
    await must('-e -t 10.0.9.1:80 -r 10.0.2.12:80 -m -w 9');
    expect(state.operations).toEqual([
      { op: 'set-weight', service: 'web', server: { address: '10.0.2.12', port: 80 }, weight: 9 },
    ]);
    await must('-E -t 10.0.9.1:80 -s rr');
    expect(state.config.services[0]).toMatchObject({ name: 'web', scheduler: 'rr', healthChecks: [{ type: 'tcp' }] });
    expect(state.config.services[0]).not.toHaveProperty('persistence');
    await must('-e -t 10.0.9.1:80 -r 10.0.2.12 -g');
    await must('-d -t 10.0.9.1:80 -r 10.0.2.11:8080');
    expect(state.operations.slice(2)).toEqual([
      { op: 'put-server', service: 'web', server: { address: '10.0.2.12', weight: 1, mode: 'direct' } },
      { op: 'delete-server', service: 'web', server: { address: '10.0.2.11', port: 8080 } },
    ]);
  });
  it('a server added again is a new one, at the end of the list', async () => {
    const { must, state } = openDoor(FULL);
    await must('-R', '-d -t 10.0.9.1:80 -r 10.0.2.11:8080\n-a -t 10.0.9.1:80 -r 10.0.2.11:8080 -m\n');
    expect(state.config.services[0]?.servers.map(({ address, weight }) => [address, weight])).toEqual([
      ['10.0.2.12', 1],
      ['fd00:2::13', 1],
      ['10.0.2.11', 1],
    ]);
  });
  it('-C deletes what the table shows, and nothing else', async () => {
    const { must, state } = openDoor(FULL);
    await must('-C');
    expect(state.config.services.map(({ name }) => name)).toEqual(['prefix', 'range', 'both', 'ipsec', 'unmarked']);
    expect(state.changes).toBe(1);
  });
  it('-S and -R, also of marks, and of any port without persistence', async () => {
    const { must, state } = openDoor({
      ...FULL,
      services: [
        ...FULL.services,
        { name: 'any', address: '10.0.9.8', port: 'any', protocol: 'tcp', mode: 'direct', servers: [] },
      ],
    });
    const [listed, saved] = [await must('-Ln'), await must('-Sn')];
    await must('-C');
    expect(await must('-Sn')).toBe('');
    await must('-R', saved);
    expect(state.changes).toBe(2);
    expect(await must('-Sn')).toBe(saved);
    expect(await must('-Ln')).toBe(listed);
    expect(state.config.services.find(({ mark }) => mark === 7)).toMatchObject({
      name: 'marked',
      match: [{ destination: '10.0.9.3', ports: '8000-8100', protocol: 'tcp' }],
    });
  });
  it('--set changes the timeouts that are not 0', async () => {
    const { must, state } = openDoor();
    expect(await must('-L --timeout')).toBe('Timeout (tcp tcpfin udp): 900 120 300\n');
    await must('--set 600 0 30');
    expect(await must('-L --timeout')).toBe('Timeout (tcp tcpfin udp): 600 120 30\n');
    expect(state.config.sessions.timeouts).toEqual({
      profile: 'ipvs',
      tcp: { established: 600 },
      udp: { oneWay: 30, normal: 30 },
      sctp: {},
    });
  });
  it('names stay free of others', async () => {
    const { must, state } = openDoor({
      ...BASE,
      services: [{ name: 'tcp-10.0.9.1-80', address: '10.0.9.9', port: 80, protocol: 'tcp', servers: [] }],
    });
    await must('-A -t 10.0.9.1:80');
    await must('-A -t [fd00:9::1]:80');
    expect(state.config.services.map(({ name }) => name)).toEqual(['tcp-10.0.9.1-80', 'tcp-10.0.9.1-80-2', 'tcp-fd00_9__1-80']);
  });
});

describe('what is refused', () => {
  it('by the check of the configuration: one line, 255, and nothing has changed', async () => {
    const { must, run, state } = openDoor({ ...BASE, localAddresses: [] });
    await must('-A -t 10.0.9.1:80');
    const before = state.config;
    const { stdout, stderr, exitCode } = await run('-a -t 10.0.9.1:80 -r 10.0.2.11:80 --fullnat');
    expect([stdout, exitCode]).toEqual(['', 255]);
    expect(stderr).toMatch(/^millrace: localAddresses: no IPv4 local address for 1 worker, [^\n]*\n$/);
    expect(state.config).toBe(before);
    expect(await must('-Sn')).toBe('-A -t 10.0.9.1:80 -s wlc\n');
  });
  it('all of -R, when one of its lines does not pass the check', async () => {
    const { run, state } = openDoor();
    const { exitCode } = await run('-R', '-A -t 10.0.9.1:80\n-A -t 224.0.0.1:80\n');
    expect([exitCode, state.changes]).toEqual([255, 0]);
  });
  it.each([
    ['-A -f 9', /^millrace: mark 9 is not defined/],
    ['-A -f 7 -6', /^millrace: mark 7 is a list of matches of IPv4: leave -6 out/],
    ['--start-daemon master', /^millrace: there is no synchronisation/],
    ['-A -t 10.0.9.9:80 -s wlc -b flag-1', /^millrace: scheduler wlc has no flag-1/],
    ['-A -t 10.0.9.9:80 -s sh -b flag-3', /^millrace: scheduler sh has no flag-3/],
    ['-A -t 10.0.9.9:80 -p -M 255.0.255.0', /^millrace: the mask of persistence must be a prefix/],
    ['-A -t 10.0.9.9:80 -p -M 0.0.0.0', /^millrace: a mask of no bits/],
    ['-a -t 10.0.9.1:80 -r 10.0.2.19 -i --tun-type gre --tun-csum', /^millrace: --tun-csum: /],
    ['-A -u 10.0.9.9:53 -p -o', /^millrace: .*onePacket/],
    ['-a -t 10.0.9.1:80 -r 10.0.2.19:80 -w 70000', /^millrace: .*weight/],
    ['-A -t 10.0.9.9:80 -s none', /^Scheduler or persistence engine not found\n$/],
    ['-A -u 10.0.9.9:53 --pe sip', /^Scheduler or persistence engine not found\n$/],
    ['-A -t 10.0.9.1:80', /^Service already exists\n$/],
    ['-A -f 7', /^Service already exists\n$/],
    ['-P -t 10.0.9.1:80 -z 10.0.2.102', /^Try `ipvsadm -h'/],
  ])('%s', async (line, reason) => {
    const { run, state } = openDoor(FULL);
    const { stdout, stderr, exitCode } = await run(line);
    expect(stderr).toMatch(reason);
    expect(stderr.split('\n')).toHaveLength(2);
    expect([stdout, exitCode, state.changes]).toEqual(['', 255, 0]);
  });
  it('a lonely change of others makes the command line run again, a steady one is an error', async () => {
    const { must, run, state } = openDoor(FULL);
    state.interfere = () => state.bump();
    await must('-e -t 10.0.9.1:80 -r 10.0.2.12:80 -m -w 9');
    expect(state.operations).toHaveLength(1);
    const again = () => {
      state.bump();
      state.interfere = again;
    };
    state.interfere = again;
    const { stderr, exitCode } = await run('-e -t 10.0.9.1:80 -r 10.0.2.12:80 -m -w 8');
    expect([exitCode, stderr]).toEqual([255, expect.stringMatching(/^millrace: version /)]);
  });
});
