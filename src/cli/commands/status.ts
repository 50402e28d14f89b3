// `millrace status`: a running daemon at a glance.
// Thread: main.
import type { Command } from 'commander';
import { addWatch, type WatchOptions } from '../remote/options.js';
import { show } from '../remote/show.js';
import { type StatusAnswer, statusLines } from '../remote/views.js';

export function register(program: Command): void {
  addWatch(program.command('status').description('show a running daemon at a glance; with -o wide its workers too')).action(
    status,
  );
}

async function status(options: WatchOptions): Promise<void> {
  const withWorkers = options.output === 'wide';
  await show<StatusAnswer | StatusAnswer['status']>(options, {
    fetch: async (client, signal) => {
      const answer = await client.call('status', { signal });
      return withWorkers ? { status: answer, workers: await client.call('workers', { signal }) } : answer;
    },
    lines: (answer, context) => statusLines('status' in answer ? answer : { status: answer }, context),
  });
}
