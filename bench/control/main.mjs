// The control benchmark inside its own network namespace: makes the veth pair, runs the parts, writes what they found as JSON.
//   node main.mjs RESULT short|normal
// Started by scripts/bench-control.mjs. Guarantees: everything is left to the kernel, which removes the namespace with the process.
// Thread: main.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { step } from '../../scripts/lib/output.mjs';
import { api } from './api.mjs';
import { changes, loading, withLarge } from './changes.mjs';
import { INTERFACE, PEER } from './config.mjs';
import { health } from './health.mjs';

const SIZES = {
  short: { services: 1000, servers: 10, rounds: 30, targets: 1000, healthSeconds: 5, apiSeconds: 1 },
  normal: { services: 10_000, servers: 10, rounds: 100, targets: 10_000, healthSeconds: 20, apiSeconds: 4 },
};

const [file, form] = process.argv.slice(2);
const sizes = SIZES[form];
const queues = ['numrxqueues', '2', 'numtxqueues', '2'];
execFileSync('ip', ['link', 'add', INTERFACE, ...queues, 'type', 'veth', 'peer', 'name', PEER, ...queues]);
for (const name of [INTERFACE, PEER]) execFileSync('ip', ['link', 'set', name, 'up']);

const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
try {
  step(`bench: loading ${sizes.services} services with ${sizes.servers} servers each`);
  const load = loading(sizes);
  step('bench: starting, changing, reloading, asking the API');
  const large = await withLarge({ ...sizes, directory }, async (running) => ({
    api: await api({ state: running.state, directory, seconds: sizes.apiSeconds }),
    changes: await changes({ ...running, rounds: sizes.rounds }),
  }));
  step(`bench: ${sizes.targets} health checks`);
  const checks = await health({ targets: sizes.targets, seconds: sizes.healthSeconds });
  writeFileSync(file, JSON.stringify({ sizes, load, ...large, health: checks }));
} finally {
  rmSync(directory, { recursive: true, force: true });
}
