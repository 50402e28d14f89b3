// `millrace reset SERVICE | --all`: forgets what was changed in a running daemon, so that the configuration file holds again.
// Thread: main.
import type { Command } from 'commander';
import { createError } from '../../errors.js';
import { printChange } from '../remote/change.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';

export function register(program: Command): void {
  addChange(program.command('reset').description('forget what was changed since the start: the configuration file holds again'))
    .argument('[service]', 'what was changed about this service')
    .option('--all', 'everything that was changed')
    .action(reset);
}

async function reset(service: string | undefined, options: ChangeOptions & { readonly all?: true }): Promise<void> {
  if ((service === undefined) !== (options.all === true)) {
    throw createError('MILLRACE_E_USAGE', service === undefined ? 'reset of what?' : 'reset of one service, or of all?', {
      remedy: 'Name one service, or write --all.',
    });
  }
  const body = service === undefined ? {} : { service };
  printChange(await clientOf(options).call('resetConfig', { ...changeRequest(options), body }), options);
}
