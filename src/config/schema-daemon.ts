// The part of the configuration's schema that is about the process itself: how `millrace run` lives and ends.
// Guarantees: nothing here reaches the dataplane; all of it can change with a reload.
// Thread: any; no state.
import { Type } from 'typebox';
import { section } from './schema-parts.js';

export const Daemon = section(
  {
    drainTimeout: Type.Number({
      minimum: 0,
      maximum: 86_400,
      default: 0,
      description:
        'Longest time that SIGTERM waits for sessions to end before Millrace stops, during which it says that it is not ready. ' +
        'Seconds; 0 stops at once. See docs/operations/daemon.md.',
      'x-expected': 'a number of seconds from 0 to 86400',
    }),
  },
  'The process `millrace run`. The module API does not use this section.',
  { default: {} },
);
