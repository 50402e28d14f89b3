// What a shell needs to know to complete a command line, taken from the tree of commands itself, so that it never lags behind it.
// Guarantees: pure; hidden commands and options are left out.
// Thread: main.
import type { Command, Option } from 'commander';

/** How a word is completed: one of some words, a file, a name that the daemon knows, or not at all. */
export type WordKind = readonly string[] | 'file' | 'service' | 'server' | 'none';

export interface CompletionOption {
  /** -o, --output */
  readonly flags: readonly string[];
  readonly description: string;
  /** undefined: takes no word of its own. */
  readonly value?: WordKind;
  /** The value may be left out; it is completed only behind "=". */
  readonly optionalValue: boolean;
}

export interface CompletionNode {
  /** Words that lead here: [], ['lab'], ['lab', 'up']. */
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CompletionOption[];
  /** The last one is repeated where `variadic`. */
  readonly words: readonly WordKind[];
  readonly variadic: boolean;
}

/** All commands, the program itself first. */
export function completionTree(program: Command): CompletionNode[] {
  return nodesOf(program, []);
}

function nodesOf(command: Command, path: readonly string[]): CompletionNode[] {
  const help = command.createHelp();
  const visible = help.visibleCommands(command);
  const node: CompletionNode = {
    path,
    commands: visible.map((child) => ({ name: child.name(), description: help.subcommandDescription(child) })),
    options: help.visibleOptions(command).map(toOption),
    words: command.registeredArguments.map((argument) => kindOf(argument.name(), argument.argChoices)),
    variadic: command.registeredArguments.at(-1)?.variadic ?? false,
  };
  // The command `help` is made by commander for the help only.
  const real = command.commands.filter((child) => visible.includes(child));
  return [node, ...real.flatMap((child) => nodesOf(child, [...path, child.name()]))];
}

function toOption(option: Option): CompletionOption {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined && flag !== null);
  const argument = /[<[]([\w-]+)/.exec(option.flags)?.[1];
  return {
    flags,
    description: option.description,
    optionalValue: option.optional,
    ...(argument === undefined ? {} : { value: kindOf(argument, option.argChoices) }),
  };
}

/** Files and names are told by what the help calls them: <file>, <path>, <service>, <server>. */
function kindOf(name: string, choices: readonly string[] | undefined): WordKind {
  if (choices !== undefined) return choices;
  if (name === 'service' || name === 'server') return name;
  return /^(file|path|directory|pcap|in|out)$/.test(name) ? 'file' : 'none';
}
