// Files that rotate, pipes that nobody reads, disks that are full.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openDescriptor, RotatingFile } from '../../../src/logs/outlet.js';
import { SINK_DEFAULTS, Sink } from '../../../src/logs/sink.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-logs-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const noSocket = (): number => -constants.errno.ENOTSOCK;

describe('a file', () => {
  test('begins anew when it is full, keeps as many as it may, and loses no line between them', async () => {
    const path = join(folder, 'workers.log');
    const file = await RotatingFile.open({ path, maxSize: 100, maxFiles: 3 });
    for (let i = 0; i < 50; i++) await file.write(Buffer.from(`line ${String(i).padStart(4, '0')}\n`));
    await file.close();
    expect(readdirSync(folder).sort()).toEqual(['workers.log', 'workers.log.1', 'workers.log.2', 'workers.log.3']);
    const text = ['.3', '.2', '.1', ''].map((suffix) => readFileSync(`${path}${suffix}`, 'utf8'));
    expect(text.every((part) => part.length <= 100)).toBe(true);
    const numbers = text
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => Number(line.slice(5)));
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 50 - numbers.length + i));
    expect(numbers.length).toBeGreaterThan(30);
  });

  test('goes on where it was after a restart, and is not for everybody to read', async () => {
    const path = join(folder, 'workers.log');
    for (const line of ['one\n', 'two\n']) {
      const file = await RotatingFile.open({ path, maxSize: 65_536, maxFiles: 1 });
      await file.write(Buffer.from(line));
      await file.close();
    }
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n');
    expect(statSync(path).mode & 0o007).toBe(0);
  });

  test('follows its path when somebody moves it away', async () => {
    const path = join(folder, 'workers.log');
    const file = await RotatingFile.open({ path, maxSize: 65_536, maxFiles: 1 });
    await file.write(Buffer.from('before\n'));
    renameSync(path, join(folder, 'moved'));
    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now + 2000);
    await file.write(Buffer.from('after\n'));
    await file.close();
    expect(readFileSync(join(folder, 'moved'), 'utf8')).toBe('before\n');
    expect(readFileSync(path, 'utf8')).toBe('after\n');
  });

  test('that cannot be opened says why', async () => {
    await expect(RotatingFile.open({ path: join(folder, 'none', 'x'), maxSize: 1, maxFiles: 1 })).rejects.toThrow('ENOENT');
  });

  test('on a full disk loses lines, counts them and ends nothing', async () => {
    const file = await RotatingFile.open({ path: '/dev/full', maxSize: 65_536, maxFiles: 1 });
    const sink = new Sink(file, { ...SINK_DEFAULTS, failed: 1 });
    for (let i = 0; i < 100; i++) sink.write(`line ${i}\n`);
    await vi.waitFor(() => expect(sink.stats()).toMatchObject({ dropped: 100, written: 0, error: 'ENOSPC' }), 10_000);
    await sink.close(1000);
  });
});

describe('a pipe that nobody reads', () => {
  test('blocks nobody, keeps its flags, and gets what is new when it is read again', async () => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    // Both ends, so that opening does not wait. Blocking, as a standard output is.
    const fd = openSync(path, 'r+');
    try {
      const sink = new Sink(openDescriptor(fd, noSocket), { limit: 100_000, chunk: 8192, full: 1, failed: 1 });
      const line = `${'x'.repeat(99)}\n`;
      for (let i = 0; i < 10_000; i++) sink.write(line);
      await vi.waitFor(() => expect(sink.stats().written).toBeGreaterThan(0), 10_000);
      for (let i = 0; i < 10_000; i++) sink.write(line);
      const { waiting, dropped } = sink.stats();
      expect(waiting).toBeLessThanOrEqual(100_000);
      expect(dropped).toBeGreaterThan(17_000);
      const flags = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
      expect(Number.parseInt(/flags:\s+(\d+)/.exec(flags)?.[1] ?? '', 8) & 0o4000, 'O_NONBLOCK of the shared end').toBe(0);
      const before = sink.stats().written;
      const buffer = Buffer.alloc(65_536);
      expect(readSync(fd, buffer)).toBeGreaterThan(0);
      await vi.waitFor(() => expect(sink.stats().written).toBeGreaterThan(before), 10_000);
      await sink.close(10);
      const { written, dropped: lost } = sink.stats();
      expect(written + lost).toBe(20_000);
    } finally {
      closeSync(fd);
    }
  });
});

describe('a descriptor', () => {
  test('of a file is written to at the place where others write', async () => {
    const path = join(folder, 'out');
    const fd = openSync(path, 'w');
    const outlet = openDescriptor(fd, noSocket);
    await outlet.write(Buffer.from('one\n'));
    await outlet.write(Buffer.from('two\n'));
    await outlet.close();
    closeSync(fd);
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n');
  });
});
