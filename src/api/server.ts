// The REST API as a Fastify instance: every endpoint of contract.ts, OpenAPI, and the probes. It listens nowhere itself: listen.ts
// lets requests in.
// Guarantees: every answer that is an error has the shape of ErrorBody; what a client sends wrong is answered with 4xx; a change is
// checked as a whole before anything of it happens.
// Thread: main.
import swagger from '@fastify/swagger';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { effectiveConfig } from '../config/effective.js';
import type { SessionFilter, SessionPaging } from '../control/sessions.js';
import { createError } from '../errors.js';
import type { Explanation } from '../explain/explain.js';
import { TCP_FLAGS } from '../explain/frame.js';
import { describeFault, parseSentence, SENTENCE_EXAMPLES } from '../explain/sentence.js';
import type { ChangeOptions } from '../state/desired.js';
import { isTooDeep, plainSchema, queryValidator, schemaOf, validatorOf } from './bodies.js';
import { Changes, keyNamed, serverMissing, serviceNamed } from './changes.js';
import { ENDPOINTS, type Endpoint, type EndpointName, ErrorBody, type Reply } from './contract.js';
import { answerTo, notFound } from './errors.js';
import { etag, expectedVersion } from './etag.js';
import { streamEvents } from './event-stream.js';
import { EventHub } from './events.js';
import type { ApiCounters, ApiParts, ProbeParts } from './parts.js';
import { addProbes } from './probes.js';
import { Views } from './views.js';

const BASE = '/api/v1';
const BODY_LIMIT = 1_048_576;
/** Command lines with the standard input of `ipvsadm -R`. */
const LARGE_BODY_LIMIT = 16_777_216;
/** Readers of events at a time. */
const MAX_READERS = 32;

/** What a handler is given. */
interface Call {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  readonly options: ChangeOptions;
}

type Handlers = { readonly [N in Exclude<EndpointName, 'events'>]: (call: Call) => Reply<N> | Promise<Reply<N>> };

declare module 'fastify' {
  interface FastifyInstance {
    /** Of the API; not there on the instance that has the probes alone. */
    apiCounters(): ApiCounters;
  }
}

/** The whole API. Closing the instance ends its streams and lets go of the balancer. */
export function createApi(parts: ApiParts): FastifyInstance {
  const app = newApp(parts.failed);
  const hub = new EventHub({ source: parts.balancer.events, now: parts.now, epoch: Math.trunc(parts.started).toString(36) });
  const views = new Views(parts);
  const answers: Record<string, number> = {};
  let requests = 0;
  app.decorate(
    'apiCounters',
    (): ApiCounters => ({
      requests,
      answers: { ...answers },
      readers: hub.readers,
      readersDropped: hub.dropped,
    }),
  );
  app.addHook('onRequest', async () => {
    requests += 1;
  });
  app.addHook('onResponse', async (_request, reply) => {
    const kind = `${Math.trunc(reply.statusCode / 100)}xx`;
    answers[kind] = (answers[kind] ?? 0) + 1;
  });
  app.addHook('preClose', async () => {
    hub.close();
    views.close();
  });
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Millrace', description: 'Errors have the shape of the replies 4XX and 5XX everywhere.', version: '1' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'Over TCP only.' } } },
    },
  });
  // In a plugin of its own, so that it comes after the one above.
  app.register(async (scope) => {
    addProbes(scope, parts);
    const handlers = handlersOf(parts, views);
    for (const name of Object.keys(handlers) as (keyof Handlers)[]) addEndpoint(scope, name, parts, handlers[name]);
    addEvents(scope, parts, hub);
    scope.get(`${BASE}/openapi.json`, { schema: { hide: true } }, async () => scope.swagger());
  });
  return app;
}

/** /healthz, /readyz and /metrics, and nothing else. */
export function createProbes(parts: ProbeParts & Pick<ApiParts, 'failed'>): FastifyInstance {
  const app = newApp(parts.failed);
  addProbes(app, parts);
  return app;
}

function newApp(failed: (error: unknown) => void): FastifyInstance {
  const refuse = async (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { status, body, unexpected } = answerTo(error);
    if (unexpected) failed(error);
    if (status === 413) {
      // What is too large is still read, until its time is up: a client that writes first and reads then would not see the answer.
      reply.removeHeader('connection');
      request.raw.resume();
    }
    return reply.code(status).type('application/json; charset=utf-8').send(body);
  };
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 256 },
    frameworkErrors: (error, request, reply) => void refuse(error, request, reply),
  });
  app.setErrorHandler(refuse);
  app.setNotFoundHandler(async (request) => {
    throw notFound(`there is no ${request.method} ${request.url.slice(0, 200)}`, 'See /api/v1/openapi.json for the paths.');
  });
  app.setValidatorCompiler(queryValidator());
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    reply.header('x-content-type-options', 'nosniff');
  });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    // A client that always names the type sends it also where there is no body.
    if (text.length === 0) return done(null, undefined);
    return parse(request, String(text), (error, value) => {
      if (error === null && isTooDeep(value)) done(createError('MILLRACE_E_REQUEST_INVALID', 'the body is nested too deeply'));
      else done(error, value);
    });
  });
  return app;
}

function addEndpoint(app: FastifyInstance, name: keyof Handlers, parts: ApiParts, handler: Handlers[keyof Handlers]): void {
  const endpoint: Endpoint = ENDPOINTS[name];
  const { desired } = parts;
  app.route({
    method: endpoint.method,
    url: urlOf(endpoint),
    bodyLimit: name === 'ipvsadm' ? LARGE_BODY_LIMIT : BODY_LIMIT,
    schema: {
      ...schemaOf(name),
      operationId: name,
      summary: endpoint.summary,
      response: { 200: plainSchema(endpoint.reply), '4xx': plainSchema(ErrorBody), '5xx': plainSchema(ErrorBody) },
    },
    validatorCompiler: validatorOf(name),
    preValidation: async (request) => {
      // Without a word it is about all of it.
      if (name === 'resetConfig') request.body ??= {};
    },
    handler: async (request, reply) => {
      const expected = endpoint.changes ? expectedVersion(request.headers['if-match'], desired.version) : undefined;
      const { dryRun } = request.query as { readonly dryRun?: boolean };
      const options = { ...(dryRun === undefined ? {} : { dryRun }), ...(expected === undefined ? {} : { expected }) };
      const params = request.params as Readonly<Record<string, string>>;
      const result = await handler({ params, query: request.query, body: request.body, options });
      return reply.header('etag', etag(desired.version)).type('application/json; charset=utf-8').send(result);
    },
  });
}

function urlOf({ path }: Endpoint): string {
  return BASE + path.replaceAll(/\{([a-z]+)\}/g, ':$1');
}

function addEvents(app: FastifyInstance, parts: ApiParts, hub: EventHub): void {
  const endpoint: Endpoint = ENDPOINTS.events;
  app.route({
    method: endpoint.method,
    url: urlOf(endpoint),
    schema: {
      ...schemaOf('events'),
      operationId: 'events',
      summary: endpoint.summary,
      produces: ['text/event-stream'],
      response: { 200: plainSchema(endpoint.reply), '4xx': plainSchema(ErrorBody) },
    },
    validatorCompiler: validatorOf('events'),
    handler: async (request, reply) => {
      if (hub.readers >= MAX_READERS) {
        throw createError('MILLRACE_E_API_BUSY', `${MAX_READERS} readers of events are connected already`);
      }
      const header = request.headers['last-event-id'];
      reply.hijack();
      streamEvents(hub, reply.raw, {
        lastEventId: typeof header === 'string' ? header : undefined,
        heartbeat: parts.heartbeat ?? 15_000,
      });
    },
  });
}

function handlersOf(parts: ApiParts, views: Views): Handlers {
  const { desired } = parts;
  const changes = new Changes(desired);
  const service = ({ params }: Call) => serviceNamed(desired, params['service'] ?? '');
  const names = ({ params }: Call): [string, string] => [params['service'] ?? '', params['server'] ?? ''];
  return {
    status: () => views.status(),
    services: () => views.services(),
    service: (call) => views.service(service(call)),
    putService: (call) => changes.putService(names(call)[0], call.body as object, call.options),
    deleteService: (call) => changes.deleteService(names(call)[0], call.options),
    server: (call) => {
      const [, text] = names(call);
      const view = views.server(service(call), keyNamed(text));
      if (view === undefined) throw serverMissing(service(call), text);
      return view;
    },
    putServer: (call) => changes.putServer(...names(call), call.body as object, call.options),
    deleteServer: (call) => changes.deleteServer(...names(call), call.options),
    setWeight: (call) => changes.setWeight(...names(call), (call.body as { readonly weight: number }).weight, call.options),
    drain: (call) => drain('drain', call),
    undrain: (call) => drain('undrain', call),
    config: () => ({
      version: desired.version,
      config: effectiveConfig(desired.config),
      origins: Object.fromEntries(desired.origins),
    }),
    setSection: (call) => changes.setSection(call.params['section'] ?? '', call.body, call.options),
    resetConfig: (call) => changes.reset((call.body as { readonly service?: string }).service, call.options),
    reload: (call) => changes.reload(call.options),
    workers: () => views.workers(),
    interfaces: () => views.interfaces(),
    health: () => views.health(),
    sessions: async ({ query }) => {
      const { limit, cursor, ...filter } = query as SessionFilter & SessionPaging;
      const page = { ...(limit === undefined ? {} : { limit }), ...(cursor === undefined ? {} : { cursor }) };
      const { sessions, ...next } = await parts.balancer.sessions(filter, page);
      return { sessions: [...sessions], ...next };
    },
    countSessions: async ({ query }) => ({ sessions: await parts.balancer.countSessions(query as SessionFilter) }),
    endSessions: async ({ body }) => {
      const { all, ...filter } = body as SessionFilter & { readonly all?: boolean };
      if (all !== true && Object.keys(filter).length === 0) {
        throw createError('MILLRACE_E_REQUEST_INVALID', 'this would end every session', {
          remedy: 'Say which: service, server, client, clientPort or protocol; or send "all": true.',
        });
      }
      return { sessions: await parts.balancer.endSessions(filter) };
    },
    ipvsadm: ({ body }) => {
      if (parts.ipvsadm === undefined) {
        throw notFound('this process does not run command lines of ipvsadm', 'Use the endpoints of services and servers.');
      }
      const { arguments: words, stdin } = body as { readonly arguments: string[]; readonly stdin?: string };
      return parts.ipvsadm(words, stdin ?? '');
    },
    explain: ({ body }) => explainPacket(parts.explain, body as ExplainFields),
  };

  function drain(op: 'drain' | 'undrain', { body, options }: Call): ReturnType<Changes['drain']> {
    const target = body as { readonly service: string; readonly server?: string };
    return changes.drain(op, target.service, target.server, options);
  }
}

interface ExplainFields {
  readonly packet: string;
  readonly flags?: readonly (keyof typeof TCP_FLAGS)[];
  readonly interface?: string;
}

function explainPacket(explain: ApiParts['explain'], fields: ExplainFields): Explanation {
  if (explain === undefined) throw notFound('this process does not explain packets', 'Use `millrace explain -c FILE`.');
  const parsed = parseSentence(fields.packet);
  if ('fault' in parsed) {
    throw createError('MILLRACE_E_INPUT_INVALID', describeFault(fields.packet, parsed.fault), {
      remedy: `Write PROTOCOL SOURCE -> DESTINATION, for example ${SENTENCE_EXAMPLES.map((example) => `"${example}"`).join(' or ')}.`,
    });
  }
  const { sentence } = parsed;
  if (fields.flags !== undefined && sentence.protocol !== 'tcp') {
    throw createError('MILLRACE_E_INPUT_INVALID', `flags are of tcp; ${sentence.protocol} has none`, {
      remedy: 'Leave flags out.',
    });
  }
  const tcpFlags = fields.flags?.reduce((flags, name) => flags | TCP_FLAGS[name], 0);
  return explain({
    sentence,
    ...(tcpFlags === undefined ? {} : { tcpFlags }),
    ...(fields.interface === undefined ? {} : { interface: fields.interface }),
  });
}
