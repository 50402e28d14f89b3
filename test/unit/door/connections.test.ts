// Sessions as ipvsadm's and DPVS's listings of connections: the bytes of the recordings, the words for states, bounds and what is left out.
import { describe, expect, it } from 'vitest';
import type { SessionView } from '../../../src/control/sessions.js';
import { listConnections, stateName } from '../../../src/door/to-connections.js';
import { createError } from '../../../src/errors.js';
import { SESSION_STATES } from '../../../src/native-binding.js';
import { readRecording } from '../../ipvsadm/recordings.js';
import { FakeBalancer, openDoor, session } from './fakes.js';

/** Sessions that IPVS would list like this. */
function sessionsOf(listing: string): SessionView[] {
  const word = (protocol: string, state: string): string => {
    const names = SESSION_STATES.filter((name) => stateName({ protocol, state: name }, 'millrace') === state);
    return names.at(-1) ?? state;
  };
  const rows = listing.split('\n').slice(2, -1);
  return rows.map((row) => {
    const [protocol = '', time = '', state = '', client = '', vip = '', server = ''] = row.trim().split(/ +/);
    const [minutes, seconds] = time.split(':').map(Number);
    const expires = (minutes ?? 0) * 60 + (seconds ?? 0);
    const name = protocol.toLowerCase();
    return session({ protocol: name, client, vip, server, local: client, state: word(name, state), expires, mode: 'direct' });
  });
}

describe('as recorded of a live IPVS', () => {
  for (const file of ['09-tcp-udp-sctp-states.txt', '13-mixed-family-tunnel.txt']) {
    it(`${file}: every listing of connections, byte for byte`, async () => {
      const listings = readRecording(file).filter(({ command }) => command === 'ipvsadm -Lnc');
      expect(listings.length).toBeGreaterThan(0);
      const { balancer, must } = openDoor();
      for (const { stdout } of listings) {
        balancer.listed = sessionsOf(stdout);
        expect(await must('-Lnc')).toBe(stdout);
      }
    });
  }
});

const MIXED = [
  session(),
  session({
    client: '[fd00:1::2]:48012',
    vip: '[fd00:9::20]:8013',
    local: '[fd00:2::101]:7',
    server: '10.0.2.13:8013',
    worker: 1,
  }),
  session({ protocol: 'udp', client: '10.0.1.3:53', local: '10.0.1.3:53', mode: 'direct', state: 'UDP_ONE_WAY', expires: 299 }),
  session({ protocol: 'icmp', client: '10.0.1.4:7', state: 'NONE', mode: 'snat' }),
  session({ protocol: 'sctp', state: 'COOKIE_SENT', expires: 3 }),
];

describe('-Lnc', () => {
  it('client, virtual and destination', async () => {
    const { balancer, must } = openDoor();
    balancer.listed = MIXED;
    expect(await must('-Lnc')).toBe(
      [
        'IPVS connection entries',
        'pro expire state       source             virtual            destination',
        'TCP 14:59  ESTABLISHED 10.0.1.2:40000     10.0.9.1:80        10.0.2.11:8080',
        'TCP 14:59  ESTABLISHED [fd00:1::2]:48012  [fd00:9::20]:8013  10.0.2.13:8013',
        'UDP 04:59  UDP         10.0.1.3:53        10.0.9.1:80        10.0.2.11:8080',
        'SCTP 00:03  C-SENT      10.0.1.2:40000     10.0.9.1:80        10.0.2.11:8080',
        '',
      ].join('\n'),
    );
    expect(await must('-Lc')).toContain(
      'TCP 14:59  ESTABLISHED 10.0.1.2:40000     www.example.test:http rs1.example.test:http-alt\n',
    );
  });
  it('as /proc/net/ip_vs_conn, also after --dpvs', async () => {
    const { balancer, must } = openDoor();
    balancer.listed = MIXED;
    const file = [
      'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData',
      'TCP 0A000102 9C40 0A000901 0050 0A00020B 1F90 ESTABLISHED     899',
      'TCP fd00:0001:0000:0000:0000:0000:0000:0002 BB8C fd00:0009:0000:0000:0000:0000:0000:0020 1F4D 0A00020D 1F4D ESTABLISHED     899',
      'UDP 0A000103 0035 0A000901 0050 0A00020B 1F90 UDP             299',
      'SCTP 0A000102 9C40 0A000901 0050 0A00020B 1F90 C-SENT            3',
      '',
    ].join('\n');
    expect(await must('--proc ip_vs_conn')).toBe(file);
    expect(await must('--dpvs --proc ip_vs_conn')).toBe(file);
  });
  it('with --dpvs: the worker, seconds, and the local address', async () => {
    const { balancer, must, run } = openDoor();
    balancer.listed = MIXED;
    expect(await must('--dpvs -Lnc')).toBe(
      [
        '[0]tcp 899s   TCP_EST     10.0.1.2:40000     10.0.9.1:80        10.0.2.101:1025    10.0.2.11:8080',
        '[1]tcp 899s   TCP_EST     [fd00:1::2]:48012  [fd00:9::20]:8013  [fd00:2::101]:7    10.0.2.13:8013',
        '[0]udp 299s   UDP_ONEWAY  10.0.1.3:53        10.0.9.1:80        10.0.1.3:53        10.0.2.11:8080',
        '[0]sctp 3s     SCTP_COOKIE_SEN 10.0.1.2:40000     10.0.9.1:80        10.0.2.101:1025    10.0.2.11:8080',
        '',
      ].join('\n'),
    );
    expect(await must('--dpvs -Lc')).toContain('[0]tcp 899s   TCP_EST     10.0.1.2:40000     www.example.test:http ');
    expect(await run('--dpvs -Lnc --persistent-conn')).toEqual({
      stdout: '',
      stderr: 'millrace: --persistent-conn: templates of persistence are not listed; leave it out for the connections\n',
      exitCode: 255,
    });
  });
  it('what is not listed is said with --verbose alone', async () => {
    const { balancer, run } = openDoor();
    balancer.listed = MIXED;
    expect((await run('-Lnc')).stderr).toBe('');
    expect((await run('--verbose -Lnc')).stderr).toBe('millrace: 1 sessions are not listed: they are of icmp, esp or ah\n');
    expect((await run('--verbose -Ln')).stderr).toBe('');
  });
  it('sessions are asked for by command lines that list connections, and by no other', async () => {
    const { balancer, must, run, state } = openDoor();
    balancer.listed = MIXED;
    for (const line of ['-Ln', '-Ln --stats', '-Sn', '-Z', '-A -t 10.0.9.1:80', '--proc ip_vs', '--proc ip_vs_stats'])
      await must(line);
    await run('-L -c --rate');
    expect(balancer.pages).toEqual([]);
    const changes = state.changes;
    // Lines of -R may list, too; what the others change is changed once.
    expect(await must('-R', '-A -t 10.0.9.2:80\n-L -n -c\n')).toContain('TCP 14:59  ESTABLISHED 10.0.1.2:40000');
    expect([balancer.pages.length, state.changes]).toEqual([1, changes + 1]);
  });
  it('a balancer that is closed is an error in one line', async () => {
    const { balancer, run } = openDoor();
    balancer.failure = createError('MILLRACE_E_NOT_RUNNING', 'the load balancer is closed');
    const { stdout, stderr, exitCode } = await run('-Lnc');
    expect([stdout, exitCode]).toEqual(['', 255]);
    expect(stderr).toMatch(/^millrace: the load balancer is closed .*\n$/);
    balancer.failure = new Error('a mistake of ours');
    await expect(run('-Lnc')).rejects.toThrow('a mistake of ours');
  });
});

describe('listConnections', () => {
  const many = Array.from({ length: 25 }, (_, index) => session({ client: `10.0.1.2:${1000 + index}` }));
  const balancer = (pageSize: number) => Object.assign(new FakeBalancer(), { listed: many, pageSize });

  it('follows pages to the end', async () => {
    const source = balancer(10);
    const { connections, leftOut } = await listConnections(source, 'millrace');
    expect(connections.map(({ client }) => client.port)).toEqual(many.map((_, index) => 1000 + index));
    expect(leftOut).toEqual([]);
    expect(source.pages.map(({ cursor }) => cursor)).toEqual([undefined, '0-10', '0-20']);
  });
  it('ends at its bound, and says so', async () => {
    const source = balancer(10);
    const { connections, leftOut } = await listConnections(source, 'millrace', 15);
    expect([connections.length, source.pages.map(({ limit }) => limit)]).toEqual([15, [15, 5]]);
    expect(leftOut).toEqual(['only 15 of 25 sessions were looked at: `millrace sessions list --all` lists all']);
    expect((await listConnections(balancer(10), 'millrace', 25)).leftOut).toEqual([]);
  });
});

it('every state of the dataplane has a word that fits the column, and SCTP the words of the recordings', () => {
  for (const state of SESSION_STATES) {
    for (const protocol of ['tcp', 'udp', 'sctp']) {
      expect(stateName({ protocol, state }, 'millrace').length).toBeLessThanOrEqual(11);
      expect(stateName({ protocol, state }, 'dpvs').length).toBeLessThanOrEqual(15);
    }
  }
  const recorded = readRecording('09-tcp-udp-sctp-states.txt').flatMap(({ stdout }) =>
    stdout.split('\n').flatMap((line) => (line.startsWith('SCTP ') ? [line.split(/ +/)[2] ?? ''] : [])),
  );
  const known = SESSION_STATES.map((state) => stateName({ protocol: 'sctp', state }, 'millrace'));
  expect(recorded.length).toBeGreaterThan(0);
  for (const state of recorded) expect(known).toContain(state);
});
