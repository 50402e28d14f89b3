// `millrace config --effective FILE`: what holds when a file and what was changed through the API come together, and where each thing that
// is not the file's comes from. Needs neither privileges nor the addon, and changes nothing.
// Thread: main.
import type { Command } from 'commander';
import { Document, isMap, isScalar, isSeq, type Node, type Pair } from 'yaml';
import { effectiveConfig } from '../../config/effective.js';
import type { Config } from '../../config/schema.js';
import { serverKey } from '../../control/availability.js';
import { type OverlayStore, overlayStore, readDesired } from '../../state/effective.js';
import { applyOverlay, EMPTY_OVERLAY, type Remark } from '../../state/overlay.js';

interface ConfigOptions {
  readonly effective: true;
  readonly state?: string;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('config')
    .description('show the configuration that holds: file and changes of the API together')
    .argument('<file>', 'the configuration (YAML)')
    .requiredOption('--effective', 'print it with all defaults filled in; comments say what is not as the file has it')
    .option('--state <file>', 'the changes of the API, as a daemon keeps them; without it the file alone')
    .option('--json', 'print version, configuration and origins as JSON')
    .action(show);
}

async function show(file: string, options: ConfigOptions): Promise<void> {
  const store: Pick<OverlayStore, 'read'> =
    options.state === undefined ? { read: async () => EMPTY_OVERLAY } : overlayStore(options.state);
  const desired = await readDesired(file, store);
  const { origins, remarks, stale } = applyOverlay(desired.file, desired.overlay);
  const waiting = [...desired.dropped, ...stale];
  const config = effectiveConfig(desired.config);
  if (options.json) {
    const body = { version: desired.version, config, origins: Object.fromEntries(origins), remarks, stale: waiting };
    process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
  } else {
    process.stdout.write(annotated(config, desired.version, remarks, waiting));
  }
}

/** The configuration as YAML with the remarks as comments where they belong; what belongs nowhere stands at the top. */
function annotated(config: Config, version: string, remarks: readonly Remark[], stale: readonly string[]): string {
  const byKey = new Map(remarks.map((remark) => [remark.key, remark.text]));
  const document = new Document(config);
  const homeless = remarks.filter((remark) => remark.key === '').map((remark) => remark.text);
  document.commentBefore = [`version ${version}`, ...homeless, ...stale].map((line) => ` ${line}`).join('\n');
  for (const pair of pairsOf(document.contents)) {
    const key = pair.key as Node | null;
    const text = byKey.get(keyOf(pair));
    if (text !== undefined && key !== null) key.commentBefore = ` ${text}`;
  }
  config.services.forEach((service, i) => {
    const path = `services.${service.name}`;
    comment(document, ['services', i], byKey.get(path));
    service.servers.forEach((server, j) => {
      const place = `${path}.servers.${serverKey(service, server)}`;
      comment(document, ['services', i, 'servers', j], byKey.get(place));
      const weight = document.getIn(['services', i, 'servers', j, 'weight'], true);
      const text = byKey.get(`${place}.weight`);
      if (text !== undefined && isScalar(weight)) weight.comment = ` ${text}`;
    });
  });
  return document.toString({ lineWidth: 120 });
}

function pairsOf(node: unknown): readonly Pair[] {
  return isMap(node) ? node.items : [];
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function comment(document: Document, path: readonly (string | number)[], text: string | undefined): void {
  if (text === undefined) return;
  const node = document.getIn(path, true);
  if (isMap(node) || isSeq(node)) node.commentBefore = ` ${text}`;
}
