// `millrace apply FILE`: adds or replaces one service of a running daemon, or one section of its configuration, from a YAML file.
// Guarantees: what the daemon finds wrong is shown at its place in the file.
// Thread: main.
import { type Command, Option } from 'commander';
import type { Section } from '../../state/desired.js';
import { printChange } from '../remote/change.js';
import { locateProblems, readPart } from '../remote/config-part.js';
import { addChange, type ChangeOptions, changeRequest, clientOf } from '../remote/options.js';

const SECTIONS = Object.keys({
  localAddresses: true,
  tunnelSources: true,
  echoReplies: true,
  routes: true,
  neighbours: true,
  snat: true,
  sessions: true,
} satisfies Record<Section, true>) as Section[];

export function register(program: Command): void {
  addChange(program.command('apply').description('add or replace one service, or set one section of the configuration'))
    .argument('<file>', 'YAML: a service as in the configuration file, or a section; - reads standard input')
    .addOption(new Option('--section <name>', 'the file has this section in place of a service').choices(SECTIONS))
    .action(apply);
}

async function apply(file: string, options: ChangeOptions & { readonly section?: Section }): Promise<void> {
  const client = clientOf(options);
  const part = readPart(file, options.section);
  try {
    const request = { ...changeRequest(options), body: part.value };
    const change =
      part.kind === 'section'
        ? await client.call('setSection', { ...request, params: { section: part.name } })
        : await client.call('putService', { ...request, params: { service: part.name } });
    printChange(change, options);
  } catch (error) {
    throw locateProblems(error, part);
  }
}
