// Checks a configuration value (a parsed file, or an object given to the module API) against the schema and the semantic rules, and
// fills in the defaults.
// Guarantees: finds everything in one pass; never throws on any value; the value passed in is not changed.
// Thread: any. The compiled validator is made once per thread, on first use.
import { Ajv, type ValidateFunction } from 'ajv';
import { type ConfigProblem, ConfigurationError } from '../errors.js';
import { parseAddress, parseMac, parsePortRange, parsePrefix } from './address.js';
import { explain, type SchemaNode } from './explain.js';
import { type Finding, formatPath } from './finding.js';
import { formatProblems } from './format.js';
import { validationSchema } from './json-schema.js';
import { parsePorts, parseVips } from './matching.js';
import type { Config, ConfigInput } from './schema.js';
import { checkSemantics } from './semantics.js';

export type CheckResult = { readonly config: Config; readonly findings: readonly [] } | { readonly findings: readonly Finding[] };

let compiled: ValidateFunction<Config> | undefined;

function validator(): ValidateFunction<Config> {
  compiled ??= newAjv(true).compile<Config>(validationSchema());
  return compiled;
}

function newAjv(useDefaults: boolean): Ajv {
  // Not strict: our annotations are unknown keywords, and the one default inside a union is filled in below.
  const ajv = new Ajv({ allErrors: true, useDefaults, strict: false, ownProperties: true });
  ajv.addFormat('ip-address', (text) => parseAddress(text) !== undefined);
  ajv.addFormat('address-or-prefix', (text) => parseVips(text) !== undefined);
  ajv.addFormat('service-ports', (text) => parsePorts(text) !== undefined);
  ajv.addFormat('ip-prefix', (text) => parsePrefix(text) !== undefined);
  ajv.addFormat('mac-address', (text) => parseMac(text) !== undefined);
  ajv.addFormat('port-range', (text) => parsePortRange(text) !== undefined);
  ajv.addFormat('regex', isRegularExpression);
  ajv.addFormat('decimal-u64', (text) => /^[0-9]{1,20}$/.test(text) && BigInt(text) < 1n << 64n);
  return ajv;
}

/** Compiles the schema of a part of a configuration: what the result is given is explained as a whole configuration is, and not changed. */
export function partChecker(schema: SchemaNode): (value: unknown) => Finding[] {
  const validate = newAjv(false).compile(schema);
  return (value) => (validate(value) ? [] : explain(validate.errors ?? [], schema, value));
}

function isRegularExpression(text: string): boolean {
  try {
    new RegExp(text, 'u');
    return true;
  } catch {
    return false;
  }
}

/** Checks any value. Either the complete configuration, or at least one finding. */
export function checkConfig(value: unknown): CheckResult {
  const shape = checkShape(value);
  if (shape.plain === undefined) return { findings: shape.findings };
  const findings = [...shape.findings, ...checkSemantics(shape.plain.value, shape.findings)];
  if (findings.length === 0) return { config: shape.plain.value as Config, findings: [] };
  return { findings };
}

/**
 * The schema alone: a copy of `value` with the defaults filled in, and what is wrong with its form. What keys have to do with each other is
 * left to checkConfig. `plain` is undefined where `value` is no plain data.
 */
export function checkShape(value: unknown): {
  readonly plain: { readonly value: unknown } | undefined;
  readonly findings: readonly Finding[];
} {
  let copy: unknown;
  try {
    copy = structuredClone(value);
  } catch {
    const reason = 'holds something that is not plain data';
    return { plain: undefined, findings: [{ path: [], at: 'value', reason, remedy: 'pass an object of plain values' }] };
  }
  const validate = validator();
  const valid = validate(copy);
  // Read before anything else validates: ajv keeps the errors of the last run on the function.
  const findings = valid ? [] : explain(validate.errors ?? [], validationSchema() as SchemaNode, copy);
  fillUnionDefaults(copy);
  return { plain: { value: copy }, findings };
}

/** ajv does not fill in defaults inside a union; the mapping form of `sessions.timeouts` is the only one that has some. */
function fillUnionDefaults(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const sessions: unknown = Reflect.get(value, 'sessions');
  if (typeof sessions !== 'object' || sessions === null) return;
  const timeouts: unknown = Reflect.get(sessions, 'timeouts');
  if (typeof timeouts !== 'object' || timeouts === null || Array.isArray(timeouts)) return;
  Reflect.set(sessions, 'timeouts', { profile: 'ipvs', tcp: {}, udp: {}, sctp: {}, ...timeouts });
}

/**
 * Checks a configuration given as an object and fills in the defaults.
 * Throws ConfigurationError (MILLRACE_E_CONFIG_INVALID) with every problem; lines and columns are 0, `path` says where.
 */
export function validateConfig(value: ConfigInput | Config): Config {
  const result = checkObject(value);
  if ('config' in result) return result.config;
  throw findingsError(result.findings);
}

/** checkConfig for a value that is no file: it cannot name files that are read together with it. */
export function checkObject(value: unknown): CheckResult {
  const result = checkConfig(value);
  if (!('config' in result)) return result;
  const named = result.config.services.flatMap((service, i): Finding[] =>
    service.acl?.file === undefined
      ? []
      : [
          {
            path: ['services', i, 'acl', 'file'],
            at: 'value',
            reason: 'access list files are read together with a configuration file, and this configuration is an object',
            remedy: 'put the prefixes into allow and deny',
          },
        ],
  );
  return named.length === 0 ? result : { findings: named };
}

/** The error for findings that stand in no text. */
export function findingsError(findings: readonly Finding[]): ConfigurationError {
  const problems = problemsOf(findings);
  return new ConfigurationError('MILLRACE_E_CONFIG_INVALID', formatProblems(problems), problems);
}

/** Findings that stand in no text, as problems. */
export function problemsOf(findings: readonly Finding[]): ConfigProblem[] {
  return findings.map(({ path, reason, remedy }) => ({
    file: '',
    line: 0,
    column: 0,
    path: formatPath(path),
    reason,
    remedy,
    source: '',
    length: 0,
  }));
}
