// The overlay as JSON, for the store: written with sorted keys, read with every part checked.
// Guarantees: what is written and read again is the same overlay; whatever is read, the result is an overlay of the right form or an error
// that names the file.
// Thread: any; no state but caches.
import { Ajv } from 'ajv';
import { type Static, Type } from 'typebox';
import { formatPath } from '../config/finding.js';
import type { ServerConfig, ServiceConfig } from '../config/schema.js';
import { checkShape } from '../config/validate.js';
import { createError } from '../errors.js';
import { canonicalJson, textOf } from './canonical.js';
import type { Section } from './desired.js';
import { type Overlay, SECTIONS, type ServerEntry, type ServiceEntry } from './overlay.js';
import { stateRemedy } from './store.js';

const closed = { additionalProperties: false } as const;
const Yes = Type.Optional(Type.Literal(true));

const StoredServer = Type.Object(
  {
    server: Type.String(),
    put: Type.Optional(Type.Unknown()),
    deleted: Yes,
    weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 65_535 })),
    drained: Yes,
  },
  closed,
);
const StoredService = Type.Object(
  {
    name: Type.String(),
    put: Type.Optional(Type.Unknown()),
    deleted: Yes,
    drained: Yes,
    servers: Type.Optional(Type.Array(StoredServer)),
  },
  closed,
);
const Stored = Type.Object(
  {
    services: Type.Array(StoredService),
    sections: Type.Object(Object.fromEntries(SECTIONS.map((name) => [name, Type.Optional(Type.Unknown())])), closed),
  },
  closed,
);
type StoredOverlay = Static<typeof Stored>;

const isStored = new Ajv({ strict: false }).compile<StoredOverlay>(Stored);

/** Canonical JSON; the text of an entry that has not changed is not made again. */
export function encodeOverlay(overlay: Overlay): string {
  const sections = Object.fromEntries([...overlay.sections].sort(([a], [b]) => (a < b ? -1 : 1)));
  const services = [...overlay.services].map(([name, entry]) => textOf(entry, () => storedService(name, entry)));
  return `{"sections":${canonicalJson(sections)},"services":[${services.join(',')}]}`;
}

function storedService(name: string, { servers, ...entry }: ServiceEntry): unknown {
  const list = [...servers].map(([server, said]) => ({ server, ...said }));
  return { name, ...entry, ...(list.length === 0 ? {} : { servers: list }) };
}

/** Throws MILLRACE_E_STATE_INVALID. `file` is only used in messages. */
export function decodeOverlay(value: unknown, file: string): Overlay {
  if (!isStored(value)) {
    const [error] = isStored.errors ?? [];
    throw refused(file, `at "${error?.instancePath ?? ''}" it ${error?.message ?? 'is of another form'}`);
  }
  const puts = putsOf(value, file);
  const services = value.services.map((stored): [string, ServiceEntry] => {
    const { name, servers: list = [], put: _, ...entry } = stored;
    const service = puts.get(stored) as ServiceConfig | undefined;
    const servers = list.map((storedServer): [string, ServerEntry] => {
      const { server: key, put: _put, ...said } = storedServer;
      const server = puts.get(storedServer) as ServerConfig | undefined;
      return [key, { ...said, ...(server === undefined ? {} : { put: server }) } as ServerEntry];
    });
    return [name, { ...entry, ...(service === undefined ? {} : { put: service }), servers: new Map(servers) } as ServiceEntry];
  });
  const sections = SECTIONS.filter((section) => Object.hasOwn(value.sections, section)).map((section): [Section, unknown] => [
    section,
    shape(file, { [section]: Reflect.get(value.sections, section) }, (config) => Reflect.get(config, section)),
  ]);
  return { services: new Map(services), sections: new Map(sections) };
}

/** Services and servers that were put, in the form that this version gives them, by the entry that they stand in. */
function putsOf(stored: StoredOverlay, file: string): ReadonlyMap<object, unknown> {
  const withService = stored.services.filter((service) => service.put !== undefined);
  const withServer = stored.services.flatMap((service) => service.servers ?? []).filter((server) => server.put !== undefined);
  const part = {
    services: [...withService.map((service) => service.put), { name: 'any', servers: withServer.map((server) => server.put) }],
  };
  const services = shape(file, part, (config) => config.services);
  const servers = services.at(-1)?.servers ?? [];
  return new Map<object, unknown>([
    ...withService.map((service, i): [object, unknown] => [service, services[i]]),
    ...withServer.map((server, i): [object, unknown] => [server, servers[i]]),
  ]);
}

interface Shaped {
  readonly services: readonly ServiceConfig[];
}

function shape<T>(file: string, part: Readonly<Record<string, unknown>>, take: (config: Shaped) => T): T {
  const { plain, findings } = checkShape({ interfaces: [{ name: 'any' }], services: [], ...part });
  const [first] = findings;
  if (first === undefined) return take(plain?.value as Shaped);
  throw refused(file, `it holds what this version of Millrace does not take: ${formatPath(first.path)}: ${first.reason}`);
}

function refused(file: string, reason: string): Error {
  return createError('MILLRACE_E_STATE_INVALID', `${file} cannot be used: ${reason}`, { remedy: stateRemedy(file) });
}
