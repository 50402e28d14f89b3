// `millrace ipvsadm ...`, and ipvsadm itself where a symlink of that name leads here: the words go to the daemon as they are.
// Guarantees: prints what ipvsadm prints and returns its status; help and version need no daemon.
// Thread: main.
import type { Command } from 'commander';
import { Exit } from '../../ipvs/exit.js';
import type { Resolver } from '../../ipvs/names.js';
import { parseRequest } from '../../ipvs/options.js';
import { takeOwnWords } from '../../ipvs/own-words.js';
import { callDoor, type IpvsadmAnswer, printAnswer } from '../ipvs-call.js';

/** For the help alone: run() gets the words before commander sees them. */
export function register(program: Command): void {
  program
    .command('ipvsadm')
    .description("ipvsadm against the running daemon; with --dpvs first, DPVS's options")
    .argument('[words...]', 'as ipvsadm(8) takes them; before them --dpvs, --verbose')
    .helpOption(false)
    .allowUnknownOption()
    .addHelpText(
      'after',
      `
The daemon is asked on the unix socket that MILLRACE_SOCKET names, else /run/millrace/api.sock.
  --dpvs      first word: the options of DPVS's ipvsadm, where -b is full NAT; MILLRACE_IPVSADM=dpvs is the same
  --verbose   first word: services that IPVS has no form for, on stderr
  --fullnat   with -a and -e: full NAT, which IPVS does not have
A symlink named ipvsadm that leads to millrace is this command. Exit codes are those of ipvsadm: 0, 1, 2 and 255.
docs/ipvsadm.md lists what differs.`,
    );
}

/** Nothing has a name: what the words mean is for the daemon, which reads them again. */
const NAMELESS: Resolver = {
  addressOf: () => undefined,
  nameOf: () => undefined,
  portOf: () => undefined,
  serviceOf: () => undefined,
};

type Local = { readonly answer: IpvsadmAnswer } | { readonly readsInput: boolean };

/** What can be said of the words without a daemon. */
function lookAt(argv: readonly string[]): Local {
  const { dialect, argv: words } = takeOwnWords(argv);
  try {
    return { readsInput: parseRequest(words, NAMELESS, { dialect }).command === 'restore' };
  } catch (error) {
    // Help and version; what is wrong with other words, the daemon says.
    if (error instanceof Exit && error.status === 0)
      return { answer: { stdout: error.stdout, stderr: error.stderr, exitCode: 0 } };
    return { readsInput: false };
  }
}

async function readInput(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString();
}

/** Runs ipvsadm; `argv` are the words after the name. Returns its status. */
export async function run(argv: readonly string[]): Promise<number> {
  const words = process.env['MILLRACE_IPVSADM'] === 'dpvs' ? ['--dpvs', ...argv] : argv;
  const local = lookAt(words);
  if ('answer' in local) return printAnswer(local.answer);
  return printAnswer(await callDoor(words, local.readsInput ? await readInput() : undefined));
}
