// `millrace health`: every health check of a running daemon with its last verdict.
// Thread: main.
import type { Command } from 'commander';
import { addWatch, type WatchOptions } from '../remote/options.js';
import { show } from '../remote/show.js';
import { type HealthBody, healthLines } from '../remote/views.js';

export function register(program: Command): void {
  addWatch(program.command('health').description('show every health check with its last verdict'))
    .argument('[service]', 'only those of this service')
    .action(health);
}

async function health(name: string | undefined, options: WatchOptions): Promise<void> {
  await show<HealthBody>(options, {
    fetch: async (client, signal) => {
      const all = await client.call('health', { signal });
      if (name === undefined) return all;
      // A service without checks is in neither list: whether it exists only the daemon knows.
      await client.call('service', { params: { service: name }, signal });
      return {
        services: all.services.filter((service) => service.name === name),
        checks: all.checks.filter((check) => check.service === name),
      };
    },
    lines: healthLines,
  });
}
