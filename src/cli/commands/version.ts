// `millrace version`: what is installed here. Works without the addon too, and then says that it is missing.
// Thread: main.
import type { Command } from 'commander';
import { MillraceError } from '../../errors.js';
import { loadNative } from '../../native.js';
import { formatTable } from '../table.js';
import { packageVersion } from '../version.js';

export function register(program: Command): void {
  program.command('version').description('show versions').option('--json', 'print the versions as JSON').action(version);
}

function version(options: { readonly json?: true }): void {
  const versions: Record<string, string> = { millrace: packageVersion(), node: process.versions.node };
  try {
    for (const [name, value] of Object.entries(loadNative().versions())) versions[name === 'millrace' ? 'addon' : name] = value;
  } catch (error) {
    // A missing addon is a fact about this installation and no failure of this command.
    versions['addon'] = error instanceof MillraceError ? `not loaded (${error.code})` : `not loaded (${String(error)})`;
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(versions, null, 2)}\n`);
    return;
  }
  const columns = [
    { title: 'component', value: ([name]: [string, string]) => name },
    { title: 'version', value: ([, value]: [string, string]) => value },
  ];
  process.stdout.write(`${formatTable(columns, Object.entries(versions)).join('\n')}\n`);
}
