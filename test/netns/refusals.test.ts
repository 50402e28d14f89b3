// What the balancer must refuse to touch, and that it says why and what to do.
import { afterEach, expect, test } from 'vitest';
import { interfaces } from '../../src/lab/addresses.js';
import type { CommandResult } from '../../src/lab/command.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { useLab } from './support/lab-fixture.js';
import { compileForeignXdp } from './support/xdp-object.js';

const lab = useLab();
const { wan } = interfaces;
const undo: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const action of undo.splice(0).reverse()) await action();
});

/** Starts the balancer where it must refuse; a run that does not end within the time limit fails the test. */
function runToRefusal(): Promise<CommandResult> {
  return lab().topology.run('lb', [...millraceProgram(), 'run', '-c', lab().writeConfig()], { timeout: 15_000 });
}

async function lbIp(command: string, inverse: string): Promise<void> {
  await lab().topology.ip('lb', [command]);
  undo.push(() => lab().topology.ip('lb', [inverse]));
}

test('a second balancer on the same interfaces is refused and names the process of the first', async () => {
  await using first = await lab().startBalancer();
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_INTERFACE_BUSY');
  expect(refusal.stderr).toContain(String(first.process.pid));
  await first.stats();
});

test("an interface with somebody else's XDP program is refused and stays as it was", async () => {
  const object = await compileForeignXdp(lab().directory);
  await lbIp(`link set dev ${wan} xdp obj ${object} sec xdp`, `link set dev ${wan} xdp off`);
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_INTERFACE_HAS_XDP');
  expect(refusal.stderr).toContain('foreign_pass');
  const link = await lab().topology.runChecked('lb', ['ip', '-d', 'link', 'show', 'dev', wan]);
  expect(link).toContain('prog/xdp');
});

test('an interface that belongs to a bridge is refused', async () => {
  await lbIp('link add name br9 type bridge', 'link delete dev br9');
  await lbIp(`link set dev ${wan} master br9`, `link set dev ${wan} nomaster`);
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_INTERFACE_IS_MEMBER');
  expect(refusal.stderr).toContain('br9');
});

test('an MTU beyond what one frame holds is refused with the largest that works', async () => {
  await lbIp(`link set dev ${wan} mtu 9000`, `link set dev ${wan} mtu 1500`);
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_INTERFACE_MTU_TOO_LARGE');
  expect(refusal.stderr).toMatch(/9000/);
});

test('an interface that is down is refused with the command that helps', async () => {
  await lbIp(`link set dev ${wan} down`, `link set dev ${wan} up`);
  undo.unshift(() => lab().topology.waitForCarrier('lb', wan));
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_INTERFACE_DOWN');
  expect(refusal.stderr).toContain(`ip link set dev ${wan} up`);
});

test('a VIP that the kernel has as well is refused with the command that removes it', async () => {
  await lbIp(`address add 198.51.100.10/32 dev ${wan}`, `address delete 198.51.100.10/32 dev ${wan}`);
  const refusal = await runToRefusal();
  expect(refusal.code).toBe(3);
  expect(refusal.stderr).toContain('MILLRACE_E_ADDRESS_ON_KERNEL');
  expect(refusal.stderr).toContain('198.51.100.10');
});
