// `millrace services [SERVICE]`: the services of a running daemon; of one, its servers too.
// Thread: main.
import type { Command } from 'commander';
import type { ServiceViewBody } from '../../api/contract.js';
import { addWatch, type WatchOptions } from '../remote/options.js';
import { show } from '../remote/show.js';
import { serverLines, serverRows, serviceLines } from '../remote/views.js';

export function register(program: Command): void {
  addWatch(program.command('services').description('show the services of a running daemon; of one, its servers too'))
    .argument('[service]', 'name of a service')
    .action(services);
}

async function services(name: string | undefined, options: WatchOptions): Promise<void> {
  if (name === undefined) {
    await show<readonly ServiceViewBody[]>(options, {
      fetch: (client, signal) => client.call('services', { signal }),
      lines: serviceLines,
    });
    return;
  }
  await show<ServiceViewBody>(options, {
    fetch: (client, signal) => client.call('service', { params: { service: name }, signal }),
    lines: (service, context) => [...serviceLines([service], context), '', ...serverLines(serverRows([service]), context)],
  });
}
