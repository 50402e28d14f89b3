// npm run demo: prepares the machine, then shows Millrace at work in a lab of network namespaces.
//   npm run demo -- [--ipv6] [--json] [--duration SECONDS] [--workers N]
// Plain Node: nothing from node_modules. Guarantees: what the demo makes is gone afterwards, whatever ends it.
import { join } from 'node:path';
import { requireLabHost } from './lib/host.mjs';
import { runInJail } from './lib/jail.mjs';
import { runScript } from './lib/output.mjs';
import { root, setup } from './setup.mjs';

await runScript(async () => {
  requireLabHost('npm run demo');
  setup({ tests: false });
  return runInJail([process.execPath, join(root, 'dist', 'cli', 'main.js'), 'demo', ...process.argv.slice(2)]);
});
