// `millrace ipvsadm` and `millrace proc`: words to a daemon, its answer back; here the daemon is a server on a socket with a real door.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCli, wordsOf } from '../../../src/cli/program.js';
import { USAGE, VERSION } from '../../../src/ipvs/usage.js';
import { type Door, openDoor } from '../door/fakes.js';

let [out, err, folder] = ['', '', ''];
let server: Server | undefined;
let door: Door;
const requests: { readonly url: string | undefined; readonly method: string | undefined; readonly body: unknown }[] = [];

async function bodyOf(message: IncomingMessage): Promise<{ arguments: string[]; stdin?: string }> {
  let text = '';
  for await (const part of message) text += String(part);
  return JSON.parse(text) as { arguments: string[]; stdin?: string };
}

/** Answers as the API does, or with what is given. */
async function listen(answer?: { readonly status: number; readonly text: string }): Promise<void> {
  server = createServer(async (message, response) => {
    const body = await bodyOf(message);
    requests.push({ url: message.url, method: message.method, body });
    const outcome = answer?.text ?? JSON.stringify(await door.door.run(body.arguments, body.stdin));
    response.writeHead(answer?.status ?? 200, { 'content-type': 'application/json' }).end(outcome);
  });
  await new Promise<void>((resolve) => server?.listen(join(folder, 'api.sock'), resolve));
}

beforeEach(() => {
  [out, err] = ['', ''];
  requests.length = 0;
  folder = mkdtempSync(join(tmpdir(), 'millrace-ipvsadm-'));
  door = openDoor();
  vi.stubEnv('MILLRACE_SOCKET', join(folder, 'api.sock'));
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = undefined;
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
  rmSync(folder, { recursive: true });
});

function withInput(text: string): void {
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([Buffer.from(text)]) as unknown as typeof process.stdin);
}

describe('millrace ipvsadm', () => {
  it('sends its words as they are, also those that commander knows', async () => {
    await listen();
    const words = ['-V', '-A', '--json', '--help', '--', '-Ln', 'ü', ''];
    expect(await runCli(['ipvsadm', ...words])).toBe(255);
    expect(requests).toEqual([{ url: '/api/v1/ipvsadm', method: 'POST', body: { arguments: words } }]);
    expect([out, err]).toEqual(['', "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"]);
  });
  it('prints the answer and ends with its status', async () => {
    await listen();
    expect(await runCli(['ipvsadm', '-A', '-t', '10.0.9.1:80', '-s', 'rr'])).toBe(0);
    expect(await runCli(['ipvsadm', '-Sn'])).toBe(0);
    expect([out, err]).toEqual(['-A -t 10.0.9.1:80 -s rr\n', '']);
    expect(await runCli(['ipvsadm', '-A', '-t', '10.0.9.1:80'])).toBe(255);
    expect(await runCli(['ipvsadm', '-L', '-t', '10.0.9.2:80'])).toBe(1);
    expect(err).toBe('Service already exists\nNo such service\n');
  });
  it('reads standard input for -R, and for nothing else', async () => {
    await listen();
    withInput('-A -t 10.0.9.1:80 -s rr\n-A -u 10.0.9.1:53 -s wrr\n');
    expect(await runCli(['ipvsadm', '--verbose', '-R'])).toBe(0);
    expect(await runCli(['ipvsadm'])).toBe(0);
    expect(door.state.config.services).toHaveLength(2);
    expect(requests[1]?.body).toEqual({ arguments: [] });
  });
  it('MILLRACE_IPVSADM=dpvs stands for --dpvs', async () => {
    await listen();
    vi.stubEnv('MILLRACE_IPVSADM', 'dpvs');
    expect(await runCli(['ipvsadm', '-G'])).toBe(0);
    expect(requests[0]?.body).toEqual({ arguments: ['--dpvs', '-G'] });
  });
  it('help and version need no daemon', async () => {
    expect(await runCli(['ipvsadm', '-h'])).toBe(0);
    expect(await runCli(['ipvsadm', '--help'])).toBe(0);
    expect(await runCli(['ipvsadm', '-v'])).toBe(0);
    expect([out, err]).toEqual([USAGE + USAGE + VERSION, '']);
  });
  it('millrace help ipvsadm says what is its own', async () => {
    expect(await runCli(['help', 'ipvsadm'])).toBe(0);
    expect(out).toContain('MILLRACE_SOCKET');
  });
  it('without a daemon it ends as ipvsadm without IPVS, with the reason', async () => {
    expect(await runCli(['ipvsadm', '-Ln'])).toBe(2);
    expect(out).toBe('');
    expect(err).toBe(
      `Can't initialize ipvs: no daemon answers on ${join(folder, 'api.sock')}\n` +
        'Start it (`millrace run`), or name its socket in MILLRACE_SOCKET.\n',
    );
  });
  it.each([
    [{ status: 413, text: '{"error":{"code":"X","message":"too much","remedy":"Send less."}}' }, 'too much', 'Send less.'],
    [{ status: 200, text: '{"stdout":1}' }, 'the daemon answers with HTTP 200 and no result', 'Compare'],
    [{ status: 404, text: 'not found' }, 'the daemon answers with HTTP 404 and no result', 'Compare'],
    [{ status: 500, text: 'null' }, 'the daemon answers with HTTP 500 and no result', 'Compare'],
  ])('an answer that is none of ipvsadm: %o', async (answer, reason, remedy) => {
    await listen(answer);
    expect(await runCli(['ipvsadm', '-Ln'])).toBe(2);
    expect(err.startsWith(`Can't initialize ipvs: ${reason}\n${remedy}`)).toBe(true);
  });
});

describe('millrace proc', () => {
  it('prints the file', async () => {
    await listen();
    expect(await runCli(['proc', 'ip_vs'])).toBe(0);
    expect(out).toContain('IP Virtual Server version 1.2.1 (size=4096)\n');
    expect(requests[0]?.body).toEqual({ arguments: ['--proc', 'ip_vs'] });
  });
  it('knows three files', async () => {
    expect(await runCli(['proc', 'ip_vs_app'])).toBe(2);
    expect(err).toContain('ip_vs, ip_vs_conn, ip_vs_stats');
  });
});

describe('the name of the program', () => {
  it('decides', () => {
    expect(wordsOf(['/usr/bin/node', '/usr/sbin/ipvsadm', '-Ln'])).toEqual(['ipvsadm', '-Ln']);
    expect(wordsOf(['/usr/bin/node', '/usr/bin/millrace', 'check', 'x'])).toEqual(['check', 'x']);
  });
});
