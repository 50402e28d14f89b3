// npm run test:address: whether clients' addresses reach the servers, in full: 20,000 connections for each method, speaker and shape of
// client, over good and bad wires, and a table of what was found.
//   npm run test:address -- [--short]
// Plain Node: nothing from node_modules. Guarantees: a row has only what its tests have shown; the exit code is that of the tests.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runScript } from './lib/output.mjs';
import { root } from './setup.mjs';

const file = join(root, 'build', 'test-results', 'address.json');

await runScript(async () => {
  const { values } = parseArgs({ options: { short: { type: 'boolean', default: false } } });
  mkdirSync(join(root, 'build', 'test-results'), { recursive: true });
  rmSync(file, { force: true });
  const argv = [join(root, 'scripts', 'test.mjs'), '--only', 'netns', ...(values.short ? [] : ['--full']), 'test/netns/address'];
  const env = { ...process.env, MILLRACE_ADDRESS_FILE: file };
  const run = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit', env });
  if (existsSync(file)) process.stdout.write(table(JSON.parse(readFileSync(file, 'utf8'))));
  return run.status ?? 1;
});

/** Connections whose server knew the client, of all; 44, 66, 64: families of client and server. */
function table(rows) {
  const lines = [];
  for (const condition of new Set(rows.map((row) => row.condition))) {
    const wires = rows.find((row) => row.condition === condition && row.passed !== undefined);
    lines.push(
      '',
      `${condition}: ${wires.passed} packets passed, ${wires.lost} lost, ${wires.duplicated} twice, ${wires.reordered} late`,
    );
    lines.push(`  ${'kind'.padEnd(58)}${'44'.padStart(12)}${'66'.padStart(12)}${'64'.padStart(12)}`);
    for (const row of rows.filter((one) => one.condition === condition && one.kind !== undefined)) {
      lines.push(
        `  ${row.kind.padEnd(58)}${(row['44'] ?? '-').padStart(12)}${(row['66'] ?? '-').padStart(12)}${(row['64'] ?? '-').padStart(12)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
