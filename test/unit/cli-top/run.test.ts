// The terminal of `millrace top`: with streams that pretend to be one, and with a real pseudo terminal of script(1).
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { initialState } from '../../../src/cli/top/keys.js';
import { runTop, type TopProcess } from '../../../src/cli/top/run.js';
import type { ScreenInput, ScreenOutput } from '../../../src/cli/top/screen.js';
import { ApiClient } from '../../../src/client/client.js';
import { run } from '../cli-remote/support.js';
import { FakeDaemon } from '../client/support/fake-daemon.js';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const patience = { timeout: 25_000, interval: 5 };
const root = fileURLToPath(new URL('../../..', import.meta.url));

let daemon: FakeDaemon;
beforeEach(async () => {
  daemon = await new FakeDaemon().start();
});
afterEach(() => daemon[Symbol.asyncDispose]());

class FakeTerminal {
  readonly input = Object.assign(new PassThrough(), {
    isTTY: true as const,
    raw: false,
    setRawMode(mode: boolean) {
      this.raw = mode;
      return this;
    },
  });
  readonly output = Object.assign(new PassThrough(), { isTTY: true as const, columns: 80, rows: 24 });
  readonly process = Object.assign(new EventEmitter(), { pid: 99, kill: vi.fn() });
  shown = '';
  readonly done: Promise<void>;

  constructor(socket: string, interval: number) {
    this.output.setEncoding('utf8').on('data', (text: string) => {
      this.shown += text;
    });
    this.done = runTop({
      client: new ApiClient({ socket }),
      input: this.input as unknown as ScreenInput,
      output: this.output as unknown as ScreenOutput,
      interval,
      state: initialState('services'),
      environment: { LANG: 'C.UTF-8' },
      process: this.process as TopProcess,
    });
  }

  async sees(text: string): Promise<void> {
    await vi.waitFor(() => expect(this.shown.includes(text), text).toBe(true), patience);
  }
}

test('draws, obeys keys, and leaves the terminal as it was', async () => {
  const terminal = new FakeTerminal(daemon.socket, 3600);
  await terminal.sees('[1 services]');
  expect(terminal.shown.startsWith(ENTER)).toBe(true);
  expect(terminal.input.raw).toBe(true);
  terminal.input.write('2');
  await terminal.sees('192.0.2.12:8080');
  terminal.input.write('\t');
  await terminal.sees('most drops by');
  terminal.input.write('q');
  await terminal.done;
  await vi.waitFor(() => expect(terminal.shown.endsWith(LEAVE)).toBe(true), patience);
  expect(terminal.input.raw).toBe(false);
  expect(terminal.input.listenerCount('keypress')).toBe(0);
  expect(terminal.input.isPaused()).toBe(true);
  expect(terminal.process.eventNames()).toEqual([]);
});

test.each(['SIGTERM', 'SIGHUP', 'SIGINT'])('%s leaves the terminal as it was', async (signal) => {
  const terminal = new FakeTerminal(daemon.socket, 3600);
  await terminal.sees('[1 services]');
  terminal.process.emit(signal);
  await terminal.done;
  await vi.waitFor(() => expect(terminal.shown.endsWith(LEAVE)).toBe(true), patience);
  expect(terminal.input.raw).toBe(false);
});

test('Ctrl-Z gives the terminal back and takes it again', async () => {
  const terminal = new FakeTerminal(daemon.socket, 3600);
  await terminal.sees('[1 services]');
  terminal.input.write('\u001a');
  await terminal.sees(LEAVE);
  expect(terminal.input.raw).toBe(false);
  expect(terminal.process.kill).toHaveBeenCalledWith(99, 'SIGSTOP');
  terminal.process.emit('SIGCONT');
  await vi.waitFor(() => expect(terminal.shown.split(ENTER)).toHaveLength(3), patience);
  expect(terminal.input.raw).toBe(true);
  terminal.input.write('q');
  await terminal.done;
});

test('another size is drawn at once', async () => {
  const terminal = new FakeTerminal(daemon.socket, 3600);
  await terminal.sees('in bit/s');
  const before = terminal.shown.length;
  terminal.output.columns = 60;
  terminal.output.emit('resize');
  await vi.waitFor(() => expect(terminal.shown.slice(before)).toContain('pkt/s'), patience);
  expect(terminal.shown.slice(before)).not.toContain('in bit/s');
  terminal.input.write('q');
  await terminal.done;
});

test('a daemon that goes away is said, and waited for; nothing is asked while paused', async () => {
  const terminal = new FakeTerminal(daemon.socket, 0.05);
  await terminal.sees('[1 services]');
  await daemon.stop();
  await terminal.sees('no daemon answers at');
  await daemon.start();
  const asked = daemon.seen.length;
  await vi.waitFor(() => expect(daemon.seen.length).toBeGreaterThan(asked + 6), patience);
  terminal.input.write(' ');
  await terminal.sees('paused');
  terminal.input.write('q');
  await terminal.done;
});

test('a daemon that never answered is an error, and the terminal was not touched', async () => {
  await daemon.stop();
  const terminal = new FakeTerminal(daemon.socket, 3600);
  await expect(terminal.done).rejects.toMatchObject({ code: 'MILLRACE_E_NO_DAEMON' });
  expect(terminal.shown).toBe('');
});

test('--once prints text, JSON or YAML without a control character', async () => {
  vi.stubEnv('COLUMNS', '80');
  const common = ['top', '--socket', daemon.socket, '--interval', '0.1'];
  const { code, out } = await run(...common, '--once', '--view', 'servers', '--sort', 'server', '--reverse');
  expect(code).toBe(0);
  const text = out.split('\n');
  expect(text[2]).toContain('[2 servers]');
  expect(text[2]).toContain('by server, reversed');
  expect(text.slice(5, 8).map((line) => line.split(/ +/)[1])).toEqual([
    '192.0.2.12:8080',
    '192.0.2.11:8080',
    '[2001:db8::53]:53',
  ]);
  expect(out).not.toContain('\u001b');
  const json = JSON.parse((await run(...common, '-o', 'json')).out);
  expect(json.seconds).toBeGreaterThan(0.09);
  expect(json.services[0]).toEqual({
    name: 'web',
    usable: 1,
    servers: 2,
    quorum: true,
    active: 6,
    connections: 0,
    packets: 0,
    inBits: 0,
    outBits: 0,
  });
  expect((await run(...common, '-o', 'yaml')).out).toContain('services:\n  - name: web\n');
  expect((await run(...common, '-o', 'wide', '--once', '--view', 'servers')).out).toContain('out bit/s');
  expect((await run(...common, '--once', '--sort', 'nonsense')).code).toBe(2);
  vi.unstubAllEnvs();
});

const scratch = mkdtempSync(join(tmpdir(), 'millrace-top-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test('in a real terminal: TERM ends it with the settings of the terminal as they were', async () => {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const dist = mkdtempSync(join(cache, 'millrace-top-'));
  let script: ReturnType<typeof spawn> | undefined;
  try {
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const build = spawn(process.execPath, [
      tsc,
      '-p',
      join(root, 'tsconfig.build.json'),
      '--noCheck',
      '--outDir',
      join(dist, 'dist'),
    ]);
    expect((await once(build, 'exit'))[0]).toBe(0);
    copyFileSync(join(root, 'package.json'), join(dist, 'package.json'));
    const main = join(dist, 'dist', 'cli', 'main.js');
    const stty = (name: string): string => `stty -a > ${join(scratch, name)}`;
    // In the foreground: only then may it set the terminal.
    const top = `${process.execPath} ${main} top --socket ${daemon.socket}`;
    const command = `${stty('before')}; ${top}; echo code=$?; ${stty('after')}`;
    script = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', LANG: 'C.UTF-8', SHELL: '/bin/sh' },
    });
    let shown = '';
    script.stdout?.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    await vi.waitFor(() => expect(shown.includes('services]')).toBe(true), patience);
    process.kill(childOf(childOf(script.pid ?? 0)), 'SIGTERM');
    await once(script, 'exit');
    expect(shown).toContain(LEAVE);
    expect(shown).toContain('code=0');
    expect(readFileSync(join(scratch, 'after'), 'utf8')).toBe(readFileSync(join(scratch, 'before'), 'utf8'));
  } finally {
    script?.kill('SIGKILL');
    rmSync(dist, { recursive: true, force: true });
  }
}, 90_000);

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}
