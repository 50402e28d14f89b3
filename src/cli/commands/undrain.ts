// `millrace undrain SERVICE [SERVER]`: a drained server gets new connections again.
// Thread: main.
import type { Command } from 'commander';
import { printChange } from '../remote/change.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';
import { resolveServer } from '../remote/server-name.js';

export function register(program: Command): void {
  addChange(program.command('undrain').description('undo drain: new connections come again'))
    .argument('<service>', 'name of the service')
    .argument('[server]', 'ADDRESS:PORT, or the address alone where that is clear; default: all servers of the service')
    .action(undrain);
}

async function undrain(service: string, word: string | undefined, options: ChangeOptions): Promise<void> {
  const client = clientOf(options);
  const server = word === undefined ? undefined : await resolveServer(client, service, word);
  const body = { service, ...(server === undefined ? {} : { server }) };
  printChange(await client.call('undrain', { ...changeRequest(options), body }), options);
}
