// A finding: one thing wrong in a configuration value, before anybody knows where in a text it stands.
// Thread: any; types and pure functions.

/** Keys and list positions from the top of the configuration. */
export type ConfigPath = readonly (string | number)[];

export interface Finding {
  readonly path: ConfigPath;
  /** Whether the key itself is wrong (unknown, twice) or what it holds. */
  readonly at: 'key' | 'value';
  readonly reason: string;
  readonly remedy: string;
}

/** `services[0].servers[1].weight`; keys that are no plain words are quoted. */
export function formatPath(path: ConfigPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_$][A-Za-z0-9_$-]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}

/** Whether `path` lies at or below `prefix`. */
export function isBelow(path: ConfigPath, prefix: ConfigPath): boolean {
  return prefix.length <= path.length && prefix.every((part, i) => part === path[i]);
}
