// What Millrace refuses of a command line that IPVS or DPVS would take, with the reason, before it reaches the table. What only the whole
// configuration shows to be wrong is refused later, by its check.
// Guarantees: pure; one line for each reason, without a line break.
// Thread: any.

import { SCHEDULERS } from '../config/scheduler-names.js';
import type { Config } from '../config/schema.js';
import { editedSettings } from '../ipvs/dpvs-options.js';
import type { ServiceSettings } from '../ipvs/model.js';
import type { Dialect } from '../ipvs/option-table.js';
import type { Request } from '../ipvs/options.js';
import type { IpvsTable } from '../ipvs/table.js';
import { maskLength } from './to-config.js';
import type { KnownMarks } from './to-operations.js';
import { familyOfMatches, flagOptions } from './to-table.js';

export interface RefusalFacts {
  readonly config: Config;
  readonly marks: KnownMarks;
  readonly dialect: Dialect;
}

function markRefusal({ key, command }: Request, table: IpvsTable, { marks }: RefusalFacts): string | undefined {
  if (command !== 'add-service' || key.fwmark === 0 || table.service(key) !== undefined) return undefined;
  const known = marks.get(key.fwmark);
  if (known === undefined) {
    const remedy = `write a service with mark: ${key.fwmark} and a list of matches into the configuration`;
    return `mark ${key.fwmark} is not defined, and packets carry no marks here: ${remedy}`;
  }
  const family = familyOfMatches(known.match);
  const option = family === 6 ? 'add -6' : 'leave -6 out';
  return family === key.family ? undefined : `mark ${key.fwmark} is a list of matches of IPv${family}: ${option}`;
}

function settingsRefusal(family: 4 | 6, settings: ServiceSettings): string | undefined {
  const { scheduler, schedulerFlags, persistent, netmask } = settings;
  if (SCHEDULERS.some(({ name }) => name === scheduler)) {
    const known = flagOptions(scheduler).map(({ flag }) => flag);
    const other = [...schedulerFlags].find((flag) => flag === 3 || !known.includes(flag));
    if (other !== undefined)
      return `scheduler ${scheduler} has no flag-${other}: sh and mh have fallback (flag-1) and port (flag-2)`;
  }
  if (!persistent) return undefined;
  const length = maskLength(family, netmask);
  if (length === undefined) return 'the mask of persistence must be a prefix, such as 255.255.255.0';
  return length === 0 ? 'a mask of no bits makes one client of all: use the scheduler fo, or a longer mask' : undefined;
}

function serverRefusal({ given }: Request): string | undefined {
  const option = ['tun-csum', 'tun-remcsum'].find((name) => given.has(name));
  return option === undefined ? undefined : `--${option}: tunnels carry no checksum of their own; the inner packet has one`;
}

function interfaceRefusal({ dpvs }: Request, { config }: RefusalFacts): string | undefined {
  const names = config.interfaces.map(({ name }) => name);
  if (dpvs.interfaceName === undefined || names.includes(dpvs.interfaceName)) return undefined;
  return `interface "${dpvs.interfaceName}" is not among the interfaces (${names.join(', ')}): leave -F out, routes decide`;
}

/** Why the request is refused; undefined when the table may have it. */
export function refusalOf(request: Request, table: IpvsTable, facts: RefusalFacts): string | undefined {
  const { command, key, settings, given } = request;
  switch (command) {
    case 'start-daemon':
      return 'there is no synchronisation of connections: with scheduler mh or sh every node sends a client to the same server';
    case 'list':
      return facts.dialect === 'dpvs' && given.has('connection') && given.has('persistent-conn')
        ? '--persistent-conn: templates of persistence are not listed; leave it out for the connections'
        : undefined;
    case 'add-service':
    case 'edit-service': {
      const edits = command === 'edit-service' && facts.dialect === 'dpvs';
      const wanted = edits ? editedSettings(table.service(key), settings, given) : settings;
      return markRefusal(request, table, facts) ?? settingsRefusal(key.family, wanted);
    }
    case 'add-server':
    case 'edit-server':
      return serverRefusal(request);
    case 'add-laddr':
    case 'del-laddr':
      return interfaceRefusal(request, facts);
    default:
      return undefined;
  }
}
