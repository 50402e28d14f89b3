// What ipvsadm does beyond the recordings' commands: -R, orders, and that nothing can make it crash.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OPTIONS } from '../../../src/ipvs/option-table.js';
import { sorted } from '../../../src/ipvs/order.js';
import { directorTable, must, run } from '../../ipvsadm/director.js';

const words = (line: string) => line.split(' ').filter((word) => word !== '');

function saved(...rules: string[]): string {
  const table = directorTable();
  for (const rule of rules) must(table, `ipvsadm ${rule}`);
  return run(table, ['-Sn']).stdout;
}

describe('ipvsadm -R', () => {
  it('ends with the status of the last line; a refusal does not stop it', () => {
    const table = directorTable();
    const input = '-A -t 10.0.9.1:80 -s rr\n-A -t 10.0.9.1:80 -s rr\n-A -t 10.0.9.2:80 -s rr\n';
    expect(run(table, ['-R'], input)).toEqual({ exitCode: 0, stdout: '', stderr: 'Service already exists\n' });
    expect(table.services()).toHaveLength(2);
    expect(run(table, ['-R'], '-A -t 10.0.9.2:80').exitCode).toBe(255);
  });
  it('stops at its own checks and keeps what earlier lines did', () => {
    const table = directorTable();
    const outcome = run(table, ['-R'], '-A -t 10.0.9.1:80\n-A -f -1 -s fo\n-A -t 10.0.9.2:80\n');
    expect(outcome).toEqual({ exitCode: 2, stdout: '', stderr: "invalid fwmark value `-1' specified\n" });
    expect(table.services()).toHaveLength(1);
  });
  it('goes on after a word that popt does not know', () => {
    const table = directorTable();
    const outcome = run(table, ['-R'], '-A -q\n-A -t 10.0.9.2:80\n');
    expect(outcome).toEqual({ exitCode: 0, stdout: '', stderr: '-q: unknown option\n' });
    expect(table.services()).toHaveLength(1);
  });
  it('takes blank lines, CR, tabs and the word ipvsadm; comments and quotes are words', () => {
    const table = directorTable();
    expect(run(table, ['-R'], '\n \t\nipvsadm -A\t-t 10.0.9.1:80\r\n').exitCode).toBe(0);
    expect(run(table, ['-R'], '# comment\n').exitCode).toBe(255);
    expect(run(table, ['-R'], '-A -t "10.0.9.1:80"\n').exitCode).toBe(2);
    expect(run(table, ['-R'], '').exitCode).toBe(0);
  });
  it('loses a last line that ends in several blanks', () => {
    const table = directorTable();
    expect(run(table, ['-R'], '-A -t 10.0.9.1:80 \n-A -t 10.0.9.2:80 ').exitCode).toBe(0);
    expect(run(table, ['-R'], '-A -t 10.0.9.3:80  ').exitCode).toBe(0);
    expect(table.services()).toHaveLength(2);
  });
  it('does not read itself', () => {
    expect(run(directorTable(), ['-R'], '-R\n-C\n')).toMatchObject({ exitCode: 255, stdout: '' });
  });
});

describe('what ipvsadm takes', () => {
  it.each([
    ['-A -t 10.0.9:80', '-A -t 10.0.0.9:80 -s wlc\n'],
    ['-A -t 10.0.9.1:80 -p 9 -M 24', '-A -t 10.0.9.1:80 -s wlc -p 9 -M 0.0.0.24\n'],
    ['-A -t 10.0.9.1:80 -p 9 -M 255.0.255.0', '-A -t 10.0.9.1:80 -s wlc -p 9 -M 255.0.255.0\n'],
    ['-A -t 10.0.9.1:80 -M 255.0.0.0', '-A -t 10.0.9.1:80 -s wlc\n'],
    // -6 begins anew with the mask, -M after it counts.
    ['-A -f 1 -p 9 -M 10.0.0.0 -6', '-A -f 1 -6 -s wlc -p 9\n'],
    ['-A -f 1 -6 -p 9 -M 48', '-A -f 1 -6 -s wlc -p 9 -M 48\n'],
    ['-A -M 48 -p 9 -t [fd00::1]:80', '-A -t [fd00::1]:80 -s wlc -p 9\n'],
    ['-A -t 10.0.9.1:80 -s none', '-A -t 10.0.9.1:80 -s none\n'],
    ['-A -t 10.0.9.1:80 -s sh -b flag-3', '-A -t 10.0.9.1:80 -s sh -b \n'],
    ['-A -u 10.0.9.1:53 --pe sip', '-A -u 10.0.9.1:53 -s wlc --pe sip\n'],
  ])('%s', (rule, expected) => expect(saved(rule)).toBe(expected));

  it.each([
    ['-A -t [10.0.9.1]:80', 'Zero port specified for non-persistent service'],
    ['-A -t 10.0.9.1:80 -b ,', "invalid scheduler flag `,'"],
    ['-a -t 10.0.9.1:80 -r [fd00:2::13] -i', 'illegal real server address[:port] specified'],
    ['-a -t 10.0.9.1:80 -r 10.0.2.1:80 -m --tun-csum', 'Tunnel options conflict with forward method'],
    ['-a -t 10.0.9.1:80 -r 10.0.2.1:80 -i --tun-type gue', "You need to supply the 'tun-port' option for the 'gue' tunnel type"],
    [
      '-a -t 10.0.9.1:80 -r 10.0.2.1:80 -i --tun-type gre --tun-remcsum',
      "Illegal 'tun-remcsum' option with the 'gre' tunnel type",
    ],
    ['--start-daemon master --mcast-group 10.0.0.1', "invalid IPv4 mcast-group `10.0.0.1'"],
    ['--start-daemon master --mcast-group fd00::1', "invalid IPv6 mcast-group `fd00::1'"],
    ['--start-daemon master --mcast-ttl 0', 'illegal mcast-ttl specified'],
    ['-L --timeout --persistent-conn', 'options conflicts in the list command'],
  ])('%s is refused with status 2', (line, message) =>
    expect(run(directorTable(), words(line))).toEqual({ exitCode: 2, stdout: '', stderr: `${message}\n` }),
  );

  it('editing begins anew: scheduler wlc, forwarding Route, weight 1; the server keeps its place', () => {
    const table = directorTable();
    for (const rule of [
      '-A -t 10.0.9.1:80 -s rr -p 9',
      '-a -t 10.0.9.1:80 -r 10.0.2.1:80 -i -w 5',
      '-a -t 10.0.9.1:80 -r 10.0.2.2 -m',
    ])
      must(table, `ipvsadm ${rule}`);
    must(table, 'ipvsadm -E -t 10.0.9.1:80');
    must(table, 'ipvsadm -e -t 10.0.9.1:80 -r 10.0.2.1:80');
    const [service] = table.services();
    expect(service).toMatchObject({ scheduler: 'wlc', persistent: false });
    expect(service?.servers.map(({ forward, weight }) => [forward, weight])).toEqual([
      ['Masq', 1],
      ['Route', 1],
    ]);
    must(table, 'ipvsadm -d -t 10.0.9.1:80 -r 10.0.2.2:80');
    must(table, 'ipvsadm -a -t 10.0.9.1:80 -r 10.0.2.0:80');
    expect(table.services()[0]?.servers.map((server) => Number(server.address.value & 0xffn))).toEqual([0, 1]);
  });
  it('servers must be unicast', () => {
    const table = directorTable();
    for (const rule of ['-A -t 10.0.9.1:80', '-A -t [fd00::1]:80']) must(table, `ipvsadm ${rule}`);
    const add = (service: string, server: string) => run(table, ['-a', '-t', service, '-r', server, '-m']).exitCode;
    for (const server of ['0.1.2.3:80', '239.0.0.1:80', '255.255.255.255:80', '10.0.2.255:80'])
      expect([server, add('10.0.9.1:80', server)]).toEqual([server, 255]);
    for (const server of ['240.0.0.1:80', '10.0.2.254:80', '127.0.0.1:80'])
      expect([server, add('10.0.9.1:80', server)]).toEqual([server, 0]);
    for (const server of ['[::]:80', '[ff02::1]:80', '[fe80::1]:80', '[::ffff:10.0.0.1]:80'])
      expect([server, add('[fd00::1]:80', server)]).toEqual([server, 255]);
    for (const server of ['[::1]:80', '[fe80::1234]:80', '[::10.0.0.1]:80', '[fec0::1]:80'])
      expect([server, add('[fd00::1]:80', server)]).toEqual([server, 0]);
  });
  it('mixed families and synchronisation exclude each other', () => {
    const table = directorTable();
    must(table, 'ipvsadm -A -t 10.0.9.1:80');
    must(table, 'ipvsadm --start-daemon backup --mcast-interface lo --sync-maxlen 1');
    expect(table.daemons()[0]?.maxLength).toBe(1024);
    const mixed = words('-a -t 10.0.9.1:80 -r [fd00:2::1]:80 -i');
    expect(run(table, mixed).exitCode).toBe(255);
    must(table, 'ipvsadm --stop-daemon backup');
    expect(run(table, mixed).exitCode).toBe(0);
    expect(run(table, words('--start-daemon master --mcast-interface dr')).stderr).toMatch(/^Invalid operation/);
  });
  it('sorts addresses by signed differences, as ipvsadm does', () => {
    const table = directorTable();
    for (const address of ['10.0.0.1', '192.168.0.1', '172.16.0.1']) must(table, `ipvsadm -A -t ${address}:80`);
    const order = run(table, ['-Ln']).stdout.match(/TCP {2}\S+/g);
    expect(order).toEqual(['TCP  172.16.0.1:80', 'TCP  192.168.0.1:80', 'TCP  10.0.0.1:80']);
  });
  it('keeps equal ones in order, and halves a list as glibc does', () => {
    const items = [
      [1, 'a'],
      [0, 'b'],
      [1, 'c'],
      [0, 'd'],
    ] as const;
    expect(sorted(items, (left, right) => left[0] - right[0]).map(([, name]) => name)).toEqual(['b', 'd', 'a', 'c']);
    // A cycle: each of 0, 1, 2 is before the next. The last two are sorted first, then the first one is put among them.
    const cyclic = (left: number, right: number) => ((right - left + 3) % 3 === 1 ? -1 : 1);
    expect(sorted([2, 0, 1], cyclic)).toEqual([2, 0, 1]);
    expect(sorted([0, 2, 1], cyclic)).toEqual([0, 1, 2]);
    expect(sorted([1, 0, 2], cyclic)).toEqual([1, 2, 0]);
  });
  it('without words it lists with names', () => {
    const table = directorTable();
    must(table, 'ipvsadm -A -t 10.0.9.1:80');
    expect(run(table, [])).toEqual(run(table, ['-L']));
    expect(run(table, []).stdout).toContain('TCP  www.example.test:http wlc\n');
  });
});

describe('random input', () => {
  const option = fc.constantFrom(
    ...OPTIONS.flatMap(({ long, short }) => [`--${long}`, ...(short === undefined ? [] : [`-${short}`])]),
  );
  const value = fc.oneof(
    fc.constantFrom(
      '10.0.9.1:80',
      '[fd00::1]:80',
      '10.0.2.1',
      'rr',
      'sh',
      'sh-port',
      'gue',
      '1',
      '0',
      '-1',
      'master',
      'dr',
      '64',
      '',
    ),
    fc.string(),
  );
  const line = fc.array(fc.oneof(option, value), { maxLength: 9 });

  it('always ends with one of the four statuses, and with a message when it is not 0', () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 20 }), (lines) => {
        const table = directorTable();
        for (const argv of lines) {
          const { exitCode, stderr } = run(table, argv, lines.flat().join('\n'));
          expect([0, 1, 2, 255]).toContain(exitCode);
          if (exitCode !== 0) expect(stderr).not.toBe('');
        }
      }),
    );
  });
  it('any text can be given to -R', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void run(directorTable(), ['-R'], text)));
  });
  it('what -Sn writes, -R reads', () => {
    const address = fc.constantFrom(
      '-t 10.0.9.1:80',
      '-u 10.0.9.1:53',
      '-t [fd00::1]:80',
      '-f 7',
      '-f 7 -6',
      '--sctp-service 10.0.9.2:9',
    );
    const service = fc.tuple(
      address,
      fc.constantFrom('-s rr', '-s mh -b mh-port', '-s wlc -b flag-1,flag-3', ''),
      fc.constantFrom('', '-p', '-p 60 -M 64', '-p 60'),
    );
    const server = fc.tuple(
      address,
      fc.constantFrom('10.0.2.1:80', '10.0.2.2:8080', '[fd00:2::1]:80', '192.0.2.1:80'),
      fc.constantFrom('-m', '-g', '-i', '-i --tun-type gue --tun-port 6080 --tun-csum', '-i --tun-type gre'),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    );
    fc.assert(
      fc.property(fc.array(service), fc.array(server), (services, servers) => {
        const table = directorTable();
        for (const parts of services) run(table, words(`-A ${parts.join(' ')}`));
        for (const [name, real, how, weight] of servers) run(table, words(`-a ${name} -r ${real} ${how} -w ${weight}`));
        const before = run(table, ['-Sn']).stdout;
        const restored = directorTable();
        expect(run(restored, ['-R'], before)).toEqual({ exitCode: 0, stdout: '', stderr: '' });
        expect(run(restored, ['-Sn']).stdout).toBe(before);
      }),
    );
  });
});
