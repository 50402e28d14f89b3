// `millrace run -c FILE`, or `--run-as keepalived.conf`: runs the load balancer until a signal stops it.
// Standard output has events (for a person, or one JSON object per line), standard error the log when it is not a terminal.
// Thread: main.
import { type Command, InvalidArgumentError } from 'commander';
import { createLoadBalancer } from '../../create-load-balancer.js';
import { logEvent, openLog } from '../../daemon/log.js';
import { runDaemon } from '../../daemon/main.js';
import { type DaemonEvent, toLine, toSentence } from '../../daemon/output.js';
import { createError } from '../../errors.js';
import { createFromKeepalived, type RunAsOptions } from '../create-from-keepalived.js';
import { keepalivedOptions } from '../keepalived-options.js';

interface RunOptions extends RunAsOptions {
  readonly config?: string;
  readonly runAs?: string;
  readonly json?: true;
  readonly statsInterval: number;
}

export function register(program: Command): void {
  const command = program
    .command('run')
    .description('run the load balancer')
    .option('-c, --config <file>', 'the configuration (YAML)')
    .option('--run-as <file>', 'a keepalived.conf in place of a configuration; the options below belong to it');
  keepalivedOptions(command)
    .option('--vrrp-fifo <path>', 'the vrrp_notify_fifo of keepalived: addresses of an instance are in force while it is MASTER')
    .option('--json', 'print events as JSON, one object per line')
    .option('--stats-interval <ms>', 'print statistics at this interval; 0: never', parseInterval, 0)
    .addHelpText('after', '\nSignals: HUP reads the configuration again, TERM and INT stop, a second one stops at once.')
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
  await runDaemon({
    configFile,
    statsInterval: options.statsInterval,
    emit,
    signals: process,
    create: options.runAs === undefined ? createLoadBalancer : createFromKeepalived(options, emit),
    die,
    outputClosed: outputClosed.signal,
    now: Date.now,
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
  if (runAs === undefined && [base, names, localAddress, configId, vrrpFifo].some((option) => option !== undefined)) {
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
