// All commands, one line each, in the order of the help. The file of a command is src/cli/commands/<name>.ts; it exports
// `register(program)`. check-layout.mjs compares this list with the files.
// Guarantees: a command's module is loaded only when that command is run or documented.
// Thread: main.
import type { Command } from 'commander';

export interface CommandModule {
  /** Adds the command to the program. */
  readonly register: (program: Command) => void;
}

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
  /** Left out of the help. */
  readonly hidden?: true;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: 'run', summary: 'run the load balancer', load: () => import('./commands/run.js') },
  { name: 'check', summary: 'check a configuration file', load: () => import('./commands/check.js') },
  {
    name: 'import',
    summary: 'translate a keepalived.conf, and write what stays with keepalived',
    load: () => import('./commands/import.js'),
  },
  { name: 'lab', summary: 'a playground of network namespaces: up, exec, down', load: () => import('./commands/lab.js') },
  { name: 'doctor', summary: 'show what this host can do', load: () => import('./commands/doctor.js') },
  {
    name: 'replay',
    summary: 'send a capture through the pipeline, without privileges',
    load: () => import('./commands/replay.js'),
  },
  {
    name: 'explain',
    summary: 'say what a packet would meet: service, server, worker, rewrite, or why it is dropped',
    load: () => import('./commands/explain.js'),
  },
  {
    name: 'realserver',
    summary: 'prepare a real server that answers clients itself (direct routing, tunnel, L3DSR), and undo it',
    load: () => import('./commands/realserver.js'),
  },
  { name: 'version', summary: 'show versions', load: () => import('./commands/version.js') },
  { name: 'demo', summary: 'the demonstration behind npm run demo', load: () => import('./commands/demo.js'), hidden: true },
];
