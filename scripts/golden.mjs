// Renders the golden cases: test/golden/definitions/*.ts -> test/golden/cases/<name>/{case.yaml, in.pcap, out.pcap}.
//   node scripts/golden.mjs            says whether the files are up to date (exit 1 if not)
//   node scripts/golden.mjs --write    writes them
//   node scripts/golden.mjs --print NAME    shows a case packet by packet
// The definitions are TypeScript; vitest's own loader reads them, so that no second tool is needed.

import { fileURLToPath } from 'node:url';
import { createViteServer } from 'vitest/node';

const root = fileURLToPath(new URL('..', import.meta.url));
const server = await createViteServer({
  root,
  configFile: false,
  logLevel: 'error',
  server: { middlewareMode: true, watch: null },
  appType: 'custom',
});
try {
  const { goldenCases } = await server.ssrLoadModule('/test/golden/definitions/index.ts');
  const files = await server.ssrLoadModule('/test/golden/support/files.ts');
  const [command, name] = process.argv.slice(2);
  if (command === '--write') {
    process.stdout.write(`${files.writeFiles(goldenCases)} files of ${goldenCases.length} cases written\n`);
  } else if (command === '--print') {
    const { describePacket } = await server.ssrLoadModule('/test/support/packet/index.ts');
    const found = goldenCases.find((c) => c.name === name);
    if (found === undefined) throw new Error(`no golden case is called ${name}`);
    const list = (title, packets) => [title, ...packets.map((p, i) => `  ${i + 1}. ${describePacket(p.bytes)}`)];
    process.stdout.write(`${[found.description, ...list('in:', found.arriving), ...list('out:', found.leaving)].join('\n')}\n`);
  } else {
    const stale = files.staleFiles(goldenCases);
    if (stale.length > 0) {
      process.stderr.write(`${stale.join('\n')}\nRun: node scripts/golden.mjs --write\n`);
      process.exitCode = 1;
    } else {
      process.stdout.write(`${goldenCases.length} golden cases are up to date\n`);
    }
  }
} finally {
  await server.close();
}
