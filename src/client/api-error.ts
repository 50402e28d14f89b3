// Errors that the API answers with, as errors of the catalogue; and what to say of an answer that is none of the API.
// Guarantees: any status and any text become an error of the catalogue; never throws.
// Thread: main; pure.
import { Value } from 'typebox/value';
import { ErrorBody } from '../api/contract.js';
import { formatProblems } from '../config/format.js';
import {
  type ConfigProblem,
  ConfigurationError,
  createError,
  ERROR_CATALOGUE,
  type ErrorCode,
  type MillraceError,
} from '../errors.js';

/** `place` names the daemon in messages. */
export function fromApiError(place: string, status: number, text: string): MillraceError {
  const body = parseJson(text);
  if (!Value.Check(ErrorBody, body)) {
    const start = printable(text.slice(0, 400)).replaceAll(/\s+/g, ' ').slice(0, 60);
    return createError(
      'MILLRACE_E_API_ANSWER',
      `${place} answered with status ${status} and ${start === '' ? 'nothing' : JSON.stringify(start)}`,
    );
  }
  const { code, problems } = body.error;
  const message = printable(body.error.message);
  const remedy = printable(body.error.remedy);
  if (!isKnown(code)) return createError('MILLRACE_E_API_ANSWER', `${message} (${code})`, { remedy });
  if (ERROR_CATALOGUE[code].kind !== 'configuration' || problems === undefined) return createError(code, message, { remedy });
  const places: ConfigProblem[] = problems.map((problem) => ({
    path: printable(problem.path),
    reason: printable(problem.reason),
    remedy: printable(problem.remedy),
    file: '',
    line: 0,
    column: 0,
    source: '',
    length: 0,
  }));
  return new ConfigurationError(code, places.length === 0 ? message : formatProblems(places), places, { remedy });
}

/** Control characters but for line ends, which must not reach a terminal, become "?". */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is being replaced
  return text.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
}

/** undefined where it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isKnown(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code);
}
