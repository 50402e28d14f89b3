// Scripts of keepalived as commands: split into words, run by no shell, as another user where the file says so.
// Guarantees: the first word of a command is an absolute path.
// Facts: keepalived.conf(5), "script_user" and "notify scripts"; runuser(1) and env(1) of Debian.
// Thread: any; pure.
import type { Scope } from './block.js';
import { splitEscaped } from './lexer.js';
import type { Globals, Script } from './model.js';
import type { Place } from './report.js';

/** Most words of a command in the configuration. */
const MOST_WORDS = 64;

export interface Owner {
  readonly user?: string;
  readonly group?: string;
}

/** undefined, and reported, where the text is no command. */
export function commandOf(script: Script, owner: Owner | undefined, globals: Globals, scope: Scope): string[] | undefined {
  const words = splitEscaped(script.command);
  const [program] = words ?? [];
  if (words === undefined || program === undefined || program === '') {
    return refuse(script.at, 'the script names no program, or its quotes do not pair', scope);
  }
  // Without a path keepalived looks where a shell would.
  const found = program.startsWith('/') ? words : ['/usr/bin/env', ...words];
  const command = [...asUser(owner?.user === undefined ? globals.scriptUser : owner), ...found];
  if (command.length > MOST_WORDS) return refuse(script.at, `the script has more than ${MOST_WORDS} words`, scope);
  return command;
}

function refuse(at: Place, reason: string, scope: Scope): undefined {
  scope.report('unsupported', at, `${reason}; it is left out`, 'write a script that does it all, and name it alone');
  return undefined;
}

/** runuser sets the user's group and further groups as a login does; it needs root. */
function asUser(owner: Owner | undefined): string[] {
  if (owner?.user === undefined || (owner.user === 'root' && owner.group === undefined)) return [];
  return ['/usr/sbin/runuser', '-u', owner.user, ...(owner.group === undefined ? [] : ['-g', owner.group]), '--'];
}
