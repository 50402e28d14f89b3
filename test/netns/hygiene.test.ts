// Nothing stays behind: whatever ends a demo or a test, the kernel removes what it made.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { runChecked } from '../../src/lab/command.js';
import { ManagedProcess } from '../../src/lab/managed-process.js';
import { requireJail } from './support/lab-fixture.js';

const jailModule = new URL('../../scripts/lib/jail.mjs', import.meta.url).href;
const demoScript = fileURLToPath(new URL('../../scripts/demo.mjs', import.meta.url));

beforeAll(requireJail);

/** Everything of this machine's state that a lab could leave behind, one thing per line. */
async function traces(): Promise<string> {
  const links = await runChecked(['ip', '-o', 'link', 'show']);
  const namespaces = await runChecked(['ip', 'netns', 'list']);
  const names = (text: string) =>
    text
      .split('\n')
      .map((line) => line.replace(/^\d+: /, '').split(/[ :]/)[0])
      .sort();
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').sort();
  return JSON.stringify(
    { links: names(links), namespaces: names(namespaces), mounts, files: readdirSync('/run').sort() },
    null,
    1,
  );
}

/** Command lines of all running processes that contain the text. */
function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) ?? '';
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command.includes(text) && !state.startsWith('Z') ? [`${pid} ${command}`] : [];
      } catch {
        // It ended while we looked.
        return [];
      }
    });
}

function startJail(script: string): ManagedProcess {
  const code = `import(${JSON.stringify(jailModule)}).then(({ runInJail }) => runInJail(['sh', '-c', ${JSON.stringify(script)}]))
    .then((code) => { process.exitCode = code; })`;
  return ManagedProcess.start('jail', [process.execPath, '-e', code]);
}

describe('the jail', () => {
  test('passes the exit code of its program on', async () => {
    await using jail = startJail('exit 7');
    expect(await jail.exited).toBe(7);
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('leaves nothing behind after %s', async (signal) => {
    const before = await traces();
    const marker = `9${process.pid}${signal.length}`;
    const script = `trap 'exit 3' TERM INT; ip netns add inner && ip link add name inner0 type veth && echo made && sleep ${marker} & wait`;
    await using jail = startJail(script);
    await jail.waitForLine((line) => line === 'made');
    await expect.poll(() => processesWith(marker).length).toBeGreaterThan(0);
    await jail.stop(signal);
    await expect.poll(() => processesWith(marker), { timeout: 10_000 }).toEqual([]);
    expect(await traces()).toBe(before);
  });
});

describe('the demo', () => {
  test.each([
    ['while it makes the lab', '- making the lab'],
    ['while traffic runs', '- wrk: keep-alive'],
  ])('killed %s, leaves nothing behind', async (_when, line) => {
    const before = await traces();
    const marker = `${20_000 + (process.pid % 10_000)}`;
    await using demo = ManagedProcess.start('demo', [process.execPath, demoScript, '--duration', marker]);
    await demo.waitForLine((text) => text.startsWith(line), 60_000);
    await demo.stop('SIGKILL');
    const ours = () => [...processesWith(marker), ...processesWith('nginx'), ...processesWith('millrace-lab')];
    await expect.poll(ours, { timeout: 10_000 }).toEqual([]);
    expect(await traces()).toBe(before);
  });
});
