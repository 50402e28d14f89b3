// `millrace lab`: the playground. Namespaces, real servers and steering that stay until they are taken down.
// Guarantees: says what it made and how to use it; refuses a second lab; `down` always works.
// Thread: the main thread.
import { type Command, InvalidArgumentError } from 'commander';
import { basicRoles, echoPort, httpPort, plans, type Role, urlHost } from '../../lab/addresses.js';
import { defaultWorkers } from '../../lab/lab.js';
import {
  isRole,
  type PlaygroundState,
  playgroundDown,
  playgroundExec,
  playgroundStatus,
  playgroundUp,
} from '../../lab/playground.js';

export function register(program: Command): void {
  // Everything after the name of a namespace belongs to the program that is run there.
  program.enablePositionalOptions();
  const lab = program
    .command('lab')
    .enablePositionalOptions()
    .description('a playground of network namespaces: client, balancer, two real servers');
  lab
    .command('up')
    .description('make it')
    .option('--workers <n>', "queues of the balancer's interfaces", positiveInteger, defaultWorkers)
    .action(async ({ workers }: { workers: number }) => {
      process.stdout.write(upText(await playgroundUp(workers)));
    });
  lab
    .command('exec')
    .description(`run a program in one of its namespaces: ${basicRoles.join(', ')}`)
    .argument('<where>', `one of ${basicRoles.join(', ')}`, role)
    .argument('<program...>', 'the program and its arguments, after "--"')
    .passThroughOptions()
    .action(async (where: Role, argv: string[]) => {
      process.exitCode = await playgroundExec(where, argv[0] === '--' ? argv.slice(1) : argv);
    });
  lab
    .command('down')
    .description('remove it, complete or not')
    .action(async () => {
      const removed = await playgroundDown();
      process.stdout.write(removed.length > 0 ? `removed ${removed.join(', ')}\n` : 'there was no lab\n');
    });
  lab
    .command('status')
    .description('what there is of it')
    .option('--json', 'as JSON', false)
    .action(({ json }: { json: boolean }) => {
      const status = playgroundStatus();
      process.stdout.write(json ? `${JSON.stringify(status, null, 2)}\n` : statusText());
      process.exitCode = status.namespaces.length === basicRoles.length && status.dead.length === 0 ? 0 : 4;
    });
}

function upText(state: PlaygroundState): string {
  const { ipv4, ipv6 } = plans;
  return `The lab is up.

  millrace-client   ${ipv4.clients[0]}, ${ipv6.clients[0]}
  millrace-lb       wan ${ipv4.lbWan}, ${ipv6.lbWan}; lan ${ipv4.lbLan}, ${ipv6.lbLan}; ${state.workers} queues each
  millrace-net      the switch between the balancer and the real servers
  millrace-rs1      ${ipv4.servers.rs1}, ${ipv6.servers.rs1}: nginx on port ${httpPort}, UDP echo on port ${echoPort}
  millrace-rs2      ${ipv4.servers.rs2}, ${ipv6.servers.rs2}: the same

  VIPs ${ipv4.vip}, ${ipv4.routedVip}, ${ipv6.vip}, ${ipv6.routedVip}; configuration ${state.config}

Try:
  millrace lab exec lb -- ${process.execPath} ${process.argv[1]} run -c ${state.config}
  millrace lab exec client -- curl http://${ipv4.vip}/
  millrace lab exec client -- curl http://${urlHost(ipv6.vip)}/
  millrace lab down
`;
}

function statusText(): string {
  const { namespaces, state, dead } = playgroundStatus();
  if (namespaces.length === 0 && state === undefined) return 'there is no lab; "millrace lab up" makes one\n';
  const lines = [`namespaces: ${namespaces.join(', ') || 'none'}`];
  for (const process of state?.processes ?? []) {
    lines.push(`${process.name.padEnd(14)} pid ${process.pid}${dead.includes(process.name) ? '  (runs no more)' : ''}`);
  }
  const complete = namespaces.length === basicRoles.length && state !== undefined && dead.length === 0;
  lines.push(complete ? `configuration: ${state.config}` : 'incomplete: "millrace lab down" removes what is left');
  return `${lines.join('\n')}\n`;
}

function role(text: string): Role {
  if (!isRole(text)) throw new InvalidArgumentError(`one of ${basicRoles.join(', ')} is needed`);
  return text;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number above 0 is needed');
  return value;
}
