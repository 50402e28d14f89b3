// `millrace explain -c FILE "tcp 198.51.100.7:4242 -> 203.0.113.10:443"`: which service, server, worker and rewrite a packet would meet, and
// why. It goes through the production pipeline, without privileges and without a network.
// Thread: main; the pipeline runs synchronously on it.
import { type Command, InvalidArgumentError } from 'commander';
import { loadConfig } from '../../config/load.js';
import { createError } from '../../errors.js';
import { explain } from '../../explain/explain.js';
import { TCP_FLAGS } from '../../explain/frame.js';
import { renderExplanation } from '../../explain/render.js';
import { describeFault, parseSentence, SENTENCE_EXAMPLES } from '../../explain/sentence.js';
import { loadNative } from '../../native.js';

interface ExplainOptions {
  readonly config: string;
  readonly flags?: number;
  readonly interface?: string;
  readonly workers?: number;
  readonly json?: true;
}

export function register(program: Command): void {
  program
    .command('explain')
    .description('say what a packet would meet: service, server, worker, rewrite, or why it is dropped')
    .argument('<packet>', `what arrives, such as "${SENTENCE_EXAMPLES[0]}"; IPv6 in brackets; tcp, udp, sctp or icmp`)
    .requiredOption('-c, --config <file>', 'the configuration (YAML)')
    .option('--flags <flags>', 'TCP flags, with commas between them: syn, ack, fin, rst, psh, urg (default: syn)', parseFlags)
    .option('--interface <name>', 'where the packet comes in; default: where the way to its source leads')
    .option('--workers <number>', "number of workers instead of the configuration's", parseWorkers)
    .option('--json', 'print the explanation as JSON')
    .action(run);
}

async function run(text: string, options: ExplainOptions): Promise<void> {
  const parsed = parseSentence(text);
  if ('fault' in parsed) {
    throw createError('MILLRACE_E_INPUT_INVALID', describeFault(text, parsed.fault), {
      remedy: `Write PROTOCOL SOURCE -> DESTINATION, for example ${SENTENCE_EXAMPLES.map((example) => `"${example}"`).join(' or ')}.`,
    });
  }
  if (options.flags !== undefined && parsed.sentence.protocol !== 'tcp') {
    throw createError('MILLRACE_E_USAGE', `--flags is for tcp; ${parsed.sentence.protocol} has none`, {
      remedy: 'Leave --flags out.',
    });
  }
  const config = await loadConfig(options.config);
  const explanation = explain(loadNative(), config, {
    sentence: parsed.sentence,
    ...(options.flags === undefined ? {} : { tcpFlags: options.flags }),
    ...(options.interface === undefined ? {} : { interface: options.interface }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
  });
  process.stdout.write(`${options.json ? JSON.stringify(explanation, null, 2) : renderExplanation(explanation)}\n`);
}

function parseFlags(text: string): number {
  return text.split(',').reduce((flags, word) => {
    const bit = Object.entries(TCP_FLAGS).find(([name]) => name === word.trim().toLowerCase())?.[1];
    if (bit === undefined)
      throw new InvalidArgumentError(`"${word}" is no TCP flag; expected ${Object.keys(TCP_FLAGS).join(', ')}.`);
    return flags | bit;
  }, 0);
}

function parseWorkers(text: string): number {
  const workers = Number(text);
  if (!Number.isInteger(workers) || workers < 1 || workers > 64)
    throw new InvalidArgumentError('expected a number from 1 to 64.');
  return workers;
}
