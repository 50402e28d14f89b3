// keepalived's fifo is followed, across restarts of both sides; services are in force where their addresses are.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { validateConfig } from '../../../src/config/validate.js';
import { parseNotification, VrrpFollower, type VrrpState } from '../../../src/keepalived/vrrp-follower.js';
import { inForce, instancesByAddress } from '../../../src/keepalived/vrrp-services.js';
import { load } from './support/memory.js';

let folder = '';
let fifo = '';
let pidFile = '';
let follower: VrrpFollower | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-vrrp-'));
  fifo = join(folder, 'fifo');
  pidFile = join(folder, 'keepalived.pid');
  writeFileSync(pidFile, `${process.pid}\n`);
});
afterEach(() => {
  follower?.close();
  rmSync(folder, { recursive: true });
});

function follow(): VrrpFollower {
  follower?.close();
  follower = new VrrpFollower({ fifo, pidFile, changed: () => undefined });
  return follower;
}
const states = () => Object.fromEntries(follower?.states ?? []);
const patience = { timeout: 20_000, interval: 5 };

test('lines of the fifo', () => {
  expect(parseNotification('INSTANCE "VI 1" MASTER 100')).toEqual({ instance: 'VI 1', state: 'MASTER' });
  expect(parseNotification('INSTANCE "VI_1" STOP 100')).toEqual({ instance: 'VI_1', state: 'STOP' });
  for (const line of [
    'GROUP "G" MASTER 100',
    'INSTANCE "VI_1" MASTER_RX_LOWER_PRI 100',
    'INSTANCE VI_1 MASTER 100',
    'INSTANCE "" FAULT',
  ]) {
    expect(parseNotification(line)).toBeUndefined();
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => parseNotification(text) === undefined || text.startsWith('INSTANCE "')),
  );
});

test('states arrive, also of lines that come in pieces, and after keepalived was started anew', async () => {
  follow();
  expect(states()).toEqual({});
  appendFileSync(fifo, 'INSTANCE "VI_1" BACKUP 100\nGROUP "G" MASTER 0\nINSTANCE "VI_2" MAS');
  await expect.poll(states, patience).toEqual({ VI_1: 'BACKUP' });
  appendFileSync(fifo, 'TER 50\nrubbish\n');
  await expect.poll(states, patience).toEqual({ VI_1: 'BACKUP', VI_2: 'MASTER' });
});

test('what was known counts after a restart while keepalived lives, and not without it', async () => {
  follow();
  appendFileSync(fifo, 'INSTANCE "VI_1" MASTER 100\n');
  await expect.poll(states, patience).toEqual({ VI_1: 'MASTER' });
  expect(Object.fromEntries(follow().states)).toEqual({ VI_1: 'MASTER' });
  rmSync(pidFile);
  expect(Object.fromEntries(follow().states)).toEqual({});
});

test('the listener hears of changes alone', async () => {
  const changed = vi.fn();
  follower = new VrrpFollower({ fifo, pidFile, changed });
  appendFileSync(fifo, 'INSTANCE "A" BACKUP 1\n');
  await expect.poll(() => changed.mock.calls.length, patience).toBe(1);
  appendFileSync(fifo, 'INSTANCE "A" BACKUP 1\nINSTANCE "A" FAULT 1\n');
  await expect.poll(states, patience).toEqual({ A: 'FAULT' });
  expect(changed).toHaveBeenCalledTimes(2);
  expect(readFileSync(`${fifo}.state`, 'utf8')).toBe('INSTANCE "A" FAULT\n');
});

test('what is no fifo is refused', () => {
  writeFileSync(fifo, '');
  expect(follow).toThrowError(
    expect.objectContaining({ code: 'MILLRACE_E_INPUT_INVALID', message: expect.stringContaining('not a fifo') }),
  );
  fifo = join(folder, 'no', 'where');
  expect(follow).toThrowError(expect.objectContaining({ code: 'MILLRACE_E_INPUT_INVALID' }));
});

test('services are announced where their addresses are', () => {
  const vrrp = (name: string, ...lines: string[]) =>
    `vrrp_instance ${name} {\n virtual_ipaddress {\n${lines.join('\n')}\n }\n}\n`;
  const text = `${vrrp('A', '192.0.2.1/24 dev eth0', '2001:DB8::1')}${vrrp('B', '192.0.2.2')}virtual_server 192.0.2.1 80 {\n}\n`;
  const instances = instancesByAddress(load(text).kept);
  expect(Object.fromEntries(instances)).toEqual({ '192.0.2.1': 'A', '2001:db8::1': 'A', '192.0.2.2': 'B' });
  const service = (name: string, address: string) => ({
    name,
    address,
    port: 80,
    protocol: 'tcp' as const,
    mode: 'nat' as const,
    servers: [],
  });
  const config = validateConfig({
    interfaces: [{ name: 'eth0' }],
    services: [
      service('a', '192.0.2.1'),
      service('a6', '2001:db8::1'),
      service('b', '192.0.2.2'),
      service('free', '192.0.2.3'),
      { name: 'both', match: [{ destination: '192.0.2.1' }, { destination: '192.0.2.2' }], mode: 'nat', servers: [] },
    ],
  });
  const names = (known: Record<string, VrrpState>) =>
    inForce(config, instances, new Map(Object.entries(known)))
      .services.filter(({ announce }) => announce !== false)
      .map(({ name, match }) => `${name}${match?.length ?? ''}`);
  // Those that are elsewhere are there, for their checks.
  expect(inForce(config, instances, new Map()).services.map(({ name }) => name)).toEqual(['a', 'a6', 'b', 'free']);
  expect(names({})).toEqual(['free']);
  expect(names({ A: 'MASTER', B: 'BACKUP' })).toEqual(['a', 'a6', 'free', 'both1']);
  expect(names({ A: 'FAULT', B: 'MASTER' })).toEqual(['b', 'free', 'both1']);
  expect(names({ A: 'MASTER', B: 'MASTER' })).toEqual(['a', 'a6', 'b', 'free', 'both2']);
});
