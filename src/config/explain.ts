// Turns what the schema validator says into sentences for a person: what was found, what was expected, what to write instead.
// Guarantees: one finding per mistake (a union of two forms does not complain once per form); never throws on any value.
// Thread: any; pure.
import type { ErrorObject } from 'ajv';
import type { ConfigPath, Finding } from './finding.js';
import { notYet } from './not-yet.js';
import { suggest } from './suggest.js';

/** The part of a JSON schema that explanations need. */
export interface SchemaNode {
  readonly type?: string;
  readonly enum?: readonly (string | number)[];
  readonly const?: string | number;
  readonly anyOf?: readonly SchemaNode[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly 'x-expected'?: string;
  readonly 'x-refused'?: Readonly<Record<string, string>>;
  readonly 'x-default'?: string;
}

const FORMATS: Readonly<Record<string, string>> = {
  'ip-address': 'an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1',
  'ip-prefix': 'an address with prefix length, such as 192.0.2.0/24 or 2001:db8::/64',
  'mac-address': 'an Ethernet address, such as 02:00:00:00:00:01',
  'address-or-prefix': 'an address or a prefix, such as 203.0.113.10, 203.0.113.0/24 or 2001:db8::/64',
  'port-range': 'two ports with a hyphen between them, such as 1024-65535',
  'decimal-u64': 'a decimal number in quotes, such as "42"',
};

/** What the schema wants, as the end of "expected ...". */
export function expectation(schema: SchemaNode): string {
  if (schema['x-expected'] !== undefined) return schema['x-expected'];
  if (schema.enum !== undefined) return schema.enum.length === 1 ? `${schema.enum[0]}` : `one of ${schema.enum.join(', ')}`;
  if (schema.anyOf !== undefined) return schema.anyOf.map(expectation).join(', or ');
  if (schema.format !== undefined) return FORMATS[schema.format] ?? schema.format;
  switch (schema.type) {
    case 'integer':
      return `a whole number from ${schema.minimum ?? 0} to ${schema.maximum ?? 'any'}`;
    case 'number':
      return `a number from ${schema.minimum ?? 0} to ${schema.maximum ?? 'any'}`;
    case 'string':
      return schema.maxLength === undefined
        ? 'a text'
        : `a text of ${schema.minLength ?? 0} to ${schema.maxLength} characters without blanks`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return (schema.minItems ?? 0) > 0 ? `a list with at least ${schema.minItems} entry` : 'a list';
    case 'object':
      return 'a mapping of keys to values';
    default:
      return 'another value';
  }
}

/** Short form of a value for a message. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return JSON.stringify(value.length > 48 ? `${value.slice(0, 45)}...` : value);
  return String(value);
}

/** All findings for the errors of one validation of `value` against `root`. */
export function explain(errors: readonly ErrorObject[], root: SchemaNode, value: unknown): Finding[] {
  const findings: Finding[] = [];
  const unions = errors.filter((error) => error.keyword === 'anyOf').map((error) => error.schemaPath);
  for (const error of errors) {
    const path = pathOf(error.instancePath, value);
    const held = valueAt(value, path);
    const union = unions.find((schemaPath) => error.schemaPath.startsWith(`${schemaPath}/`));
    // Inside a union only the form of the same shape is of interest: a mapping explains itself key by key, all else as a whole.
    if (union !== undefined && !unionDetailMatters(error, union, root, value)) continue;
    if (error.keyword === 'anyOf' && isMapping(held) && hasObjectForm(schemaAt(root, path))) continue;
    findings.push(explainOne(error, path, held, root));
  }
  return findings;
}

function unionDetailMatters(error: ErrorObject, union: string, root: SchemaNode, value: unknown): boolean {
  const branch = Number(/^\/(\d+)/.exec(error.schemaPath.slice(union.length))?.[1]);
  const pathOfUnion = union.split('/').filter((part, i, all) => all[i - 1] === 'properties' && part !== '');
  const form = schemaAt(root, pathOfUnion)?.anyOf?.[branch];
  return form?.type === 'object' && isMapping(valueAt(value, pathOfUnion));
}

function hasObjectForm(schema: SchemaNode | undefined): boolean {
  return schema?.anyOf?.some((form) => form.type === 'object') ?? false;
}

function explainOne(error: ErrorObject, path: ConfigPath, held: unknown, root: SchemaNode): Finding {
  const schema = schemaAt(root, path) ?? {};
  if (error.keyword === 'additionalProperties') return unknownKey(String(error.params['additionalProperty']), path, schema, root);
  if (error.keyword === 'required') {
    const key = String(error.params['missingProperty']);
    const wanted = schema.properties?.[key];
    return {
      path,
      at: 'value',
      reason: `required key "${key}" is missing`,
      remedy: `add \`${key}:\` with ${wanted === undefined ? 'a value' : expectation(wanted)}`,
    };
  }
  const refused =
    typeof held === 'string' && Object.hasOwn(schema['x-refused'] ?? {}, held) ? schema['x-refused']?.[held] : undefined;
  if (refused !== undefined) {
    return { path, at: 'value', reason: `${show(held)} is refused: ${refused}`, remedy: `write ${expectation(schema)}` };
  }
  if (path.length === 0 && held === null)
    return { path, at: 'value', reason: 'the configuration is empty', remedy: 'write at least interfaces and services' };
  return { path, at: 'value', reason: `expected ${expectation(schema)}, found ${show(held)}`, remedy: remedyFor(schema, held) };
}

function remedyFor(schema: SchemaNode, held: unknown): string {
  if (held === null || held === undefined) {
    if (schema.type === 'array') return 'indent the entries below it, or write [] for none';
    return schema.type === 'object' ? 'indent its keys below it, or remove it' : `write ${expectation(schema)}`;
  }
  if (schema.type === 'object') return remedyForMapping(schema, held);
  const known = knownWords(schema);
  const near = typeof held === 'string' ? suggest(held, known) : undefined;
  if (near !== undefined) return `did you mean "${near}"?`;
  if (schema.format === 'decimal-u64' && typeof held === 'number') return `put it in quotes: "${held}"`;
  if (schema.type === 'array' && typeof held !== 'object') return `put it in brackets: [${String(held)}]`;
  if (Array.isArray(held) && held.length === 0) return 'add an entry that begins with "- "';
  if (schema.type === 'array') return 'begin each entry with "- "';
  const takesNumber = schema.type === 'integer' || schema.anyOf?.some((form) => form.type === 'integer') === true;
  if (takesNumber && typeof held === 'string' && /^[0-9]+$/.test(held)) return 'remove the quotes';
  if (schema.type === 'boolean' && typeof held === 'string' && /^(yes|on|y)$/i.test(held)) return 'write true';
  if (schema.type === 'boolean' && typeof held === 'string' && /^(no|off|n)$/i.test(held)) return 'write false';
  if (schema.format === 'ip-address' && typeof held === 'string') return remedyForAddress(held);
  if (schema.format === 'address-or-prefix' && typeof held === 'string' && !held.includes('/')) return remedyForAddress(held);
  if (schema.format === 'ip-prefix' && typeof held === 'string' && !held.includes('/')) {
    return `add the prefix length: ${held}${held.includes(':') ? '/64' : '/24'}`;
  }
  return `write ${expectation(schema)}`;
}

/** A bare value where a mapping belongs is mostly that of the mapping's first key, an address with its port both in one. */
function remedyForMapping(schema: SchemaNode, held: unknown): string {
  const [key] = schema.required ?? [];
  if (key === undefined || (typeof held !== 'string' && typeof held !== 'number'))
    return 'write keys with values, such as name: value';
  const [, address, port] = /^([0-9.]+):([0-9]+)$/.exec(String(held)) ?? [];
  if (key === 'address' && port !== undefined) return `write { address: ${address}, port: ${port} }`;
  return `write the key before it: ${key}: ${held}`;
}

function remedyForAddress(held: string): string {
  if (held.includes('/')) return 'leave out the prefix length';
  if (/^[0-9.]+:[0-9]+$/.test(held)) return 'write the port under the key port';
  if (/^\[.*\]$/.test(held)) return 'leave out the brackets';
  if (/^([0-9]+\.){3}[0-9]+$/.test(held) && /(^|\.)0[0-9]/.test(held)) {
    return `leave out leading zeros, which some read as octal: ${held.replaceAll(/(^|\.)0+(?=[0-9])/g, '$1')}`;
  }
  if (held.includes('%')) return 'leave out the zone';
  if (/^::ffff:[0-9.]+$/i.test(held)) return `write the IPv4 address: ${held.slice(7)}`;
  if (/^[a-z]([a-z0-9-]*\.)*[a-z0-9-]*$/i.test(held)) return 'write the address: names are not looked up';
  return `write ${FORMATS['ip-address']}`;
}

function knownWords(schema: SchemaNode): string[] {
  const own = [...(schema.enum ?? []), ...(schema.const === undefined ? [] : [schema.const])].map(String);
  return [...own, ...(schema.anyOf ?? []).flatMap(knownWords)];
}

function unknownKey(key: string, path: ConfigPath, schema: SchemaNode, root: SchemaNode): Finding {
  const form = schema.properties === undefined ? schema.anyOf?.find((candidate) => candidate.type === 'object') : schema;
  const known = Object.keys(form?.properties ?? {});
  const near = suggest(key, known);
  const missing = near === undefined ? notYet(key) : undefined;
  if (missing !== undefined)
    return { path: [...path, key], at: 'key', reason: `${show(key)} is refused: ${missing.reason}`, remedy: missing.remedy };
  const home = near === undefined ? sectionsWith(key, root).find((place) => place !== '') : undefined;
  let remedy = `known keys here: ${known.join(', ')}`;
  if (near !== undefined) remedy = `did you mean "${near}"?`;
  else if (home !== undefined) remedy = `"${key}" belongs under ${home}`;
  else if (key === '<<')
    remedy = 'merge keys are not part of YAML 1.2; repeat the keys, or refer to the whole mapping with an alias';
  else if (path.length > 0 && Object.hasOwn(root.properties ?? {}, key)) remedy = `"${key}" belongs at the top level`;
  return { path: [...path, key], at: 'key', reason: `unknown key ${show(key)}`, remedy };
}

/** Names of the sections, from the top, that have this key. */
function sectionsWith(key: string, schema: SchemaNode, name = ''): string[] {
  const here = Object.hasOwn(schema.properties ?? {}, key) ? [name] : [];
  const below = Object.entries(schema.properties ?? {}).flatMap(([child, node]) => {
    const form = node.anyOf?.find((candidate) => candidate.type === 'object') ?? node;
    const place = name === '' ? child : `${name}.${child}`;
    return sectionsWith(key, form.items ?? form, form.items === undefined ? place : `${place}[]`);
  });
  return [...here, ...below];
}

/** The schema that describes the value at `path`. */
export function schemaAt(root: SchemaNode, path: ConfigPath): SchemaNode | undefined {
  let node: SchemaNode | undefined = root;
  for (const part of path) {
    const form: SchemaNode | undefined = node?.anyOf?.find((candidate) => candidate.type === 'object') ?? node;
    node = typeof part === 'number' ? form?.items : form?.properties?.[part];
  }
  return node;
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at `path`, or undefined where the path leaves the structure. */
export function valueAt(value: unknown, path: ConfigPath): unknown {
  let held: unknown = value;
  for (const part of path) {
    if (held === undefined) return undefined;
    held = valueIn(held, part);
  }
  return held;
}

/** The value under one key, or at one place of a list. */
export function valueIn(held: unknown, part: string | number): unknown {
  if (Array.isArray(held)) return typeof part === 'number' ? held[part] : undefined;
  return isMapping(held) && Object.hasOwn(held, part) ? held[part] : undefined;
}

/** RFC 6901 pointer -> path; numbers only where the value really is a list. */
function pathOf(pointer: string, value: unknown): ConfigPath {
  const path: (string | number)[] = [];
  for (const raw of pointer.split('/').slice(1)) {
    const part = raw.replaceAll('~1', '/').replaceAll('~0', '~');
    path.push(Array.isArray(valueAt(value, path)) ? Number(part) : part);
  }
  return path;
}
