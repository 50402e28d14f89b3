// `millrace check FILE`: is this configuration right, and if not, where and why; with `--diff OLD` what a reload from OLD to it would change.
// Needs neither privileges nor the addon.
// Thread: main.
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { effectiveConfig } from '../../config/effective.js';
import { loadConfig } from '../../config/load.js';
import { configDifference, describeDifference, isSame } from '../../control/difference.js';
import { paint } from '../table.js';

interface CheckOptions {
  readonly json?: true;
  readonly effective?: true;
  readonly diff?: string;
}

export function register(program: Command): void {
  program
    .command('check')
    .description('check a configuration file')
    .argument('<file>', 'the configuration (YAML)')
    .option('--json', 'print the result as JSON')
    .option('--effective', 'print the configuration with all defaults filled in')
    .addOption(
      new Option(
        '--diff <old>',
        'say what a reload from this file to <file> would change; exit code 0 with and without changes',
      ).conflicts('effective'),
    )
    .action(check);
}

async function check(file: string, options: CheckOptions): Promise<void> {
  // A wrong file ends here: the error carries the problems, and the program prints them.
  const config = await loadConfig(file);
  if (options.diff !== undefined) {
    const difference = configDifference(await loadConfig(options.diff), config);
    const lines = isSame(difference) ? [`nothing changes from ${options.diff} to ${file}`] : describeDifference(difference);
    const text = options.json ? JSON.stringify({ ok: true, file, from: options.diff, difference }, null, 2) : lines.join('\n');
    process.stdout.write(`${text}\n`);
    return;
  }
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
