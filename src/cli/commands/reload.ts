// `millrace reload`: a running daemon reads its configuration file again, as SIGHUP tells it to; here the answer says what came of it.
// Thread: main.
import type { Command } from 'commander';
import { printChange } from '../remote/change.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';

export function register(program: Command): void {
  addChange(
    program.command('reload').description('read the configuration file again, as SIGHUP does; a wrong one changes nothing'),
  ).action(async (options: ChangeOptions) => {
    printChange(await clientOf(options).call('reload', changeRequest(options)), options);
  });
}
