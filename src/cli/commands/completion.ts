// `millrace completion bash|zsh`: prints a script that lets the shell complete commands, options, and the names that a daemon knows.
// Guarantees: `completion names`, which the scripts call, prints nothing rather than an error, and gives up after half a second.
// Thread: main.
import { Argument, type Command } from 'commander';
import type { TargetWords } from '../../client/target.js';
import { bashScript, zshScript } from '../completion/script.js';
import { completionTree } from '../completion/tree.js';
import { addConnection, clientOf } from '../remote/options.js';
import { print } from '../remote/show.js';

/** Milliseconds: nobody waits longer for the tabulator key. */
const PATIENCE = 500;

export function register(program: Command): void {
  const completion = program.command('completion').description('print a completion script for a shell');
  for (const [shell, make, place] of [
    ['bash', bashScript, '/usr/share/bash-completion/completions/millrace'],
    ['zsh', zshScript, '/usr/share/zsh/vendor-completions/_millrace'],
  ] as const) {
    completion
      .command(shell)
      .description(`for ${shell}: millrace completion ${shell} > ${place}`)
      .action(async () => {
        // Here and not above: the program loads this module, and all commands must be there.
        const [{ buildProgram }, { COMMANDS }] = await Promise.all([import('../program.js'), import('../registry.js')]);
        print(make(completionTree(await buildProgram(COMMANDS))));
      });
  }
  addConnection(completion.command('names', { hidden: true }).description('what the scripts ask for'))
    .addArgument(new Argument('<what>').choices(['services', 'servers']))
    .argument('[service]')
    .action(names);
}

async function names(what: string, service: string | undefined, options: TargetWords): Promise<void> {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const client = clientOf(options, PATIENCE);
    const found =
      what === 'servers' && service !== undefined && service !== ''
        ? (await client.call('service', { params: { service }, signal })).servers.map(({ server }) => server)
        : (await client.call('services', { signal })).flatMap(({ name, servers }) =>
            what === 'services' ? [name] : servers.map(({ server }) => server),
          );
    // A name with a blank or a special character could not be typed as it is.
    print(
      [...new Set(found)]
        .filter((name) => /^[\w.:[\]@%+,/-]+$/.test(name))
        .map((name) => `${name}\n`)
        .join(''),
    );
  } catch {
    // No daemon, no names.
  }
}
