// Optimistic concurrency: versions of the configuration as entity tags (RFC 9110, 8.8.3 and 13.1.1).
// Guarantees: pure; a header that cannot be read is an error and never "no condition".
// Thread: any.
import { createError } from '../errors.js';

export function etag(version: string): string {
  return `"${version}"`;
}

/**
 * The version that a change was made for, undefined where any will do.
 * @throws MILLRACE_E_REQUEST_INVALID where the header is no list of tags; MILLRACE_E_VERSION_CONFLICT where no tag can match at all.
 */
export function expectedVersion(header: string | undefined, current: string): string | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (text === '*') return undefined;
  const tag = '(?:W/)?"[\\x21\\x23-\\x7e\\x80-\\xff]*"';
  if (!new RegExp(`^${tag}(?:[ \\t]*,[ \\t]*${tag})*$`).test(text)) {
    throw createError('MILLRACE_E_REQUEST_INVALID', `If-Match ${JSON.stringify(text.slice(0, 80))} is no list of entity tags`, {
      remedy: `Write If-Match: ${etag(current)}, as the header ETag has it.`,
    });
  }
  const strong = [...text.matchAll(/(W\/)?"([^"]*)"/g)].flatMap(([, weak, version]) =>
    weak === undefined ? (version ?? []) : [],
  );
  if (strong.includes(current)) return current;
  const [first] = strong;
  if (first !== undefined) return first;
  throw createError('MILLRACE_E_VERSION_CONFLICT', 'If-Match has weak tags only, which match nothing');
}
