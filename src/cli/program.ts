// The command line as a function: arguments in, exit code out. main.ts is the executable around it; tests call it directly.
// Guarantees: never calls process.exit; every failure is one message on stderr and one of the exit codes of exit-code.ts.
// Thread: main.
import { basename } from 'node:path';
import { Command, CommanderError } from 'commander';
import { formatProblems } from '../config/format.js';
import { ConfigurationError, MillraceError } from '../errors.js';
import { EXIT_CODES, exitCodeOf } from './exit-code.js';
import { COMMANDS, type CommandEntry } from './registry.js';
import { paint } from './table.js';
import { packageVersion } from './version.js';

const EXIT_TEXT = Object.values(EXIT_CODES)
  .map(({ code, meaning }) => `  ${code}  ${meaning}`)
  .join('\n');

/** The words of the command line, given those of the process; under the name ipvsadm it is the command of that name. */
export function wordsOf([, script = '', ...words]: readonly string[]): readonly string[] {
  return basename(script) === 'ipvsadm' ? ['ipvsadm', ...words] : words;
}

/** Runs one command. `argv` is without the names of node and of the script. */
export async function runCli(argv: readonly string[]): Promise<number> {
  process.exitCode = undefined;
  try {
    const raw = COMMANDS.find((entry) => entry.raw === true && entry.name === argv[0]);
    if (raw !== undefined) return (await (await raw.load()).run?.(argv.slice(1))) ?? EXIT_CODES.ok.code;
    const program = await buildProgram(wantedCommands(argv));
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? EXIT_CODES.ok.code);
  } catch (error) {
    return report(error, wantsJson(argv));
  }
}

/** A program with the given commands loaded and all others as names with a summary. */
export async function buildProgram(loaded: readonly CommandEntry[]): Promise<Command> {
  const program = new Command('millrace')
    .description('Layer-4 load balancer with an AF_XDP dataplane.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .exitOverride()
    .showHelpAfterError('(see millrace --help)')
    .addHelpText('after', `\nExit codes:\n${EXIT_TEXT}`);
  for (const entry of COMMANDS) {
    if (loaded.includes(entry)) (await entry.load()).register(program);
    else program.command(entry.name, { hidden: entry.hidden ?? false }).description(entry.summary);
  }
  // Subcommands made in a module do not inherit what was set before they were added.
  for (const command of program.commands) inherit(command);
  return program;
}

function inherit(command: Command): void {
  command.exitOverride().showHelpAfterError('(see millrace --help)');
  for (const child of command.commands) inherit(child);
}

/** The command that the arguments name: the first word that is no option. `help NAME` names one as well. */
function wantedCommands(argv: readonly string[]): CommandEntry[] {
  const words = argv.filter((word) => !word.startsWith('-'));
  const name = words[0] === 'help' ? words[1] : words[0];
  return COMMANDS.filter((entry) => entry.name === name);
}

/** --json, or -o json in any of its forms. */
function wantsJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, index) =>
      ['--json', '-ojson', '--output=json'].includes(word) ||
      (word === 'json' && ['-o', '--output'].includes(argv[index - 1] ?? '')),
  );
}

function report(error: unknown, json: boolean): number {
  // Commander has printed its own message already; help and version end here too, with code 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.usage.code;
  if (error instanceof Error && error.name === 'AbortError') return EXIT_CODES.runtime.code;
  const code = exitCodeOf(error);
  if (json && error instanceof MillraceError) {
    const { message, remedy } = error;
    const problems = error instanceof ConfigurationError ? error.problems : undefined;
    process.stdout.write(
      `${JSON.stringify({ ok: false, error: { code: error.code, message, remedy }, ...(problems ? { problems } : {}) }, null, 2)}\n`,
    );
  } else {
    process.stderr.write(`${describeError(error)}\n`);
  }
  return code;
}

/** An error as a person reads it on stderr. */
function describeError(error: unknown): string {
  const ink = paint(process.stderr);
  if (error instanceof ConfigurationError && error.problems.length > 0) {
    return formatProblems(error.problems, { place: ink.bold, caret: ink.red, remedy: ink.green });
  }
  if (error instanceof MillraceError) {
    return `${ink.red('millrace:')} ${error.message}\n  ${ink.green(error.remedy)}\n  ${ink.dim(error.code)}`;
  }
  return `${ink.red('millrace:')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
