// `millrace check FILE`: is this configuration right, and if not, where and why. Needs neither privileges nor the addon.
// Thread: main.
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { effectiveConfig } from '../../config/effective.js';
import { loadConfig } from '../../config/load.js';
import { paint } from '../table.js';

interface CheckOptions {
  readonly json?: true;
  readonly effective?: true;
}

export function register(program: Command): void {
  program
    .command('check')
    .description('check a configuration file')
    .argument('<file>', 'the configuration (YAML)')
    .option('--json', 'print the result as JSON')
    .option('--effective', 'print the configuration with all defaults filled in')
    .action(check);
}

async function check(file: string, options: CheckOptions): Promise<void> {
  // A wrong file ends here: the error carries the problems, and the program prints them.
  const config = await loadConfig(file);
  const effective = effectiveConfig(config);
  const servers = config.services.reduce((sum, service) => sum + service.servers.length, 0);
  if (options.json) {
    const summary = { ok: true, file, services: config.services.length, servers, problems: [] };
    process.stdout.write(`${JSON.stringify(options.effective ? { ...summary, effective } : summary, null, 2)}\n`);
  } else if (options.effective) {
    process.stdout.write(stringify(effective, { lineWidth: 120 }));
  } else {
    const counts = `${plural(config.services.length, 'service')}, ${plural(servers, 'server')}`;
    process.stdout.write(`${paint(process.stdout).green('ok')} ${file}: ${counts}\n`);
  }
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
