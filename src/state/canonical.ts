// One text for one value, whatever the order of its keys: what hashes and comparisons of the desired state are made of.
// Guarantees: equal values have equal texts, also after a restart; what is the text of an object is worked out once, as the objects of
// the desired state never change.
// Thread: any; the caches hold nothing that cannot be worked out again.
import { createHash } from 'node:crypto';

const texts = new WeakMap<object, string>();
const digests = new WeakMap<object, string>();

/** JSON with sorted keys and without blanks; keys that are undefined are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, child]) => child !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonicalJson(child)}`).join(',')}}`;
}

/** canonicalJson of what `plain` makes of an object that never changes. */
export function textOf<T extends object>(value: T, plain: (value: T) => unknown = (same) => same): string {
  let text = texts.get(value);
  if (text === undefined) {
    text = canonicalJson(plain(value));
    texts.set(value, text);
  }
  return text;
}

/** SHA-256 of a text, hexadecimal. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** 64 bits of hash of an object that never changes, hexadecimal: short, as ten thousand of them make a version. */
export function digestOf(value: object): string {
  let digest = digests.get(value);
  if (digest === undefined) {
    digest = sha256(canonicalJson(value)).slice(0, 16);
    digests.set(value, digest);
  }
  return digest;
}
