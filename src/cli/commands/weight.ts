// `millrace weight SERVICE SERVER N`: another share of new connections for a server.
// Thread: main.
import { type Command, InvalidArgumentError } from 'commander';
import { printChange } from '../remote/change.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';
import { resolveServer } from '../remote/server-name.js';

export function register(program: Command): void {
  addChange(program.command('weight').description('give a server another weight; 0 drains it'))
    .argument('<service>', 'name of the service')
    .argument('<server>', 'ADDRESS:PORT, or the address alone where that is clear')
    .argument('<weight>', '0 to 65535', parseWeight)
    .action(weight);
}

async function weight(service: string, word: string, value: number, options: ChangeOptions): Promise<void> {
  const client = clientOf(options);
  const server = await resolveServer(client, service, word);
  const request = { ...changeRequest(options), params: { service, server }, body: { weight: value } };
  printChange(await client.call('setWeight', request), options);
}

function parseWeight(text: string): number {
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65_535) throw new InvalidArgumentError('expected a number from 0 to 65535.');
  return Number(text);
}
