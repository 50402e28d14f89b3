// The options of DPVS's ipvsadm: full NAT, local addresses, lists of clients, PROXY headers, timeouts of services.
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../../src/config/schema.js';
import { BASE, openDoor } from './fakes.js';

const WEB: ConfigInput = {
  ...BASE,
  services: [
    {
      name: 'web',
      address: '10.0.9.1',
      port: 80,
      protocol: 'tcp',
      scheduler: 'sh',
      schedulerOptions: { port: true },
      persistence: { timeout: 60 },
      acl: { deny: ['10.3.0.0/16'] },
      servers: [{ address: '10.0.2.11', port: 8080 }],
    },
  ],
};

describe('--dpvs', () => {
  it('-b is full NAT, in commands and in what is saved', async () => {
    const { must, state } = openDoor(WEB);
    await must('--dpvs -a -t 10.0.9.1:80 -r 10.0.2.12:8080 -b -w 2');
    expect(state.config.services[0]?.servers[1]).toEqual({ address: '10.0.2.12', port: 8080, weight: 2 });
    expect(await must('--dpvs -Sn')).toBe(
      [
        '-A -t 10.0.9.1:80 -s sh -p 60 --sched-flags sh-port',
        '-a -t 10.0.9.1:80 -r 10.0.2.11:8080 -b -w 1',
        '-a -t 10.0.9.1:80 -r 10.0.2.12:8080 -b -w 2',
        '',
      ].join('\n'),
    );
    expect(await must('-Ln')).toContain('  -> 10.0.2.12:8080               FullNat 2      0          0         \n');
  });
  it('-S and -R', async () => {
    const { must, state } = openDoor(WEB);
    await must('--dpvs -A -u 10.0.9.1:53 -s rr --conn-timeout 30 --proxy-protocol v2');
    const saved = await must('--dpvs -Sn');
    expect(saved).toContain('-A -u 10.0.9.1:53 -s rr --conn-timeout 30 --proxy-protocol v2\n');
    await must('-C');
    await must('--dpvs -R', saved);
    expect(await must('--dpvs -Sn')).toBe(saved);
    expect(state.config.services.find(({ protocol }) => protocol === 'udp')).toMatchObject({
      clientAddress: { method: 'proxy-v2' },
      timeouts: { udp: { normal: 30 } },
    });
  });
  it('local addresses are those of the whole balancer', async () => {
    const { must, run, state } = openDoor(WEB);
    await must('--dpvs -P -t 10.0.9.1:80 -z 10.0.2.102 -F eth0');
    expect(state.config.localAddresses).toEqual(['10.0.2.101', '10.0.2.102']);
    expect(await must('--dpvs -G')).toBe(
      [
        'VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     ',
        '10.0.9.1:80          2        ',
        '                              10.0.2.101           -          -         ',
        '                              10.0.2.102           -          -         ',
        '',
      ].join('\n'),
    );
    expect(await must('--dpvs --get-laddr -t 10.0.9.1:80')).toBe(await must('--dpvs -G'));
    await must('--dpvs -Q -t 10.0.9.1:80 -z 10.0.2.101');
    expect(state.config.localAddresses).toEqual(['10.0.2.102']);
    expect(await run('--dpvs -Q -t 10.0.9.1:80 -z 10.0.2.102')).toMatchObject({
      exitCode: 255,
      stderr: expect.stringMatching(/^millrace: localAddresses: no IPv4 local address/),
    });
    expect(await run('--dpvs -P -t 10.0.9.1:80 -z 10.0.2.102')).toMatchObject({ exitCode: 255, stderr: 'File exists\n' });
    expect(await run('--dpvs -P -t 10.0.9.9:80 -z 10.0.2.103')).toMatchObject({ exitCode: 255, stderr: 'Service not defined\n' });
    expect(await run('--dpvs -P -t 10.0.9.1:80 -z 10.0.2.103 -F dpdk0')).toMatchObject({
      exitCode: 255,
      stderr: 'millrace: interface "dpdk0" is not among the interfaces (eth0): leave -F out, routes decide\n',
    });
    expect(await run('--dpvs -G -t 10.0.9.9:80')).toMatchObject({ exitCode: 1, stderr: 'No such service\n' });
  });
  it('black and white lists are the access list of the service', async () => {
    const { must, run, state } = openDoor(WEB);
    await must('--dpvs -U -t 10.0.9.1:80 -k 192.0.2.1');
    await must('--dpvs -O -t 10.0.9.1:80 -2 192.0.2.2');
    expect(state.config.services[0]?.acl).toEqual({ allow: ['192.0.2.2/32'], deny: ['10.3.0.0/16', '192.0.2.1/32'] });
    expect(await must('--dpvs -B')).toBe(
      [
        `PROTO    VIP:VPORT                      BLACKLIST${' '.repeat(21)}`,
        `TCP      10.0.9.1:80                    10.3.0.0/16${' '.repeat(19)}`,
        `TCP      10.0.9.1:80                    192.0.2.1${' '.repeat(21)}`,
        '',
      ].join('\n'),
    );
    expect(await must('--dpvs -W -t 10.0.9.1:80')).toContain('TCP      10.0.9.1:80                    192.0.2.2  ');
    await must('--dpvs -V -t 10.0.9.1:80 -k 192.0.2.1');
    await must('--dpvs -Y -t 10.0.9.1:80 -2 192.0.2.2');
    expect(state.config.services[0]?.acl).toEqual({ allow: [], deny: ['10.3.0.0/16'] });
    expect(await run('--dpvs -V -t 10.0.9.1:80 -k 192.0.2.1')).toMatchObject({ exitCode: 255 });
  });
  it('-E changes what it names, and begins anew with what is only DPVS’s', async () => {
    const { must, state } = openDoor(WEB);
    await must('--dpvs -E -t 10.0.9.1:80 --conn-timeout 60 --proxy-protocol v1');
    const [edited] = state.config.services;
    expect(edited).toMatchObject({
      scheduler: 'sh',
      schedulerOptions: { port: true },
      persistence: { timeout: 60 },
      clientAddress: { method: 'proxy-v1' },
      timeouts: { tcp: { established: 60 } },
    });
    expect(await must('--dpvs -Ln')).toContain('TCP  10.0.9.1:80 sh (sh-port) persistent 60 conn-timeout 60 ppv1\n');
    expect(await must('-Ln')).toContain('TCP  10.0.9.1:80 sh (sh-port) persistent 60\n');
    await must('--dpvs -E -t 10.0.9.1:80 -s rr');
    expect(state.config.services[0]).not.toHaveProperty('clientAddress');
    expect(state.config.services[0]).not.toHaveProperty('timeouts');
    // Without --dpvs it is ipvsadm's: what is not named begins anew, what IPVS does not know stays.
    await must('--dpvs -E -t 10.0.9.1:80 --conn-timeout 60');
    await must('-E -t 10.0.9.1:80 -s rr');
    expect(state.config.services[0]).toMatchObject({ scheduler: 'rr', timeouts: { tcp: { established: 60 } } });
    expect(state.config.services[0]).not.toHaveProperty('persistence');
  });
  it.each([
    ['-A -q 10.0.9.1', /^--icmp-service: /],
    ['-A -H proto=tcp', /^--match: /],
    ['-a -t 10.0.9.1:80 -r 10.0.2.1:80 -J', /^--snat: /],
    ['-A -t 10.0.9.2:80 -j enable', /^--synproxy enable: /],
    ['-A -t 10.0.9.2:80 --dest-check default', /^--dest-check default: /],
    ['-A -t 10.0.9.2:80 -s conhash --hash-target qid', /^--hash-target qid: /],
    ['-A -t 10.0.9.2:80 -s rr --hash-target sip', /^hash target can only be set when schedule is conhash/],
    ['-A -t 10.0.9.2:80 --proxy-protocol v1-insecure', /^--proxy-protocol v1-insecure: write acceptProxy/],
    ['-A -t 10.0.9.2:80 --proxy-protocol v3', /^--proxy-protocol v3: use disable, v1 or v2/],
    ['-A -t 10.0.9.2:80 --conn-timeout x', /^invalid timeout value `x' specified/],
    ['-A -u 10.0.9.2:443 --quic', /^--quic: use the scheduler quic-cid/],
    ['-A -t 10.0.9.2:80 --expire-quiescent', /^--expire-quiescent: /],
    ['-L --cpu 1', /^--cpu: /],
    ['-Lc --sockpair x', /^--sockpair: /],
    ['-U -t 10.0.9.1:80 -k ipset:bad', /^ipset:bad: sets of the kernel are not read/],
    ['-U -t 10.0.9.1:80 -k bad.example', /^illegal blacklist entry format/],
    ['-U -t 10.0.9.1:80', /^You need to supply the 'blklst-address' option for the 'add-blklst' command/],
    ['-P -t 10.0.9.1:80 -z 10.0.2.1 -n', /^Illegal 'numeric' option with the 'add-laddr' command/],
  ])('%s is refused with the reason', async (line, reason) => {
    const { run, state } = openDoor(WEB);
    const { stderr, exitCode } = await run(`--dpvs ${line}`);
    expect(stderr).toMatch(reason);
    expect([exitCode, state.changes]).toEqual([2, 0]);
  });
  it('what can only be said one way may be said', async () => {
    const { must, state } = openDoor(WEB);
    await must('--dpvs -A -t 10.0.9.2:80 -s conhash --hash-target sip -j disable --dest-check disable');
    expect(state.config.services[1]).toMatchObject({ scheduler: 'conhash' });
  });
});
