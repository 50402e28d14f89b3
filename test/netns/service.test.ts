// `millrace run` as its systemd unit starts it: without root, with the unit's capabilities, a notify socket and a watchdog; a worker that
// is stuck, and the drain.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, onTestFailed, test } from 'vitest';
import { interfaces, plans } from '../../src/lab/addresses.js';
import { ManagedProcess } from '../../src/lab/managed-process.js';
import { millraceProgram } from '../../src/lab/programs.js';
import { serviceUrl } from '../../src/lab/traffic.js';
import { NotifyReceiver } from '../unit/daemon/support/notify-receiver.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const url = serviceUrl(plans.ipv4.vip);
const unit = readFileSync(new URL('../../packaging/systemd/millrace.service', import.meta.url), 'utf8');

/** Stops one thread of a process as a debugger does, until it is ended itself. */
const freezer = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, int(sys.argv[1]), None, None) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(int(sys.argv[1]), 0x40000000)  # __WALL
print('frozen', flush=True)
time.sleep(600)
`;

beforeAll(() => chmodSync(lab().directory, 0o755));

/** The value of a key of the unit. */
function unitKey(name: string): string {
  const value = new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];
  if (value === undefined) throw new Error(`the unit has no ${name}`);
  return value;
}

/** Keys of the lab's configuration that end sessions within seconds, and a deadline for the drain. */
function writeConfig(drainTimeout: number): string {
  const file = lab().writeConfig();
  const short = '  timeouts: { tcp: { finWait: 1, timeWait: 1, close: 1, closeWait: 1, lastAck: 1 } }';
  const text = readFileSync(file, 'utf8').replace('sessions:\n', `sessions:\n${short}\n`);
  writeFileSync(file, `${text}daemon: { drainTimeout: ${drainTimeout} }\n`);
  return file;
}

/** Starts it as a service manager would. A user that is not root, with what the unit grants, and leave to read this tree. */
function startService(receiver: NotifyReceiver, configFile: string, watchdogSeconds: number): ManagedProcess {
  const granted = [...unitKey('AmbientCapabilities').split(' '), 'CAP_DAC_READ_SEARCH'];
  const set = ['-all', ...granted.map((name) => `+${name.replace('CAP_', '').toLowerCase()}`)].join(',');
  const user = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs'];
  const capabilities = ['--bounding-set', set, '--inh-caps', set, '--ambient-caps', set];
  const argv = [...user, ...capabilities, ...millraceProgram(), 'run', '-c', configFile, '--json'];
  const env = { ...process.env, NOTIFY_SOCKET: receiver.socket, WATCHDOG_USEC: String(watchdogSeconds * 1e6) };
  const service = lab().topology.start('millrace run', 'lb', argv, { env });
  onTestFailed(() => console.error(service.tail()));
  return service;
}

function threadNamed(pid: number, name: string): string {
  const found = readdirSync(`/proc/${pid}/task`).find(
    (thread) => readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim() === name,
  );
  if (found === undefined) throw new Error(`no thread ${name}`);
  return found;
}

const feeds = (lines: readonly string[]) => lines[0] === 'WATCHDOG=1';
const says = (start: string) => (lines: readonly string[]) => lines.some((line) => line.startsWith(start));

test('without root it is ready, serves, reloads, and feeds the watchdog while its workers sleep', async () => {
  await using receiver = await NotifyReceiver.start(join(lab().directory, 'notify-1'));
  const file = writeConfig(0);
  await using service = startService(receiver, file, 2);
  expect((await receiver.next())[0]).toBe('READY=1');
  const status = readFileSync(`/proc/${service.pid}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
  expect((await lab().traffic.get(url, 4)).reasons).toEqual([]);

  // Nothing to do for three seconds: more than the longest sleep of a worker.
  await receiver.until(feeds, 4);

  service.signal('SIGHUP');
  await receiver.until(says('RELOADING=1'));
  await receiver.until(says('READY=1'));
  writeFileSync(file, 'nonsense: 1\n');
  service.signal('SIGHUP');
  await receiver.until(says('STATUS=the last reload was refused'));
  expect((await lab().traffic.get(url, 4)).reasons).toEqual([]);

  service.signal('SIGTERM');
  await receiver.until(says('STOPPING=1'));
  expect(await service.exited).toBe(0);
  const link = await lab().topology.runChecked('lb', ['ip', 'link', 'show', 'dev', interfaces.wan]);
  expect(link).not.toContain('xdp');
});

test('a worker that is stuck starves the watchdog; once it moves again, so does the watchdog', async () => {
  await using receiver = await NotifyReceiver.start(join(lab().directory, 'notify-2'));
  await using service = startService(receiver, writeConfig(0), 2);
  await receiver.until(feeds, 2);
  const debuggerProcess = ManagedProcess.start('freezer', ['python3', '-c', freezer, threadNamed(service.pid, 'millrace-w1')]);
  try {
    await debuggerProcess.waitForLine((line) => line === 'frozen');
    await receiver.until(says('STATUS=worker 1 stuck'));
    const warning = await service.waitForLine((line) => line.includes('"event":"warning"') && line.includes('worker 1 stuck'));
    expect(JSON.parse(warning)).toMatchObject({ remedy: expect.stringContaining('gdb') });
  } finally {
    await debuggerProcess.stop('SIGKILL');
  }
  const all = await receiver.until(says('STATUS=all workers move again'));
  const stuck = all.findIndex(says('STATUS=worker 1 stuck'));
  // The one that came back with the worker stands right before the status.
  expect(all.slice(stuck + 1).map(([first]) => first)).toEqual(['WATCHDOG=1', 'STATUS=all workers move again']);
  service.signal('SIGINT');
  expect(await service.exited).toBe(0);
});

test('TERM lets connections end, serves meanwhile, and stops with the last of them', async () => {
  await using receiver = await NotifyReceiver.start(join(lab().directory, 'notify-3'));
  await using service = startService(receiver, writeConfig(600), 20);
  await receiver.until(says('READY=1'));
  const file = lab().writeFile('drain.bin', 4 << 20);
  const slow = lab().topology.start('slow download', 'client', [
    ...['curl', '--silent', '--show-error', '--fail', '--limit-rate', '1M', '--output', '/dev/null'],
    ...['--write-out', 'got %{size_download}\\n', serviceUrl(plans.ipv4.vip, '/files/drain.bin')],
  ]);
  await service.waitForLine((line) => line.includes('"event":"ready"'));
  await expect.poll(() => connectionsOf(slow), { timeout: 15_000 }).toBeGreaterThan(0);
  service.signal('SIGTERM');
  const stopping = await receiver.until(says('STOPPING=1'));
  expect(stopping.at(-1)).toEqual(['STOPPING=1', 'EXTEND_TIMEOUT_USEC=690000000', expect.stringMatching(/^STATUS=draining: /)]);
  expect((await lab().traffic.get(url, 4)).reasons).toEqual([]);
  await slow.waitForLine((line) => line === `got ${file.bytes}`, 60_000);
  const last = await service.waitForLine((line) => line.includes('"event":"stopping"'), 60_000);
  expect(JSON.parse(last)).toMatchObject({ signal: 'SIGTERM', sessions: 0 });
  expect(await service.exited).toBe(0);
});

test('a second TERM ends the drain at once, in order', async () => {
  await using receiver = await NotifyReceiver.start(join(lab().directory, 'notify-4'));
  await using service = startService(receiver, writeConfig(600), 20);
  await receiver.until(says('READY=1'));
  lab().writeFile('open.bin', 4 << 20);
  await using slow = lab().topology.start('slow download', 'client', [
    ...['curl', '--silent', '--limit-rate', '20k', '--output', '/dev/null'],
    serviceUrl(plans.ipv4.vip, '/files/open.bin'),
  ]);
  await expect.poll(() => connectionsOf(slow), { timeout: 15_000 }).toBeGreaterThan(0);
  service.signal('SIGTERM');
  await service.waitForLine((line) => line.includes('"event":"draining"'));
  service.signal('SIGTERM');
  const stopping = JSON.parse(await service.waitForLine((line) => line.includes('"event":"stopping"')));
  expect(stopping.sessions).toBeGreaterThan(0);
  expect(await service.exited).toBe(0);
});

/** Connections to the VIP that are established in the namespace of the process. */
function connectionsOf(client: ManagedProcess): number {
  if (!client.running) throw new Error(`the client ended: ${client.tail()}`);
  return readFileSync(`/proc/${client.pid}/net/tcp`, 'utf8')
    .split('\n')
    .filter((line) => line.trim().split(/\s+/)[3] === '01').length;
}
