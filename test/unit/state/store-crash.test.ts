// A process is killed in the middle of writing, again and again: the state is always the last one that was acknowledged, or the one after it,
// as a whole. The store is compiled on its own, so that the process that is killed holds nothing but the store.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { StateFile } from '../../../src/state/store.js';

const KILLS = 40;

/** JavaScript of the store and what it imports below `out`; path of the store. */
function compileStore(out: string): string {
  const source = fileURLToPath(new URL('../../../src/', import.meta.url));
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  for (const name of ['errors', 'state/canonical', 'state/store']) {
    const target = join(out, `${name}.js`);
    mkdirSync(dirname(target), { recursive: true });
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
    writeFileSync(target, ts.transpileModule(readFileSync(join(source, `${name}.ts`), 'utf8'), { compilerOptions }).outputText);
  }
  return join(out, 'state/store.js');
}

/**
 * Lets a process write until it has acknowledged `count` states and kills it: when the next write makes, fills or renames its file, or at
 * the acknowledgement. Tells the last state that was acknowledged.
 */
async function writeAndKill(store: string, state: string, count: number, moment: 'writing' | 'acknowledged'): Promise<number> {
  const writer = fileURLToPath(new URL('support/writer.mjs', import.meta.url));
  const child = spawn(process.execPath, [writer, store, state], { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  let out = '';
  let err = '';
  const killInTime = (): void => {
    if (out.split('\n').length > count) child.kill('SIGKILL');
  };
  child.stderr.on('data', (text) => {
    err += String(text);
  });
  child.stdout.on('data', (text) => {
    out += String(text);
    if (moment === 'acknowledged') killInTime();
  });
  const watcher = watch(dirname(state), () => {
    if (moment === 'writing') killInTime();
  });
  const [, signal] = await closed;
  watcher.close();
  expect(err).toBe('');
  expect(signal).toBe('SIGKILL');
  return Number(out.split('\n').at(-2));
}

test(`${KILLS} kills in the middle of writing leave a whole state each`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-crash-'));
  try {
    const store = compileStore(directory);
    const state = join(directory, 'state.json');
    let last = 0;
    let halfWritten = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const moment = kill % 3 === 0 ? 'acknowledged' : 'writing';
      const acknowledged = await writeAndKill(store, state, 1 + ((kill * 13) % 37), moment);
      expect(acknowledged).toBeGreaterThan(last);
      const found = (await new StateFile(state).read()) as { n: number; padding: string };
      expect([acknowledged, acknowledged + 1]).toContain(found.n);
      expect(found.padding).toBe(
        String(found.n)
          .padStart(8, '0')
          .repeat((found.n * 7919) % 20_000),
      );
      if (existsSync(join(directory, '.state.json.new'))) halfWritten += 1;
      last = found.n;
    }
    expect(last).toBeGreaterThan(500);
    expect(halfWritten).toBeGreaterThan(0);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}, 240_000);
