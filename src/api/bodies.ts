// What goes into the API, as schemas: bodies of services, servers and sections have the schema of the configuration file, and are
// explained as the file is.
// Guarantees: pure; the same schema is documented in OpenAPI and checked against.
// Thread: any.
import { Ajv } from 'ajv';
import type { FastifySchema, FastifySchemaCompiler } from 'fastify';
import { explain, type SchemaNode } from '../config/explain.js';
import type { Finding } from '../config/finding.js';
import { validationSchema } from '../config/json-schema.js';
import { findingsError, partChecker } from '../config/validate.js';
import type { Section } from '../state/desired.js';
import { ENDPOINTS, type EndpointName } from './contract.js';
import { notFound, requestInvalid } from './errors.js';

export const SECTIONS: readonly Section[] = [
  'localAddresses',
  'tunnelSources',
  'echoReplies',
  'routes',
  'neighbours',
  'snat',
  'sessions',
];

type Properties = Readonly<Record<string, SchemaNode>>;

function propertiesOf(schema: SchemaNode | undefined): Properties {
  return schema?.properties ?? {};
}

/** A schema in which a key may be left out because the path has it. */
function withoutRequired(schema: SchemaNode | undefined, key: string): SchemaNode {
  return { ...schema, required: (schema?.required ?? []).filter((name) => name !== key) };
}

const top: Properties = propertiesOf(validationSchema() as SchemaNode);
const service: SchemaNode | undefined = top['services']?.items;
const server: SchemaNode | undefined = propertiesOf(service)['servers']?.items;

/** Parts of the configuration as bodies, by endpoint. */
const CONFIG_BODIES: Partial<Readonly<Record<EndpointName, SchemaNode>>> = {
  putService: withoutRequired(service, 'name'),
  putServer: withoutRequired(server, 'address'),
  setSection: {
    anyOf: SECTIONS.map((name) => top[name] ?? {}),
    description: 'The section, with the schema that it has in the configuration file.',
  },
};

const PARAMETERS = {
  service: { type: 'string', maxLength: 63, description: 'Name of the service.' },
  server: {
    type: 'string',
    maxLength: 64,
    description: '"ADDRESS:PORT", or "[ADDRESS]:PORT" for IPv6; port 0: none of its own.',
  },
  section: { type: 'string', enum: SECTIONS },
} as const;

/** Plain JSON schema of one of ours. */
export function plainSchema(schema: unknown): Record<string, unknown> {
  return JSON.parse(JSON.stringify(schema));
}

/** What Fastify checks and OpenAPI documents of an endpoint, without replies. */
export function schemaOf(name: EndpointName): FastifySchema {
  const endpoint: { readonly path: string; readonly query?: unknown; readonly body?: unknown } = ENDPOINTS[name];
  const names = [...endpoint.path.matchAll(/\{([a-z]+)\}/g)].map(([, parameter]) => parameter ?? '');
  const known: Readonly<Record<string, object>> = PARAMETERS;
  const body = CONFIG_BODIES[name] ?? (endpoint.body === undefined ? undefined : plainSchema(endpoint.body));
  return {
    ...(names.length === 0
      ? {}
      : {
          params: {
            type: 'object',
            properties: Object.fromEntries(names.map((parameter) => [parameter, known[parameter] ?? { type: 'string' }])),
            required: names,
          },
        }),
    querystring:
      endpoint.query === undefined
        ? { type: 'object', properties: {}, additionalProperties: false }
        : plainSchema(endpoint.query),
    ...(body === undefined ? {} : { body }),
  };
}

/** Texts of the query become what the schema wants; the object is changed in place. */
function queryChecker(schema: SchemaNode): Checker {
  const validate = new Ajv({ allErrors: true, strict: false, coerceTypes: true, ownProperties: true }).compile(schema);
  return (value) => (validate(value) ? [] : explain(validate.errors ?? [], schema, value));
}

type Checker = (value: unknown) => Finding[];
const checkers = new Map<string, Checker>();

/** Compiled with the first request that needs it: all of them at once would hold up the start. */
function checkerOf(key: string, compile: () => Checker): Checker {
  return (value) => {
    const check = checkers.get(key) ?? compile();
    checkers.set(key, check);
    return check(value);
  };
}

/** Compilers of one endpoint. A wrong path names nothing (404), a wrong query is 400, a wrong part of a configuration 422. */
export function validatorOf(name: EndpointName): FastifySchemaCompiler<unknown> {
  return ({ schema, httpPart }) => {
    // Which of the sections' schemas counts is in the path: checkSection() looks at it.
    if (httpPart === 'body' && name === 'setSection') return () => true;
    const node = schema as SchemaNode;
    const check = checkerOf(`${name} ${httpPart}`, () => (httpPart === 'body' ? partChecker(node) : queryChecker(node)));
    return (value: unknown) => {
      const findings = httpPart === 'body' ? bodyFindings(check, value) : check(value);
      return findings.length === 0 ? true : { error: faultOf(httpPart, findings, name in CONFIG_BODIES) };
    };
  };
}

/** For a query outside the API. */
export function queryValidator(): FastifySchemaCompiler<unknown> {
  return ({ schema }) => {
    const check = queryChecker(schema as SchemaNode);
    return (value: unknown) => {
      const findings = check(value);
      return findings.length === 0 ? true : { error: requestInvalid('the query is wrong', findings) };
    };
  };
}

function bodyFindings(check: Checker, value: unknown): Finding[] {
  if (value !== null && value !== undefined) return check(value);
  return [{ path: [], at: 'value', reason: 'it is empty', remedy: 'send JSON with content-type: application/json' }];
}

function faultOf(part: string | undefined, findings: readonly Finding[], configuration: boolean): Error {
  if (part === 'params') {
    const [first] = findings;
    return notFound(`the path names nothing: ${first?.reason}`, 'See /api/v1/openapi.json for the paths.');
  }
  if (part === 'body') return configuration ? findingsError(findings) : requestInvalid('the body is wrong', findings);
  return requestInvalid('the query is wrong', findings);
}

/** @throws MILLRACE_E_CONFIG_INVALID */
export function checkSection(section: string, value: unknown): void {
  const findings = bodyFindings(
    checkerOf(`section ${section}`, () => partChecker(top[section] ?? {})),
    value,
  );
  if (findings.length > 0) throw findingsError(findings);
}

/** Deeper than anything that a configuration has. */
const DEEPEST = 32;

/** Whether the value is nested so deeply that walks over it could exhaust the stack. */
export function isTooDeep(value: unknown): boolean {
  let level: object[] = typeof value === 'object' && value !== null ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= DEEPEST) return true;
    level = level.flatMap((node) => Object.values(node).filter((child) => typeof child === 'object' && child !== null));
  }
  return false;
}
