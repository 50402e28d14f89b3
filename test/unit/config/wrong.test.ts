// Every wrong configuration in wrong/*.yaml, against the exact text a person sees for it (wrong/*.txt).
// UPDATE_EXPECTED=1 rewrites the texts; read the difference before committing it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { formatProblems } from '../../../src/config/format.js';
import { parseConfig } from '../../../src/config/load.js';

const folder = new URL('./wrong/', import.meta.url);
const cases = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));

describe('a wrong configuration is explained', () => {
  test.each(cases)('%s', (name) => {
    const text = readFileSync(new URL(`${name}.yaml`, folder), 'utf8');
    const { problems } = parseConfig(text, `${name}.yaml`);
    const lines = text.split('\n');
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) {
      expect(problem.reason).not.toBe('');
      expect(problem.remedy).not.toBe('');
      expect(problem.line).toBeGreaterThanOrEqual(1);
      expect(problem.source).toBe(lines[problem.line - 1]);
      expect(problem.column).toBeGreaterThanOrEqual(1);
      expect(problem.column).toBeLessThanOrEqual(problem.source.length + 1);
    }
    const expected = new URL(`${name}.txt`, folder);
    const shown = `${formatProblems(problems)}\n`;
    if (process.env['UPDATE_EXPECTED'] !== undefined) writeFileSync(expected, shown);
    expect(shown).toBe(readFileSync(expected, 'utf8'));
  });

  test('there is a text for every file and a file for every text', () => {
    const texts = readdirSync(folder)
      .filter((name) => name.endsWith('.txt'))
      .map((name) => name.slice(0, -'.txt'.length));
    expect(texts.sort()).toEqual([...cases].sort());
    expect(cases.length).toBeGreaterThanOrEqual(20);
  });
});
