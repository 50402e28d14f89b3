// From an error to the answer that a client gets: status, and the body of contract.ts with code, reason and remedy.
// Guarantees: every error of the catalogue has one status; what a client sent wrong is 4xx; what is in no catalogue is a mistake of ours,
// 500, and its text does not leave the process.
// Thread: any; pure.
import type { Static } from 'typebox';
import type { Finding } from '../config/finding.js';
import { problemsOf } from '../config/validate.js';
import { ConfigurationError, createError, type ErrorCode, type ErrorKind, MillraceError } from '../errors.js';
import type { ErrorBody } from './contract.js';

const BY_CODE: Partial<Readonly<Record<ErrorCode, number>>> = {
  MILLRACE_E_REQUEST_INVALID: 400,
  MILLRACE_E_REQUEST_TOO_LARGE: 413,
  MILLRACE_E_NOT_FOUND: 404,
  MILLRACE_E_NOT_AUTHENTICATED: 401,
  MILLRACE_E_NOT_ALLOWED: 403,
  MILLRACE_E_VERSION_CONFLICT: 412,
  MILLRACE_E_CHANGE_NEEDS_RESTART: 409,
  MILLRACE_E_UNKNOWN_SERVICE: 409,
  MILLRACE_E_INTERNAL: 500,
};

const BY_KIND: Readonly<Record<ErrorKind, number>> = {
  configuration: 422,
  input: 422,
  usage: 400,
  // The host, an interface or the dataplane does not do what was asked: not the request's fault, and perhaps over soon.
  host: 503,
  interface: 503,
  'native-load': 503,
  daemon: 503,
  runtime: 503,
};

export interface ErrorAnswer {
  readonly status: number;
  readonly body: Static<typeof ErrorBody>;
  /** It was no error of the catalogue: to be told to whoever reads the log. */
  readonly unexpected: boolean;
}

/** Status of an error of the catalogue. */
export function statusOf(error: MillraceError): number {
  return BY_CODE[error.code] ?? BY_KIND[error.kind];
}

export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof MillraceError) {
    return { status: statusOf(error), body: bodyOf(error), unexpected: false };
  }
  const status: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'statusCode') : undefined;
  if (typeof status === 'number' && status >= 400 && status < 500 && error instanceof Error) {
    const code = status === 413 ? 'MILLRACE_E_REQUEST_TOO_LARGE' : 'MILLRACE_E_REQUEST_INVALID';
    return { status, body: bodyOf(createError(code, plain(error.message))), unexpected: false };
  }
  if (status === 503) {
    return { status, body: bodyOf(createError('MILLRACE_E_NOT_RUNNING', 'the API is closing')), unexpected: false };
  }
  const message = 'the request met a mistake in Millrace';
  return { status: 500, body: bodyOf(createError('MILLRACE_E_INTERNAL', message)), unexpected: true };
}

function bodyOf(error: MillraceError): Static<typeof ErrorBody> {
  const problems = error instanceof ConfigurationError ? error.problems : [];
  return {
    error: {
      code: error.code,
      message: error.message,
      remedy: error.remedy,
      ...(problems.length === 0 ? {} : { problems: problems.map(({ path, reason, remedy }) => ({ path, reason, remedy })) }),
    },
  };
}

/** Messages of the HTTP library begin with capitals, ours do not. */
function plain(message: string): string {
  return /^[A-Z][a-z]/.test(message) ? message.charAt(0).toLowerCase() + message.slice(1) : message;
}

/** For a request whose query or body breaks its schema. */
export function requestInvalid(what: string, findings: readonly Finding[]): ConfigurationError {
  const problems = problemsOf(findings);
  const first = problems[0];
  const place = first === undefined || first.path === '' ? '' : `${first.path}: `;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const message = `${what}: ${place}${first?.reason ?? 'not what the schema says'}${more}`;
  const options = first === undefined ? {} : { remedy: `${first.remedy.charAt(0).toUpperCase()}${first.remedy.slice(1)}.` };
  return new ConfigurationError('MILLRACE_E_REQUEST_INVALID', message, problems, options);
}

export function notFound(message: string, remedy: string): MillraceError {
  return createError('MILLRACE_E_NOT_FOUND', message, { remedy });
}
