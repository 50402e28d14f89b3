// `millrace import keepalived.conf`: a configuration from one of keepalived, and the rest of it for keepalived itself.
// Standard output has the configuration where no file is named, standard error the reports.
// Thread: main.
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { formatProblem } from '../../config/format.js';
import { createError } from '../../errors.js';
import { importKeepalived, writeImported } from '../../keepalived/import.js';
import type { Report } from '../../keepalived/report.js';
import { EXIT_CODES } from '../exit-code.js';
import { type KeepalivedOptions, keepalivedOptions } from '../keepalived-options.js';
import { paint } from '../table.js';

interface ImportCommandOptions extends KeepalivedOptions {
  readonly out?: string;
  readonly remainder?: string;
  readonly strict?: true;
}

export function register(program: Command): void {
  const command = program
    .command('import')
    .description('translate a keepalived.conf, and write what stays with keepalived')
    .argument('<file>', 'the keepalived.conf');
  keepalivedOptions(command)
    .option('-o, --out <file>', 'write the configuration here instead of standard output')
    .option('--remainder <file>', 'write what stays with keepalived (VRRP and the like) here')
    .option('--strict', 'end with exit code 1 if anything was wrong or has no counterpart')
    .addHelpText(
      'after',
      '\nEach line that means something else, or nothing, is reported; docs/keepalived.md says what becomes of which word.',
    )
    .action(run);
}

function run(path: string, options: ImportCommandOptions): void {
  const imported = importKeepalived(path, { ...options, interfaces: options.interface, localAddresses: options.localAddress });
  const { file, reports } = imported;
  const text = writeImported(imported, options.base);
  if (options.out === undefined) process.stdout.write(text);
  else write(options.out, text);
  if (options.remainder !== undefined) write(options.remainder, file.remainder);
  const lost = reports.filter((report) => report.kind !== 'note');
  process.stderr.write(summary(reports, lost.length, imported.config.services.length));
  if (file.staysInUse && options.remainder === undefined) {
    process.stderr.write('VRRP and what belongs to it stays with keepalived: --remainder FILE writes a keepalived.conf of it.\n');
  }
  if (options.strict && lost.length > 0) process.exitCode = EXIT_CODES.input.code;
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw createError('MILLRACE_E_INPUT_INVALID', `${file} cannot be written: ${reason}`, {
      remedy: 'Name a file in a folder that exists and may be written to.',
      cause: error,
    });
  }
}

function summary(reports: readonly Report[], lost: number, services: number): string {
  const ink = paint(process.stderr);
  const style = { place: ink.bold, caret: ink.red, remedy: ink.green };
  const blocks = reports.map((report) => `${ink.yellow(report.kind)} ${formatProblem(report, style)}\n\n`);
  const notes = reports.length - lost;
  return `${blocks.join('')}${plural(services, 'service')}; ${plural(lost, 'report')}, ${plural(notes, 'note')}\n`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
