// `millrace realserver`: prepares a real server for a mode in which it answers clients itself, says what is in place, and undoes it.
// Guarantees: changes only the network namespace it runs in, and remembers what was there before; see docs/realserver.md.
// Thread: main.
import { type Command, InvalidArgumentError } from 'commander';
import type { TakenBack } from '../../realserver/changes.js';
import { thisHost } from '../../realserver/host.js';
import { prepare, type Realserver, type Request, status, undo } from '../../realserver/realserver.js';
import { type Paint, renderPrepared, renderStatus, renderUndone } from '../../realserver/render.js';
import {
  defaultGuePort,
  type Mode,
  modes,
  parseFrom,
  parseMarks,
  parseTypes,
  parseVips,
  SetupWordError,
  type TunnelType,
} from '../../realserver/setup.js';
import { stateOfThisNamespace } from '../../realserver/state-file.js';
import { renderToolStatus, runTool, toolStatus } from '../../realserver/tool.js';
import { EXIT_CODES } from '../exit-code.js';
import { paint } from '../table.js';

interface Common {
  readonly interface?: readonly string[];
  readonly json?: true;
}

interface TunnelOptions extends Common {
  readonly vip: readonly string[];
  readonly type: readonly TunnelType[];
  readonly guePort: number;
  readonly from: readonly string[];
  readonly device: 'auto' | 'kernel' | 'bpf';
  readonly greChecksum?: true;
}

const vipFlag = '--vip <addresses>';
const vipHelp = 'virtual addresses of the services, with commas between them';

export function register(program: Command): void {
  const realserver = program
    .command('realserver')
    .description('prepare a real server that answers clients itself (direct routing, tunnel, L3DSR), and undo it')
    .addHelpText(
      'after',
      '\nEverything happens in the present network namespace and is remembered in /run/millrace-realserver until it is undone.',
    );
  common(realserver.command('direct'), 'for direct routing: the VIPs on lo, and silence about them on the network')
    .requiredOption(vipFlag, vipHelp, word(parseVips))
    .action((options: Common & { vip: readonly string[] }) =>
      run(options, { mode: 'direct', vips: options.vip, interfaces: options.interface ?? [] }),
    );
  common(realserver.command('tunnel'), 'for tunnels: as direct, and something that takes the tunnel off')
    .requiredOption(vipFlag, vipHelp, word(parseVips))
    .requiredOption(
      '--from <prefix>',
      'address or prefix of balancers, as outer source; may be repeated',
      repeated(word(parseFrom)),
    )
    .option('--type <types>', 'ipip, gre, gue, or several with commas between them', word(parseTypes), ['ipip'] as const)
    .option('--gue-port <port>', 'UDP port of GUE', port, defaultGuePort)
    .option('--device <who>', 'who takes it off: a device of the kernel, our BPF program, or auto', device, 'auto')
    .option('--gre-checksum', 'the balancer sends GRE with checksums (the BPF program takes both, the kernel only one)')
    .action((options: TunnelOptions) =>
      run(options, {
        mode: 'tunnel',
        vips: options.vip,
        interfaces: options.interface ?? [],
        types: options.type,
        guePort: options.guePort,
        from: options.from,
        device: options.device,
        greChecksum: options.greChecksum ?? false,
      }),
    );
  common(realserver.command('l3dsr'), 'for L3DSR: packets marked by their DSCP get the VIP back')
    .requiredOption(vipFlag, vipHelp, word(parseVips))
    .requiredOption('--dscp <numbers>', '1 to 63: one for a VIP per family, or one per VIP with commas between them')
    .action((options: Common & { vip: readonly string[]; dscp: string }, command: Command) => {
      const marks = usage(command, () => parseMarks(options.vip.join(','), options.dscp));
      return run(options, { mode: 'l3dsr', interfaces: options.interface ?? [], marks });
    });
  realserver
    .command('client-address')
    .description('for full NAT with TOA or UOA: unmodified servers see their clients (runs millrace-realserver)')
    .requiredOption(
      '--from <prefix>',
      'local addresses of balancers, whose word on clients is believed; may be repeated',
      repeated((text: string) => text),
    )
    .option('--cgroup <path>', 'control group whose processes see clients (default: the whole host)')
    .option(
      '--interface <name>',
      'where UDP comes in, to take UOA off; may be repeated',
      repeated((name: string) => name),
    )
    .option('--kinds <numbers>', 'kinds of the TCP option, with commas between them', '254,253,252')
    .option('--flows <number>', 'UDP flows that are remembered', '65536')
    .action(clientAddress);
  realserver
    .command('status')
    .description('what is in place, what somebody else changed since, and counters; exit code 4 unless all is in place')
    .option('--json', 'as JSON')
    .action(showStatus);
  realserver
    .command('undo')
    .description('restore what was there before')
    .argument('[mode]', `only this one of ${modes.join(', ')}, client-address`, undoable)
    .option('--force', 'restore even what somebody else changed since')
    .option('--json', 'as JSON')
    .action(undoAll);
}

function common(command: Command, description: string): Command {
  return command
    .description(description)
    .option(
      '--interface <name>',
      "where the balancer's packets come in; may be repeated (default: the way to the balancers or to the clients)",
      repeated((name: string) => name),
    )
    .option('--json', 'as JSON');
}

/** The options of commander stand in this order: all are known only when the command runs. */
function thisRealserver(): Realserver {
  return { host: thisHost, store: stateOfThisNamespace() };
}

async function run(options: Common, request: Request): Promise<void> {
  const prepared = await prepare(thisRealserver(), request);
  process.stdout.write(options.json ? json({ ok: true, ...prepared }) : renderPrepared(prepared, ink()));
}

interface ClientAddressOptions {
  readonly from: readonly string[];
  readonly cgroup?: string;
  readonly interface?: readonly string[];
  readonly kinds: string;
  readonly flows: string;
}

/** Its exit codes are ours (docs/realserver.md). */
function clientAddress(options: ClientAddressOptions): void {
  const { code, stdout, stderr } = runTool([
    'client-address',
    ...['--from', options.from.join(','), '--kinds', options.kinds, '--flows', options.flows],
    ...(options.cgroup === undefined ? [] : ['--cgroup', options.cgroup]),
    ...(options.interface === undefined ? [] : ['--interface', options.interface.join(',')]),
  ]);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = code;
}

async function showStatus(options: { json?: true }): Promise<void> {
  const found = await status(thisRealserver());
  const clientAddress = toolStatus();
  // Either may be all that this server needs.
  const inPlace = (found.inPlace || found.setups.length === 0) && (clientAddress.inPlace ?? !clientAddress.prepared);
  const ok = inPlace && (found.inPlace || clientAddress.prepared);
  if (options.json) process.stdout.write(json({ ok, ...found, clientAddress }));
  else {
    if (found.setups.length > 0 || !clientAddress.prepared) process.stdout.write(renderStatus(found, ink()));
    process.stdout.write(renderToolStatus(clientAddress));
  }
  process.exitCode = ok ? EXIT_CODES.ok.code : EXIT_CODES.runtime.code;
}

async function undoAll(only: Mode | 'client-address' | undefined, options: { force?: true; json?: true }): Promise<void> {
  const results = [
    ...(only === 'client-address'
      ? []
      : await undo(thisRealserver(), { ...(only === undefined ? {} : { mode: only }), force: options.force ?? false })),
    ...(only === undefined || only === 'client-address' ? undoClientAddress() : []),
  ];
  const left = results.some((result) => result.outcome === 'left');
  process.stdout.write(options.json ? json({ ok: !left, results }) : renderUndone(results, ink()));
  process.exitCode = left ? EXIT_CODES.runtime.code : EXIT_CODES.ok.code;
}

function undoClientAddress(): TakenBack[] {
  if (!toolStatus().prepared) return [];
  const { code, stderr } = runTool(['undo']);
  process.stderr.write(stderr);
  const outcome = code === 0 ? 'restored' : 'left';
  return [
    { name: 'programs of client-address', outcome, before: 'none', found: 'in place', reason: code === 0 ? '' : 'see above' },
  ];
}

function ink(): Paint {
  const { green, red, dim } = paint(process.stdout);
  return (tone, text) => ({ good: green, bad: red, quiet: dim })[tone](text);
}

/** Counters are exact up to 2^53. */
function json(value: object): string {
  return `${JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item), 2)}\n`;
}

function word<T>(parse: (words: string) => T): (words: string) => T {
  return (words) => {
    try {
      return parse(words);
    } catch (error) {
      throw error instanceof SetupWordError ? new InvalidArgumentError(error.message) : error;
    }
  };
}

function usage<T>(command: Command, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SetupWordError) command.error(`error: ${error.message}`);
    throw error;
  }
}

function repeated<T>(parse: (words: string) => T): (words: string, former: readonly T[] | undefined) => readonly T[] {
  return (words, former) => [...(former ?? []), parse(words)];
}

function port(words: string): number {
  const value = Number(words);
  if (!/^\d+$/.test(words) || value < 1 || value > 65_535) throw new InvalidArgumentError('a port from 1 to 65535 is needed');
  return value;
}

function device(words: string): 'auto' | 'kernel' | 'bpf' {
  if (words !== 'auto' && words !== 'kernel' && words !== 'bpf') throw new InvalidArgumentError('auto, kernel or bpf is needed');
  return words;
}

function undoable(words: string): Mode | 'client-address' {
  const found = ([...modes, 'client-address'] as const).find((candidate) => candidate === words);
  if (found === undefined) throw new InvalidArgumentError(`one of ${modes.join(', ')}, client-address is needed`);
  return found;
}
