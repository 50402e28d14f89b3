// `millrace demo`: what `npm run demo` runs inside its namespaces. Hidden, because outside of them it would leave things behind
// when it is killed.
// Guarantees: exit code 0 only if everything was answered by both real servers and no request failed; 130 when interrupted.
// Thread: the main thread.
import { type Command, InvalidArgumentError } from 'commander';
import { runDemo } from '../../lab/demo.js';
import { reportText } from '../../lab/demo-report.js';
import { makeView } from '../../lab/demo-view.js';
import { defaultWorkers } from '../../lab/lab.js';
import { LabError } from '../../lab/lab-error.js';

interface DemoFlags {
  readonly ipv6: boolean;
  readonly json: boolean;
  readonly duration: number;
  readonly workers: number;
}

const failureExit = 4;
const interruptedExit = 130;

export function register(program: Command): void {
  program
    .command('demo', { hidden: true })
    .description('show the balancer at work in a lab of network namespaces (use "npm run demo")')
    .option('--ipv6', 'IPv6 instead of IPv4', false)
    .option('--json', 'one JSON document on standard output instead of text', false)
    .option('--duration <seconds>', 'seconds of load, both kinds together', positiveInteger, 10)
    .option('--workers <n>', 'worker threads', positiveInteger, defaultWorkers)
    .action(demo);
}

async function demo(flags: DemoFlags): Promise<void> {
  if (process.env['MILLRACE_JAIL'] === undefined) {
    throw new LabError('the demo was started outside of its own namespaces', 'use "npm run demo", which makes them');
  }
  const abort = new AbortController();
  const interrupt = () => abort.abort(new Error('interrupted'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  const kind = flags.json ? 'quiet' : process.stdout.isTTY ? 'terminal' : 'lines';
  const options = {
    family: flags.ipv6 ? 'ipv6' : 'ipv4',
    workers: flags.workers,
    duration: flags.duration,
    signal: abort.signal,
  } as const;
  try {
    const report = await runDemo(options, makeView(kind, process.stdout));
    process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report));
    process.exitCode = report.ok ? 0 : failureExit;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    process.stderr.write('\ninterrupted; everything that the demo made is gone\n');
    process.exitCode = interruptedExit;
  }
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number above 0 is needed');
  return value;
}
