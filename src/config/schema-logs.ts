// The part of the configuration's schema that says where the records of workers go (docs/logs.md).
// Thread: any; no state.
import { type Static, Type } from 'typebox';
import { section } from './schema-parts.js';

/** What `maxSize` and `maxFiles` are where they are not written. */
export const LOG_FILE_DEFAULTS = { maxSize: 67_108_864, maxFiles: 5 } as const;

export const Logs = section(
  {
    destination: Type.Enum(['stdout', 'stderr', 'file'], {
      default: 'stderr',
      description: 'Where lines go: standard output, standard error, or the file named by `file`.',
    }),
    level: Type.Enum(['info', 'warn', 'error'], {
      default: 'info',
      description: 'Least level of the events that are written; docs/logs.md has the level of each.',
    }),
    file: Type.Optional(
      Type.String({
        pattern: '^/.',
        maxLength: 4000,
        description: 'Absolute path of the file; its directory must be there. Only with `destination: file`.',
        'x-expected': 'an absolute path, such as /var/log/millrace/workers.log',
      }),
    ),
    maxSize: Type.Optional(
      Type.Integer({
        minimum: 65_536,
        maximum: 1_099_511_627_776,
        description: 'Bytes after which a new file is begun. Only with `destination: file`.',
        'x-default': String(LOG_FILE_DEFAULTS.maxSize),
      }),
    ),
    maxFiles: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description: 'Former files that are kept, as `file.1` (the newest) and so on. Only with `destination: file`.',
        'x-default': String(LOG_FILE_DEFAULTS.maxFiles),
      }),
    ),
    ratePerSecond: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 10,
      description:
        'Most records of one event that each worker writes in a second; the others are counted, and the count is logged.',
    }),
  },
  'Records of workers: sessions that were refused and packets that could not be sent. See docs/logs.md.',
  { default: {} },
);

export type LogsConfig = Static<typeof Logs>;
