// Reads a command line as popt(3) 1.19 does, which is what ipvsadm is built with: clusters (-Ln), values in the same word (-srr, -s=rr,
// --scheduler=rr), optional values (-p 10, -p), no abbreviations, options and arguments in any order.
// Guarantees: pure; never throws; every word is looked at once. popt's alias files and its "!#:+" expansion do not exist here.
// Thread: any.

export interface PoptOption {
  readonly long: string;
  readonly short?: string;
  /** Whether a value follows; an optional one is not taken from a next word that begins with "-". */
  readonly value?: 'required' | 'optional';
}

export type PoptStep<O extends PoptOption> =
  | { readonly kind: 'option'; readonly option: O; readonly value: string | undefined; readonly word: string }
  /** `word` is the offending word of the command line, `reason` popt's text. */
  | { readonly kind: 'error'; readonly word: string; readonly reason: string }
  | { readonly kind: 'end' };

/** Gives the options of a command line one after another; what is no option is kept in `rest`. */
export class PoptReader<O extends PoptOption> {
  /** Words that are no options, in their order. */
  readonly rest: string[] = [];
  readonly #words: readonly string[];
  readonly #options: readonly O[];
  #next = 0;
  #cluster = '';
  #onlyRest = false;

  constructor(words: readonly string[], options: readonly O[]) {
    this.#words = words;
    this.#options = options;
  }

  /** The next option, an error, or the end. After an error nothing more should be read. */
  next(): PoptStep<O> {
    while (this.#cluster === '') {
      const word = this.#words[this.#next];
      if (word === undefined) return { kind: 'end' };
      this.#next += 1;
      if (this.#onlyRest || !word.startsWith('-') || word === '-') this.rest.push(word);
      else if (word === '--') this.#onlyRest = true;
      else if (word.startsWith('--')) return this.#long(word);
      else this.#cluster = word.slice(1);
    }
    return this.#short();
  }

  #long(word: string): PoptStep<O> {
    const equals = word.indexOf('=');
    const name = word.slice(2, equals === -1 ? undefined : equals);
    const option = this.#options.find(({ long }) => long === name);
    if (option === undefined) return this.#error('unknown option');
    return this.#withValue(option, equals === -1 ? undefined : word.slice(equals + 1));
  }

  #short(): PoptStep<O> {
    const [letter, rest] = [this.#cluster.charAt(0), this.#cluster.slice(1)];
    this.#cluster = '';
    const option = this.#options.find(({ short }) => short === letter);
    if (option === undefined) return this.#error('unknown option');
    if (option.value !== undefined) return this.#withValue(option, rest === '' ? undefined : rest.replace(/^=/, ''));
    if (rest.startsWith('=')) return this.#error('option does not take an argument');
    this.#cluster = rest;
    return this.#withValue(option, undefined);
  }

  #withValue(option: O, attached: string | undefined): PoptStep<O> {
    const word = this.#word();
    if (option.value === undefined) {
      return attached === undefined
        ? { kind: 'option', option, value: undefined, word }
        : this.#error('option does not take an argument');
    }
    if (attached !== undefined) return { kind: 'option', option, value: attached, word };
    const following = this.#words[this.#next];
    if (option.value === 'optional' && (following === undefined || following.startsWith('-')))
      return { kind: 'option', option, value: undefined, word };
    if (following === undefined) return this.#error('missing argument');
    this.#next += 1;
    return { kind: 'option', option, value: following, word };
  }

  #word(): string {
    return this.#words[this.#next - 1] ?? '';
  }

  #error(reason: string): PoptStep<O> {
    return { kind: 'error', word: this.#word(), reason };
  }
}
