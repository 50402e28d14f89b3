// Words that may stand before a command line of ipvsadm and are Millrace's own.
// Guarantees: pure; what follows the first other word is ipvsadm's, also when it looks like one of these.
// Thread: any.
import type { Dialect } from './option-table.js';

export interface OwnWords {
  readonly dialect: Dialect;
  /** --verbose: what a listing leaves out is named on stderr. */
  readonly verbose: boolean;
  /** The command line of ipvsadm. */
  readonly argv: readonly string[];
}

/** Takes --dpvs and --verbose off the beginning. */
export function takeOwnWords(words: readonly string[]): OwnWords {
  const end = words.findIndex((word) => word !== '--dpvs' && word !== '--verbose');
  const own = end === -1 ? words : words.slice(0, end);
  return {
    dialect: own.includes('--dpvs') ? 'dpvs' : 'millrace',
    verbose: own.includes('--verbose'),
    argv: words.slice(own.length),
  };
}
