// `millrace top`: a live table of the rates of services, servers and workers.
// Guarantees: draws on terminals only; elsewhere, and with --once, one snapshot as plain text, JSON or YAML.
// Thread: main.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { describeTarget } from '../../client/target.js';
import { createError } from '../../errors.js';
import { addRemote, clientOf, parseSeconds, type RemoteOptions } from '../remote/options.js';
import { print } from '../remote/show.js';
import { paint } from '../table.js';
import { columnIds } from '../top/columns.js';
import { initialState, KEY_HELP } from '../top/keys.js';
import { layout, type ScreenState, showsUnicode } from '../top/layout.js';
import { advance, type Model, VIEWS, type ViewName } from '../top/model.js';
import { runTop, takeSample } from '../top/run.js';

interface TopCommandOptions extends RemoteOptions {
  readonly once?: true;
  readonly interval: number;
  readonly view: ViewName;
  readonly sort?: string;
  readonly reverse?: true;
}

export function register(program: Command): void {
  const width = Math.max(...KEY_HELP.map(([keys]) => keys.length));
  addRemote(program.command('top').description('watch rates of services, servers and workers'))
    .option(
      '--once',
      'print one snapshot as text and end; so it is too where the output is no terminal, and with -o json or yaml',
    )
    .option('--interval <seconds>', 'seconds between two looks', parseSeconds, 2)
    .addOption(new Option('--view <name>', 'what to begin with').choices(VIEWS).default('services'))
    .option('--sort <column>', `sort by a column: ${VIEWS.map((view) => `${view}: ${columnIds(view).join(', ')}`).join('; ')}`)
    .option('--reverse', 'sort the other way round')
    .addHelpText('after', `\nKeys:\n${KEY_HELP.map(([keys, meaning]) => `  ${keys.padEnd(width)}  ${meaning}`).join('\n')}`)
    .action(top);
}

async function top(options: TopCommandOptions): Promise<void> {
  const client = clientOf(options);
  const state = stateOf(options);
  const snapshot = options.once === true || options.output === 'json' || options.output === 'yaml' || !process.stdout.isTTY;
  if (!snapshot) {
    const { interval } = options;
    const [input, output, environment] = [process.stdin, process.stdout, process.env];
    await runTop({ client, input, output, interval, state, environment, process });
    return;
  }
  const first = advance(undefined, await takeSample(client));
  await sleep(options.interval * 1000);
  const model = advance(first, await takeSample(client));
  print(formatSnapshot(model, state, options.output, describeTarget(client.target)));
}

/** A model as text; JSON and YAML have all three views. */
export function formatSnapshot(model: Model, state: ScreenState, format: RemoteOptions['output'], place: string): string {
  if (format === 'json' || format === 'yaml') {
    const bare = <Row extends { key: string; history: readonly number[] }>({ key: _key, history: _history, ...row }: Row) => row;
    const [services, servers, workers] = [model.services.map(bare), model.servers.map(bare), model.workers.map(bare)];
    const value = { time: model.sample.status.now, seconds: model.seconds, services, servers, workers };
    return format === 'json' ? `${JSON.stringify(value, null, 2)}\n` : stringify(value, { lineWidth: 0 });
  }
  // Wide: every column, whatever the width of the terminal is.
  const columns = format === 'wide' ? 200 : process.stdout.columns || Number(process.env['COLUMNS']) || 80;
  const text = layout(model, state, { columns, ink: paint({ isTTY: false }), unicode: showsUnicode(process.env), place });
  return text.map((line) => `${line}\n`).join('');
}

function stateOf({ view, sort, reverse }: TopCommandOptions): ScreenState {
  const state = initialState(view);
  if (sort !== undefined && !columnIds(view).includes(sort)) {
    throw createError('MILLRACE_E_USAGE', `${view} have no column "${sort}"`, {
      remedy: `Write one of ${columnIds(view).join(', ')}.`,
    });
  }
  const reversed = state.order.reversed !== (reverse === true);
  return { ...state, order: sort === undefined ? { ...state.order, reversed } : { by: sort, reversed: reverse === true } };
}
