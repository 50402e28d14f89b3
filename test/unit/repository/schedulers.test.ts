// Adding a scheduler touches its file, one line of native/schedulers/registry.h and its test: everything else that lists schedulers follows.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SCHEDULERS } from '../../../src/config/scheduler-names.js';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

/** The names of the registry, in its order: AnyScheduler names classes and, behind each, the file that it is in. */
function registered(): string[] {
  const list =
    /using AnyScheduler =\s*std::variant<([\s\S]*?\n[^\n]*>;[^\n]*)/.exec(read('native/schedulers/registry.h'))?.[1] ?? '';
  return [...list.matchAll(/\/\/ (\w+\.h)/g)].map(([, file]) => {
    const name = /kName = "([\w-]+)"/.exec(read(`native/schedulers/${file}`))?.[1];
    if (name === undefined) throw new Error(`${file} names no scheduler`);
    return name;
  });
}

test('the schedulers of the registry are those of the configuration, in the same order', () => {
  expect(registered().length).toBeGreaterThan(10);
  expect(SCHEDULERS.map(({ name }) => name)).toEqual(registered());
});

test('the JSON schema and the documentation list them too', () => {
  const documented = [
    ...(read('docs/schedulers.md').split('<!-- end: generated table -->')[0] ?? '').matchAll(/^\| `([\w-]+)` \|/gm),
  ].map(([, name]) => name);
  expect(documented).toEqual(registered());
  const schema = read('millrace.schema.json').replaceAll(/\s+/g, '');
  expect(schema).toContain(
    registered()
      .map((name) => `"${name}"`)
      .join(','),
  );
});
