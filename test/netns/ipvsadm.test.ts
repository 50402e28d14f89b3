// ipvsadm against a balancer that forwards: what is listed is what has been sent, and what is changed takes effect.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plans } from '../../src/lab/addresses.js';
import type { CommandResult } from '../../src/lab/command.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const { vip, servers } = plans.ipv4;
const service = `-t ${vip}:80`;
const program = new URL('support/door-main.mjs', import.meta.url).pathname;

function ipvsadm(line: string, input?: string): Promise<CommandResult> {
  const socket = `MILLRACE_SOCKET=${join(lab().directory, 'door.sock')}`;
  const argv = ['env', socket, ...millraceProgram(), 'ipvsadm', ...line.split(' ')];
  return lab().topology.run('lb', argv, input === undefined ? {} : { input });
}

async function must(line: string, input?: string): Promise<string> {
  const { code, stdout, stderr } = await ipvsadm(line, input);
  expect([code, stderr], line).toEqual([0, '']);
  return stdout;
}

/** Numbers of a server's line. */
async function numbersOf(line: string, server: string): Promise<number[]> {
  const found = new RegExp(`^  -> ${server.replaceAll('.', '\\.')}:80 +(.*)$`, 'm').exec(await must(line))?.[1];
  return (found ?? '').trim().split(/ +/).map(Number);
}

test('listings, counters, rates, weights, -S, -C and -R', async () => {
  const argv = [process.execPath, program, lab().writeConfig(), join(lab().directory, 'door.sock')];
  const balancer = lab().topology.start('door', 'lb', argv);
  try {
    await balancer.waitForLine((line) => line === 'ready', 60_000);
    const get = (times: number) => lab().traffic.get(serviceUrl(vip), times);
    expect(await must('-Ln')).toContain(`TCP  ${vip}:80 wrr\n  -> ${servers.rs1}:80`);

    const first = await get(20);
    expect(first.reasons).toEqual([]);
    const [rs1, rs2] = [await numbersOf('-Ln --stats', servers.rs1), await numbersOf('-Ln --stats', servers.rs2)];
    expect([rs1[0], rs2[0]]).toEqual([first.byServer['rs1'], first.byServer['rs2']]);
    // Each request has a SYN, an ACK, the request and its end in one direction, and an answer of 20 bytes and more in the other.
    for (const [connections = 0, inPackets = 0, outPackets = 0, inBytes = 0, outBytes = 0] of [rs1, rs2]) {
      expect(inPackets).toBeGreaterThanOrEqual(4 * connections);
      expect(outPackets).toBeGreaterThanOrEqual(3 * connections);
      expect([inBytes, outBytes].every((bytes) => bytes > 160 * connections)).toBe(true);
    }

    const connections = (await must('-Lnc')).split('\n').slice(2, -1);
    expect(connections).toHaveLength(20);
    for (const line of connections)
      expect(line).toMatch(/^TCP [0-9]{2}:[0-9]{2} {2}[A-Z_]+ +[0-9.]+:[0-9]+ +[0-9.]+:80 +[0-9.]+:80$/);
    const to = (lines: readonly string[], server: string) => lines.filter((line) => line.endsWith(` ${server}:80`)).length;
    expect([to(connections, servers.rs1), to(connections, servers.rs2)]).toEqual([rs1[0], rs2[0]]);
    const dpvs = (await must('--dpvs -Lnc')).split('\n').slice(0, -1);
    expect([dpvs.length, to(dpvs, servers.rs1)]).toEqual([20, rs1[0]]);
    for (const line of dpvs) expect(line).toMatch(/^\[[0-9]\]tcp [0-9]+s +[A-Z_]+ +(?:[0-9.]+:[0-9]+ +){3}[0-9.]+:80$/);

    await must(`-e ${service} -r ${servers.rs2}:80 --fullnat -w 0`);
    expect((await get(10)).byServer).toEqual({ rs1: 10 });
    expect((await numbersOf('-Ln --stats', servers.rs2))[0]).toBe(rs2[0]);
    await must('-Z');
    expect(await numbersOf('-Ln --stats', servers.rs1)).toEqual([0, 0, 0, 0, 0]);
    await get(10);
    expect((await numbersOf('-Ln --stats', servers.rs1))[0]).toBe(10);
    // The next tick is at most two seconds away, and what it counts is above 0 for several more.
    await expect.poll(async () => (await numbersOf('-Ln --rate', servers.rs1))[2], { timeout: 20_000 }).toBeGreaterThan(0);

    const [listed, saved] = [await must('-Ln --nosort'), await must('-Sn')];
    await must('-C');
    expect(await must('-Sn')).toBe('');
    expect((await lab().topology.run('client', ['curl', '-sS', '--max-time', '0.5', serviceUrl(vip)])).code).toBe(28);
    await must('-R', saved);
    expect(await must('-Sn')).toBe(saved);
    expect((await must('-Ln')).split('\n')).toHaveLength(listed.split('\n').length);
    expect((await get(6)).byServer).toEqual({ rs1: 6 });

    const refused = await ipvsadm('-A -t 0.0.0.0:80');
    expect([refused.code, refused.stdout]).toEqual([255, '']);
    expect(refused.stderr).toMatch(/^millrace: .*unspecified.*\n$/);
  } finally {
    await balancer.stop();
  }
});
