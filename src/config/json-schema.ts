// The schema in the two forms in which it leaves schema.ts: for the validator, and for editors (millrace.schema.json).
// Both ask only for keys that have no default: what has one may be left out of a file.
// Thread: any; pure.
import { ConfigSchema } from './schema.js';

/** Plain JSON schema (2020-12 subset) with our `x-` annotations. */
export function validationSchema(): Record<string, unknown> {
  return transform(JSON.parse(JSON.stringify(ConfigSchema)), false);
}

/** What millrace.schema.json holds: without annotations that no editor knows. */
export function editorSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Millrace configuration',
    ...transform(JSON.parse(JSON.stringify(ConfigSchema)), true),
  };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function transform(node: Record<string, unknown>, forEditors: boolean): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(node)) {
    if (forEditors && key.startsWith('x-')) continue;
    // Our formats are not standard ones; editors would warn.
    if (forEditors && key === 'format') continue;
    if (key === 'required' && Array.isArray(value)) {
      const needed = value.filter((name) => !hasDefault(node, String(name)));
      if (needed.length > 0) result[key] = needed;
    } else if (key === 'properties' && isMapping(value)) {
      result[key] = Object.fromEntries(
        Object.entries(value).map(([name, child]) => [name, isMapping(child) ? transform(child, forEditors) : child]),
      );
    } else if (key === 'anyOf' && Array.isArray(value)) {
      result[key] = value.map((child) => (isMapping(child) ? transform(child, forEditors) : child));
    } else if (key === 'items' && isMapping(value)) {
      result[key] = transform(value, forEditors);
    } else {
      result[key] = value;
    }
  }
  return result;
}

function hasDefault(node: Record<string, unknown>, name: string): boolean {
  const properties = node['properties'];
  const child = isMapping(properties) ? properties[name] : undefined;
  return isMapping(child) && Object.hasOwn(child, 'default');
}
