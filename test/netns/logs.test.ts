// Logs of workers on real traffic: a pipe that nobody reads slows nobody, and a dataplane may stop while its logs are drained.
import { appendFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { echoPort, plans, realServerRoles } from '../../src/lab/addresses.js';
import { useLab } from './support/lab-fixture.js';

const lab = useLab();
const program = fileURLToPath(new URL('support/logging.mjs', import.meta.url));
const { vip } = plans.ipv4;

/** Services without servers: every packet of a client is a refused session. */
function configuration(logs: string): string {
  const weights = Object.fromEntries(realServerRoles.map((role) => [role, 0]));
  const file = lab().writeConfig({ families: ['ipv4'], weights });
  appendFileSync(file, `logs: ${logs}\n`);
  return file;
}

/** So many datagrams a second to the VIP for so long, or until it is ended; how many were sent is its last line. */
function flood(perSecond: number, seconds: number) {
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    const begin = performance.now();
    let sent = 0, done = 0;
    socket.on('error', () => {});
    const timer = setInterval(() => {
      const elapsed = (performance.now() - begin) / 1000;
      for (let n = 0; n < 500 && sent < Math.min(elapsed, ${seconds}) * ${perSecond}; n++) {
        sent++;
        socket.send('x', ${echoPort}, '${vip}', (error) => { if (error) sent--; });
      }
      if (elapsed < ${seconds}) return;
      clearInterval(timer);
      socket.close(() => console.log(JSON.stringify({ sent })));
    }, 2);`;
  return lab().topology.start('flood', 'client', [process.execPath, '-e', script]);
}

interface Report {
  readonly event: string;
  readonly received: number;
  readonly refused: number;
  readonly logs: {
    readonly records: number;
    readonly droppedInRings: number;
    readonly droppedBySink: number;
    readonly suppressed: number;
    readonly waiting: number;
    readonly error: string;
  };
  readonly pipe: {
    readonly lines: number;
    readonly wrong: number;
    readonly told: number;
    readonly sample?: Record<string, unknown>;
  };
  readonly failures: readonly string[];
  readonly written: number;
  readonly read: number;
}

const parse = (line: string): Report => JSON.parse(line) as Report;

test('a pipe that nobody reads for ten seconds under load costs lines, and no worker a packet', async () => {
  const seconds = 10;
  const pipe = join(mkdtempSync(join(lab().directory, 'logs-')), 'pipe');
  const shell = `mkfifo '${pipe}'; exec 3<>'${pipe}'; exec "$0" "$@" 2>&3`;
  const argv = [process.execPath, program, configuration('{ destination: stderr, ratePerSecond: 1000 }'), 'watch'];
  await using logging = lab().topology.start('logging program', 'lb', ['sh', '-c', shell, ...argv]);
  const reports: Report[] = [];
  logging.onLine((line) => reports.push(parse(line)));
  await logging.waitForLine((line) => line.includes('"ready"'), 30_000);

  await using sender = flood(3000, seconds);
  const { sent } = JSON.parse(await sender.waitForLine((line) => line.includes('sent'), 60_000)) as { sent: number };
  expect(sent).toBeGreaterThan(5000);
  // The client's kernel drops a few of the first, before it knows its router.
  const all = (report: Report): boolean =>
    report.refused >= sent * 0.99 && report.logs.records + report.logs.suppressed === report.refused;
  const end = parse(await logging.waitForLine((line) => all(parse(line)), 20_000));
  expect(end.refused, 'every packet that came was handled').toBe(end.received);

  // Reports come from the thread whose standard error is stuck, and their counts grow all the time.
  const during = reports.filter(({ refused }) => refused > 0 && refused < end.refused);
  expect(during.length).toBeGreaterThan(20);
  expect(new Set(during.map(({ refused }) => refused)).size).toBeGreaterThan(during.length / 2);
  expect(end.logs.droppedBySink).toBeGreaterThan(0);
  expect(end.logs.droppedInRings, 'the drain does not wait for the pipe').toBe(0);
  expect(Math.max(...reports.map(({ logs }) => logs.waiting ?? 0))).toBeLessThanOrEqual(1_048_576);

  logging.signal('SIGUSR1');
  const read = parse(await logging.waitForLine((line) => (parse(line).pipe?.told ?? 0) > 0, 30_000));
  expect(read.pipe.wrong, 'lines that are cut').toBe(0);
  expect(read.pipe.lines).toBeGreaterThan(100);
  expect(read.pipe.sample).toMatchObject({
    level: 40,
    name: 'millrace',
    component: 'dataplane',
    event: 'no_server',
    service: 'echo',
    protocol: 'udp',
    destination: `${vip}:${echoPort}`,
    reason: 'no_server',
    servers: realServerRoles.length,
    msg: expect.stringContaining('new session refused'),
  });
  logging.signal('SIGTERM');
  const stopped = parse(await logging.waitForLine((line) => line.includes('"stopped"'), 20_000));
  expect(stopped.failures).toEqual([]);
  expect(await logging.exited).toBe(0);
});

test('dataplanes that stop under load while their logs are drained leave their records to be read', async () => {
  const file = join(mkdtempSync(join(lab().directory, 'logs-')), 'workers.log');
  const config = configuration(`{ destination: file, file: ${file}, maxSize: 65536, maxFiles: 2, ratePerSecond: 1000 }`);
  await using sender = flood(1000, 120);
  await using logging = lab().topology.start('logging program', 'lb', [process.execPath, program, config, 'cycles']);
  const rounds: Report[] = [];
  logging.onLine((line) => {
    if (parse(line).event === 'round') rounds.push(parse(line));
  });
  const done = parse(await logging.waitForLine((line) => line.includes('"done"'), 120_000));
  expect(done.failures).toEqual([]);
  expect(await logging.exited).toBe(0);
  expect(rounds).toHaveLength(10);
  for (const { written, read, logs } of rounds) {
    expect(written).toBeGreaterThan(0);
    // What is known to have been written was counted a moment before the workers ended.
    expect(read).toBeGreaterThanOrEqual(written);
    expect(logs).toMatchObject({ droppedInRings: 0, error: '' });
  }
  const lines = ['.1', ''].flatMap((suffix) => readFileSync(`${file}${suffix}`, 'utf8').trimEnd().split('\n'));
  for (const line of lines) expect(() => JSON.parse(line) as unknown, line).not.toThrow();
  expect(sender.running).toBe(true);
});
