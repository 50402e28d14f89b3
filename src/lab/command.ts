// Runs a program to its end: the lab is made with `ip`, `ethtool` and friends, which say why they refuse better than we could.
// Guarantees: no shell in between, output bounded, a time limit on every run, and an error that shows the command and its complaint.
// Thread: the main thread; asynchronous.
import { spawn } from 'node:child_process';
import { LabError } from './lab-error.js';

export interface CommandOptions {
  readonly input?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds after which the program is killed; 30,000 unless told. */
  readonly timeout?: number;
  /** Called with each piece of standard output, which then is not collected. */
  readonly onData?: (chunk: Buffer) => void;
}

export interface CommandResult {
  /** Exit code; -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const outputLimit = 16 * 1024 * 1024;

/** Runs `argv` and resolves with its exit code and output; rejects only when it cannot be started, is aborted or takes too long. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const timeout = AbortSignal.timeout(options.timeout ?? 30_000);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
    const out: Buffer[] = [];
    let size = 0;
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (options.onData) options.onData(chunk);
      else if (size <= outputLimit) out.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < outputLimit) stderr += chunk.toString();
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') {
        reject(
          new LabError(
            `the program ${file} was not found`,
            'run "node scripts/setup.mjs" as root, it installs what the lab needs',
          ),
        );
      } else if (timeout.aborted && !options.signal?.aborted) {
        reject(
          new LabError(`no end in sight of: ${argv.join(' ')}`, 'see whether the machine is overloaded, then try again', {
            cause,
          }),
        );
      } else reject(cause);
    });
    // A program that ends without reading its input is no error of ours.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    child.on('close', (code) => resolve({ code: code ?? -1, stdout: Buffer.concat(out).toString(), stderr }));
  });
}

/** Like `run`, but an exit code other than 0 is a LabError that shows the command, its input and what it complained about. */
export async function runChecked(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) {
    const complaint = (result.stderr || result.stdout).trim() || `exit code ${result.code}`;
    const input = options.input ? `\n${options.input.trimEnd()}` : '';
    throw new LabError(`${argv.join(' ')} failed: ${complaint}${input}`, 'run "millrace doctor" to see what this host can do');
  }
  return result.stdout;
}
