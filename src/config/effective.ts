// The configuration as it takes effect: also the values that depend on others are filled in. Keys stand in the order of the
// reference, and the result can be read and checked again. What depends on the host (workers: auto, cpus) stays as it is.
// Thread: any; pure.
import { type SchemaNode, schemaAt } from './explain.js';
import type { ConfigPath } from './finding.js';
import { validationSchema } from './json-schema.js';
import type { Config } from './schema.js';
import { resolveTimeouts } from './timeout-profiles.js';

export function effectiveConfig(config: Config): Config {
  const { timeouts } = config.sessions;
  const profile = typeof timeouts === 'string' ? timeouts : timeouts.profile;
  const complete: Config = {
    ...config,
    sessions: { ...config.sessions, timeouts: { profile, ...resolveTimeouts(timeouts) } },
    services: config.services.map((service) => ({
      ...service,
      servers: service.servers.map((server) => {
        // A server of a service with many ports receives the port that the client asked for; no number can be written for that.
        const port = server.port ?? (typeof service.port === 'number' ? service.port : undefined);
        return { ...server, ...(port === undefined ? {} : { port }), mode: server.mode ?? service.mode };
      }),
    })),
  };
  return inSchemaOrder(complete, validationSchema(), []);
}

function inSchemaOrder<T>(value: T, schema: SchemaNode, path: ConfigPath): T {
  if (Array.isArray(value)) return value.map((item, i) => inSchemaOrder<unknown>(item, schema, [...path, i])) as T;
  if (typeof value !== 'object' || value === null) return value;
  const node = schemaAt(schema, path);
  const form = node?.anyOf?.find((candidate) => candidate.type === 'object') ?? node;
  const order = Object.keys(form?.properties ?? {});
  const entries = Object.entries(value).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  return Object.fromEntries(entries.map(([key, child]) => [key, inSchemaOrder<unknown>(child, schema, [...path, key])])) as T;
}
