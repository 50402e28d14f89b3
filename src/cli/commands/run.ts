// `millrace run -c FILE`, or `--run-as keepalived.conf`: runs the load balancer until a signal stops it.
// Standard output has events (for a person, or one JSON object per line), standard error the log when it is not a terminal.
// Thread: main.
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { millraceFile } from '../../daemon/file-source.js';
import { logEvent, openLog } from '../../daemon/log.js';
import { runDaemon } from '../../daemon/main.js';
import { type DaemonEvent, toLine, toSentence } from '../../daemon/output.js';
import { takeNotifySettings } from '../../daemon/service-manager.js';
import { startServing } from '../../daemon/serving.js';
import { createError } from '../../errors.js';
import { loadNative } from '../../native.js';
import { keepalivedOptions } from '../keepalived-options.js';
import { KeepalivedSource, type RunAsOptions } from '../keepalived-source.js';

interface RunOptions extends RunAsOptions {
  readonly config?: string;
  readonly runAs?: string;
  readonly state?: string;
  readonly json?: true;
  readonly statsInterval: number;
}

const SIGNALS = `
Signals: HUP reads the configuration again. TERM waits up to daemon.drainTimeout for sessions to end, then stops; once more ends the
wait. INT stops without waiting. Once more while it stops ends the process at once.`;

export function register(program: Command): void {
  const command = program
    .command('run')
    .description('run the load balancer')
    .option('-c, --config <file>', 'the configuration (YAML)')
    .option('--run-as <file>', 'a keepalived.conf in place of a configuration; the options below belong to it');
  keepalivedOptions(command)
    .option('--vrrp-fifo <path>', 'the vrrp_notify_fifo of keepalived: addresses of an instance are in force while it is MASTER')
    .option('--state <file>', 'where changes of the API are kept (default: $STATE_DIRECTORY/state.json, else until it stops)')
    .option('--json', 'print events as JSON, one object per line')
    .option('--stats-interval <ms>', 'print statistics at this interval; 0: never', parseInterval, 0)
    .addHelpText('after', SIGNALS)
    .action(run);
}

async function run(options: RunOptions): Promise<void> {
  const configFile = fileOf(options);
  const log = process.stderr.isTTY ? undefined : openLog();
  const outputClosed = new AbortController();
  // A reader that went away (a closed pipe) ends the run in an orderly way instead of by an exception in the middle of it.
  process.stdout.on('error', () => outputClosed.abort());
  const emit = (event: DaemonEvent): void => {
    if (!outputClosed.signal.aborted) process.stdout.write(`${options.json ? toLine(event) : toSentence(event)}\n`);
    if (log !== undefined) logEvent(log, event);
  };
  const stateFile = options.state ?? stateFileOf(process.env);
  const settings = takeNotifySettings(process.env, process.pid);
  await runDaemon({
    configFile,
    statsInterval: options.statsInterval,
    emit,
    signals: process,
    start: (_, given) => {
      const source = options.runAs === undefined ? millraceFile : new KeepalivedSource(options, given.warn);
      return startServing({ ...given, configFile, source, stateFile, now: Date.now });
    },
    die,
    outputClosed: outputClosed.signal,
    now: Date.now,
    ...(settings === undefined
      ? {}
      : { notify: { settings, send: (socket, text) => loadNative().notifyServiceManager(socket, text) } }),
  });
}

function fileOf(options: RunOptions): string {
  const { config, runAs, base, interface: names, localAddress, configId, vrrpFifo } = options;
  const file = runAs ?? config;
  if (file === undefined || (runAs !== undefined && config !== undefined)) {
    throw createError('MILLRACE_E_USAGE', 'run needs one file: a configuration or a keepalived.conf', {
      remedy: 'Give --config FILE, or --run-as FILE with what it needs.',
    });
  }
  const others = [base, names, localAddress, configId, vrrpFifo];
  if (runAs === undefined && others.some((option) => option !== undefined)) {
    throw createError(
      'MILLRACE_E_USAGE',
      '--base, --interface, --local-address, --config-id and --vrrp-fifo belong to --run-as',
      {
        remedy: 'Leave them away, or write what they say into the configuration.',
      },
    );
  }
  return file;
}

/** systemd makes the folder and names it, the first one if it made several. */
function stateFileOf({ STATE_DIRECTORY: folders }: NodeJS.ProcessEnv): string | undefined {
  const folder = folders?.split(':')[0];
  return folder === undefined || folder === '' ? undefined : join(folder, 'state.json');
}

/** The kernel detaches XDP programs and frees memory when the process is gone: nothing needs to be done first. */
function die(signal: NodeJS.Signals): void {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function parseInterval(text: string): number {
  const milliseconds = Number(text);
  if (
    !Number.isInteger(milliseconds) ||
    milliseconds < 0 ||
    milliseconds > 86_400_000 ||
    (milliseconds > 0 && milliseconds < 10)
  ) {
    throw new InvalidArgumentError('expected milliseconds: 0, or 10 to 86400000.');
  }
  return milliseconds;
}
