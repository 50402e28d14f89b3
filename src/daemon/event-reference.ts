// What the events of `millrace run` mean, for docs/reference/cli.md; the compiler sees to it that none is missing.
// Thread: any; no state.
import type { DaemonEvent } from './output.js';

/** Per event: its keys beside `event` and `time`, and what happened. */
export const EVENT_REFERENCE: Readonly<Record<DaemonEvent['event'], { readonly keys: string; readonly meaning: string }>> = {
  ready: { keys: '`workers` `cpus` `interfaces` `services`', meaning: 'The configuration is applied and traffic flows.' },
  stats: {
    keys: '`workers` `totals` `services` `servers` `interfaces`',
    meaning: 'Counters, with `--stats-interval`; once more at the end.',
  },
  applied: { keys: '`generation` `changes`', meaning: 'A changed configuration is in force.' },
  reloaded: {
    keys: '`changes`',
    meaning: 'The configuration was read again, as SIGHUP asked; `applied` came before if anything changed.',
  },
  'reload-failed': {
    keys: '`code` `message` `remedy`',
    meaning: 'A reload was refused; the old configuration stays in force.',
  },
  warning: { keys: '`message` `remedy`', meaning: 'Something that hinders, and does not stop, the balancer.' },
  health: {
    keys: '`kind` `service` `server` `reason`',
    meaning:
      'Health checks changed something: `kind` is `server-up`, `server-down`, `server-held` (kept out for flapping), `quorum-up` or ' +
      '`quorum-down`; `server` is empty where it is about the service.',
  },
  draining: {
    keys: '`signal` `sessions` `seconds`',
    meaning: 'A stop was asked for; it waits for sessions to end, for that many seconds at most.',
  },
  stopping: { keys: '`signal`, after a drain `sessions`', meaning: 'It stops now; that many sessions are left.' },
  stopped: { keys: '', meaning: 'The interfaces are back with the kernel.' },
};
