// The systemd unit: systemd itself finds nothing to say, and it fits what the daemon and the package promise.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { STUCK_AFTER } from '../../../src/daemon/progress.js';

const unit = readFileSync(new URL('../../../packaging/systemd/millrace.service', import.meta.url), 'utf8');
const example = fileURLToPath(new URL('../../../packaging/deb/millrace.yaml', import.meta.url));
const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;

/** What `systemd-analyze verify` says; the program need not be installed here for it. */
function verify(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-unit-'));
  try {
    const file = join(directory, 'millrace.service');
    writeFileSync(file, text.replace('/usr/bin/millrace', '/bin/true'));
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
    return `${status === 0 ? '' : `status ${status}\n`}${stdout}${stderr}`
      .split('\n')
      .filter((line) => line.startsWith('status') || line.includes('millrace'))
      .join('\n');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const seconds = (key: string) => Number(new RegExp(`^${key}=(\\d+)$`, 'm').exec(unit)?.[1]);

test.skipIf(!analyze)('systemd-analyze (Debian package systemd) finds nothing to say', () => {
  expect(verify(unit)).toBe('');
  expect(verify(unit.replace('WatchdogSec=', 'WatchdogSecs='))).toContain('WatchdogSecs');
});

test('a stop may take as long as the example drains, and the stop itself', async () => {
  const { daemon } = await loadConfig(example);
  expect(daemon.drainTimeout).toBeGreaterThan(0);
  expect(seconds('TimeoutStopSec')).toBeGreaterThan(daemon.drainTimeout + 90);
  // The comment of the example and docs/operations/daemon.md promise 300.
  expect(seconds('TimeoutStopSec')).toBeGreaterThan(300 + 90);
});

test('half of the watchdog is longer than a worker that is well may stand still', () => {
  expect((seconds('WatchdogSec') / 2) * 1000).toBeGreaterThan(STUCK_AFTER);
});
