// The golden cases: each capture goes through the production pipeline (the built addon), and what comes out must be equal byte for
// byte, nanosecond for nanosecond and counter for counter.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { runReplay } from '../../src/control/replay.js';
import { loadNative } from '../../src/native.js';
import type { NativeReplayResult } from '../../src/native-binding.js';
import { readPcap } from '../support/packet/index.js';
import { goldenCases } from './definitions/index.js';
import type { GoldenCase } from './support/case.js';
import { compareCounters, comparePackets, compareSums } from './support/compare.js';
import { CASES_DIRECTORY, configPath } from './support/files.js';

/** Drops that no capture can cause, and what proves them instead. */
const UNREACHABLE_BY_CAPTURE: Readonly<Record<string, string>> = {
  frame_truncated: 'frames too short for an address stay with the kernel; test/native/pipeline',
  ethertype_unsupported: 'the XDP program gives IP packets only to workers; test/native/pipeline',
  address_not_owned: 'needs a configuration that changes while packets are under way; test/native/pipeline',
  server_removed: 'needs a change of the configuration; test/native/pipeline',
  persistence_busy: 'needs a worker that stops in the middle of a look; test/native/pipeline',
  proxy_headers_full: 'needs more connections than a capture has ports for; test/native/pipeline',
  handoff_ring_full: 'needs a worker that does not run; test/native/worker',
  tx_ring_full: 'needs a device that does not send; test/native/worker',
  interface_gone: 'needs a link that goes down; test/native/pipeline',
};

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-golden-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Run {
  readonly result: NativeReplayResult;
  readonly output: string;
}

async function replay(golden: GoldenCase, suffix = ''): Promise<Run> {
  const output = join(directory, `${golden.name}${suffix}.pcap`);
  const config = await loadConfig(configPath(golden));
  const input = join(CASES_DIRECTORY, golden.name, 'in.pcap');
  return { result: runReplay(loadNative(), config, { input, output, steering: golden.steering }), output };
}

function compareServers(golden: GoldenCase, result: NativeReplayResult): string[] {
  return Object.entries(golden.servers).flatMap(([name, expected]) => {
    const found = result.servers.find((s) => `${s.service} ${s.server}` === name);
    if (found === undefined)
      return [`server ${name} is not in the result: ${result.servers.map((s) => `${s.service} ${s.server}`).join(', ')}`];
    return Object.entries(expected).flatMap(([field, want]) => {
      const got = found.stats[field];
      return got === BigInt(want) ? [] : [`server ${name}: ${field}: expected ${want}, got ${got}`];
    });
  });
}

function dropReasons(): string[] {
  return loadNative()
    .counterInfo()
    .filter((counter) => counter.kind === 'drop')
    .map((counter) => counter.name);
}

describe('golden cases', () => {
  for (const golden of goldenCases) {
    it(`${golden.name}: ${golden.description}`, async () => {
      const { result, output } = await replay(golden);
      const differences = [
        ...comparePackets(golden, readPcap(output)),
        ...compareCounters(golden.counters, result.counters),
        ...compareServers(golden, result),
        ...result.perWorker.flatMap((counters, worker) =>
          compareSums(counters, dropReasons()).map((line) => `worker ${worker}: ${line}`),
        ),
      ];
      if (result.passedToKernel !== golden.passedToKernel) {
        differences.push(`passed to the kernel: expected ${golden.passedToKernel}, got ${result.passedToKernel}`);
      }
      expect(differences.join('\n')).toBe('');
      expect(result.packets).toBe(golden.arriving.length);
      expect(result.sent).toBe(golden.leaving.length);
    });
  }

  it('are equal byte for byte when they run again', async () => {
    for (const golden of goldenCases.filter((c) => c.placeholders.some((p) => p.local !== undefined))) {
      const [first, second] = [await replay(golden), await replay(golden, '-again')];
      expect(readFileSync(second.output).equals(readFileSync(first.output))).toBe(true);
      expect(second.result.counters).toEqual(first.result.counters);
    }
  });

  it('cover every drop reason that a capture can cause', () => {
    const covered = new Set(goldenCases.flatMap((golden) => Object.keys(golden.counters)));
    const missing = dropReasons().filter((reason) => !covered.has(reason));
    expect(missing).toEqual(Object.keys(UNREACHABLE_BY_CAPTURE));
  });
});
