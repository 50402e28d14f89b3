// What commands that read a keepalived.conf must be told beside it.
// Thread: main.
import type { Command } from 'commander';

export interface KeepalivedOptions {
  readonly base?: string;
  readonly interface?: string[];
  readonly localAddress?: string[];
  readonly configId?: string;
}

export function keepalivedOptions(command: Command): Command {
  return command
    .option('--base <file>', 'a configuration (YAML) with what keepalived.conf cannot say; its services need not be there')
    .option('--interface <name...>', 'interfaces to receive from and send to, beside those of the base')
    .option('--local-address <address...>', 'source addresses towards servers of tunnels and full NAT, beside those of the base')
    .option('--config-id <name>', 'what stands behind @ in lines that count, as -i of keepalived (default: the host name)');
}
