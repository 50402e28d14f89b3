// All commands, one line each, in the order of the help. The file of a command is src/cli/commands/<name>.ts; it exports
// `register(program)`. check-layout.mjs compares this list with the files.
// Guarantees: a command's module is loaded only when that command is run or documented.
// Thread: main.
import type { Command } from 'commander';

export interface CommandModule {
  /** Adds the command to the program. */
  readonly register: (program: Command) => void;
  /** Runs the command with the words after its name, as they are, and returns the exit code. */
  readonly run?: (argv: readonly string[]) => Promise<number>;
}

export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
  /** Left out of the help. */
  readonly hidden?: true;
  /** The words after the name are not for commander: the module's run() gets them. */
  readonly raw?: true;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: 'run', summary: 'run the load balancer', load: () => import('./commands/run.js') },
  { name: 'check', summary: 'check a configuration file', load: () => import('./commands/check.js') },
  {
    name: 'config',
    summary: 'show the configuration that holds: file and changes of the API together',
    load: () => import('./commands/config.js'),
  },
  { name: 'status', summary: 'show a running daemon at a glance', load: () => import('./commands/status.js') },
  { name: 'services', summary: 'show the services of a running daemon', load: () => import('./commands/services.js') },
  { name: 'servers', summary: 'show the real servers of a running daemon', load: () => import('./commands/servers.js') },
  {
    name: 'sessions',
    summary: 'list, count and end the sessions of a running daemon',
    load: () => import('./commands/sessions.js'),
  },
  { name: 'health', summary: 'show every health check with its last verdict', load: () => import('./commands/health.js') },
  { name: 'top', summary: 'watch rates of services, servers and workers', load: () => import('./commands/top.js') },
  { name: 'events', summary: 'show changes and health events as they happen', load: () => import('./commands/events.js') },
  { name: 'drain', summary: 'take servers out of the choice; sessions go on', load: () => import('./commands/drain.js') },
  { name: 'undrain', summary: 'undo drain', load: () => import('./commands/undrain.js') },
  { name: 'weight', summary: 'give a server another weight', load: () => import('./commands/weight.js') },
  { name: 'apply', summary: 'add or replace one service of a running daemon', load: () => import('./commands/apply.js') },
  { name: 'reset', summary: 'forget what was changed in a running daemon', load: () => import('./commands/reset.js') },
  { name: 'reload', summary: 'let a running daemon read its file again', load: () => import('./commands/reload.js') },
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
  { name: 'completion', summary: 'print a completion script for a shell', load: () => import('./commands/completion.js') },
  {
    name: 'ipvsadm',
    summary: "ipvsadm against the running daemon; with --dpvs first, DPVS's options",
    load: () => import('./commands/ipvsadm.js'),
    raw: true,
  },
  {
    name: 'proc',
    summary: 'show the running daemon as a file of /proc/net of IPVS',
    load: () => import('./commands/proc.js'),
  },
  { name: 'version', summary: 'show versions', load: () => import('./commands/version.js') },
  { name: 'demo', summary: 'the demonstration behind npm run demo', load: () => import('./commands/demo.js'), hidden: true },
];
