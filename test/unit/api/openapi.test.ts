// Requests made from the OpenAPI document, right ones and wrong ones: no answer is 5xx, each is what the document says of it.
import { Ajv } from 'ajv';
import fc, { type Arbitrary } from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApi, type TestApi } from './support/api.js';
import type { Answer } from './support/client.js';
import { fromSchema, type Schema } from './support/from-schema.js';

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly schema: Schema;
}

interface Operation {
  readonly operationId?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>>;
}

let api: TestApi;
let operations: readonly { readonly method: string; readonly path: string; readonly operation: Operation }[];

beforeAll(async () => {
  api = await startApi({
    parts: {
      ipvsadm: async () => ({ stdout: '', stderr: '', exitCode: 0 }),
      explain: ({ sentence }) => ({ packet: sentence.protocol }) as never,
    },
  });
  const { json } = await api.ask('GET', '/api/v1/openapi.json');
  const paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> = json.paths;
  operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
});
afterAll(() => api[Symbol.asyncDispose]());

/** Names of a service and a server: two that are there, one server and one service that are not. */
const NAMES = [
  { service: 'web', server: '192.0.2.11:8080' },
  { service: 'dns', server: '[2001:db8:2::11]:53' },
  { service: 'web', server: '192.0.2.31:81' },
  { service: 'new-one', server: '192.0.2.32' },
] as const;
type Names = (typeof NAMES)[number];

function textFor({ schema }: Parameter, faults: boolean): Arbitrary<string> {
  const right = fromSchema(schema, false).map(String);
  return faults ? fc.oneof({ weight: 5, arbitrary: right }, { weight: 1, arbitrary: fc.string() }) : right;
}

interface Request {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
  readonly operation: Operation;
}

function withNames(body: unknown, names: Names | undefined): unknown {
  if (names === undefined || typeof body !== 'object' || body === null) return body;
  return {
    ...body,
    ...('service' in body ? { service: names.service } : {}),
    ...('server' in body ? { server: names.server } : {}),
  };
}

function requestsOf({ method, path, operation }: (typeof operations)[number], faults: boolean): Arbitrary<Request> {
  const parameters = operation.parameters ?? [];
  const schema = operation.requestBody?.content['application/json'].schema;
  const body = schema === undefined ? fc.constant(undefined) : fromSchema(schema, faults);
  const values = fc.tuple(...parameters.map((parameter) => textFor(parameter, faults)));
  const given = fc.tuple(...parameters.map(() => fc.boolean()));
  const named = fc.option(fc.constantFrom(...NAMES), { nil: undefined, freq: 6 });
  return fc.tuple(values, given, body, named).map(([found, present, content, names]) => {
    let url = path;
    const query = new URLSearchParams();
    parameters.forEach((parameter, i) => {
      const value = found[i] ?? '';
      const known = parameter.name === 'service' || parameter.name === 'server' ? names?.[parameter.name] : undefined;
      if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(known ?? value));
      else if (present[i]) query.append(parameter.name, value);
    });
    const tail = query.size === 0 ? '' : `?${query}`;
    return { method, url: url + tail, body: withNames(content, names), operation };
  });
}

/** Each operation this often. */
const RUNS = 60;

async function ofEach(faults: boolean): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (const each of operations) {
    if (each.operation.operationId === 'events') continue;
    await fc.assert(
      fc.asyncProperty(requestsOf(each, faults), async (request) => {
        api.desired.config = api.desired.file;
        await check(request, seen);
      }),
      { numRuns: RUNS },
    );
  }
  expect(api.failures).toEqual([]);
  return seen;
}

const ajv = new Ajv({ strict: false, validateFormats: false });

/** The documented schema of an answer. */
function schemaOf({ responses }: Operation, { status, headers }: Answer): Schema | undefined {
  const response = responses[String(status)] ?? responses[`${Math.trunc(status / 100)}XX`];
  const type = (headers['content-type'] ?? '').split(';')[0] ?? '';
  return response?.content?.[type]?.schema;
}

async function check(request: Request, seen: Map<string, number>): Promise<void> {
  const answer = await api.ask(request.method, request.url, request.body === undefined ? {} : { body: request.body });
  expect(answer.status, answer.text).toBeLessThan(500);
  const schema = schemaOf(request.operation, answer);
  // Paths whose parameters are empty or odd lead to no operation at all.
  if (answer.status !== 404 || schema !== undefined) {
    expect(schema, `${request.method} ${request.url} ${answer.status} is not documented`).toBeDefined();
    const value = answer.json ?? answer.text;
    expect(ajv.validate(schema ?? {}, value), `${answer.text.slice(0, 500)} ${ajv.errorsText()}`).toBe(true);
  }
  const kind = `${request.operation.operationId ?? request.url} ${answer.status}`;
  seen.set(kind, (seen.get(kind) ?? 0) + 1);
}

test('right requests', { timeout: 240_000 }, async () => {
  const seen = await ofEach(false);
  for (const name of ['status', 'services', 'service', 'server', 'putServer', 'setWeight', 'drain', 'config', 'ipvsadm']) {
    expect([name, seen.get(`${name} 200`) ?? 0]).not.toEqual([name, 0]);
  }
});

test('wrong requests', { timeout: 240_000 }, async () => {
  const seen = await ofEach(true);
  for (const name of ['putService 422', 'putServer 422', 'setSection 422', 'drain 400', 'service 404']) {
    expect([name, seen.get(name) ?? 0]).not.toEqual([name, 0]);
  }
});

test('any text as a body', { timeout: 240_000 }, async () => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.json().map((text) => text.slice(0, -1)),
  );
  const targets = fc.constantFrom('/api/v1/services/web', '/api/v1/services/web/servers/192.0.2.31:80', '/api/v1/config/snat');
  await fc.assert(
    fc.asyncProperty(targets, texts, async (path, raw) => {
      const answer = await api.ask('PUT', path, { raw, headers: { 'content-type': 'application/json' } });
      expect(answer.status, answer.text).toBeLessThan(500);
      if (answer.status !== 200) expect(answer.json).toHaveProperty('error.remedy');
    }),
    { numRuns: 300 },
  );
  expect(api.failures).toEqual([]);
});
