// `millrace servers [SERVICE]`: the real servers of a running daemon, one a line.
// Thread: main.
import type { Command } from 'commander';
import { addWatch, type WatchOptions } from '../remote/options.js';
import { show } from '../remote/show.js';
import { type ServerRow, serverLines, serverRows } from '../remote/views.js';

export function register(program: Command): void {
  addWatch(program.command('servers').description('show the real servers of a running daemon'))
    .argument('[service]', 'only those of this service')
    .action(servers);
}

async function servers(name: string | undefined, options: WatchOptions): Promise<void> {
  await show<readonly ServerRow[]>(options, {
    fetch: async (client, signal) =>
      serverRows(
        name === undefined
          ? await client.call('services', { signal })
          : [await client.call('service', { params: { service: name }, signal })],
      ),
    lines: serverLines,
  });
}
