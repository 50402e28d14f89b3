// `millrace drain SERVICE [SERVER]`: no new connections for a server; its sessions go on.
// Thread: main.
import type { Command } from 'commander';
import { printChange } from '../remote/change.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';
import { resolveServer } from '../remote/server-name.js';

export function register(program: Command): void {
  addChange(program.command('drain').description('take a server, or all servers of a service, out of the choice; sessions go on'))
    .argument('<service>', 'name of the service')
    .argument('[server]', 'ADDRESS:PORT, or the address alone where that is clear; default: all servers of the service')
    .action(drain);
}

async function drain(service: string, word: string | undefined, options: ChangeOptions): Promise<void> {
  const client = clientOf(options);
  const server = word === undefined ? undefined : await resolveServer(client, service, word);
  const body = { service, ...(server === undefined ? {} : { server }) };
  printChange(await client.call('drain', { ...changeRequest(options), body }), options);
}
