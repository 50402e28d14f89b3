// Names of scheduler flags: flag-1 to flag-3 for any scheduler, and names of their own for sh and mh.
// Guarantees: pure; throws nothing but Exit.
// Thread: any.
import { fail } from './exit.js';

type Flag = 1 | 2 | 3;

const NAMED: readonly { readonly name: string; readonly scheduler: string; readonly flag: Flag }[] = [
  { name: 'sh-fallback', scheduler: 'sh', flag: 1 },
  { name: 'sh-port', scheduler: 'sh', flag: 2 },
  { name: 'mh-fallback', scheduler: 'mh', flag: 1 },
  { name: 'mh-port', scheduler: 'mh', flag: 2 },
];

function flagOf(name: string, scheduler: string): Flag {
  const named = NAMED.find((entry) => entry.name === name);
  if (named === undefined) {
    const number = ['flag-1', 'flag-2', 'flag-3'].indexOf(name) + 1;
    return number === 0 ? fail(2, `invalid scheduler flag \`${name}'`) : (number as Flag);
  }
  return named.scheduler === scheduler ? named.flag : fail(2, `incompatible scheduler flag \`${name}'`);
}

/** Reads the value of -b, names between commas. */
export function schedulerFlags(scheduler: string, text: string): ReadonlySet<Flag> {
  const names = text.split(',').filter((name) => name !== '');
  if (names.length === 0) fail(2, `invalid scheduler flag \`${text}'`);
  return new Set(names.map((name) => flagOf(name, scheduler)));
}

/** Writes flags as listings do; empty when there is nothing to write, also where sh or mh have no name for a flag. */
export function formatSchedulerFlags(scheduler: string, flags: ReadonlySet<Flag>): string {
  const named = NAMED.filter((entry) => entry.scheduler === scheduler);
  const names = named.length > 0 ? named : ([1, 2, 3] as const).map((flag) => ({ name: `flag-${flag}`, flag }));
  return names
    .filter(({ flag }) => flags.has(flag))
    .map(({ name }) => name)
    .join(',');
}
