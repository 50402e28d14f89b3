// `millrace proc FILE`: the files of /proc/net that IPVS has, for scripts that cut columns out of those.
// Thread: main.
import { Argument, type Command } from 'commander';
import { callDoor, printAnswer } from '../ipvs-call.js';

export function register(program: Command): void {
  program
    .command('proc')
    .description('show the running daemon as a file of /proc/net of IPVS')
    .addArgument(new Argument('<file>', 'which file').choices(['ip_vs', 'ip_vs_conn', 'ip_vs_stats']))
    .addHelpText('after', '\nExit codes are those of `millrace ipvsadm`. The daemon is found as by that.')
    .action(async (file: string) => {
      process.exitCode = printAnswer(await callDoor(['--proc', file], undefined));
    });
}
