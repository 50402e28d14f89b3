// Golden cases as files: cases/<name>/{case.yaml, in.pcap, out.pcap} and config.yaml where a case does not use shared.yaml.
// The files are made from definitions/ (node scripts/golden.mjs --write) and are what the runner and people replay:
//   millrace replay -c test/golden/shared.yaml test/golden/cases/tcp-v4-conversation/in.pcap --out /tmp/out.pcap
// Runs in tests and in scripts/golden.mjs only.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { encodePcap } from '../../support/packet/index.js';
import type { GoldenCase } from './case.js';
import { type CaseConfig, SHARED_CONFIG } from './network.js';

export const GOLDEN_DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '..');
export const CASES_DIRECTORY = join(GOLDEN_DIRECTORY, 'cases');

const HEADER = '# Made from test/golden/definitions by scripts/golden.mjs --write; edit there.\n';

const yamlText = (value: unknown): string => HEADER + stringify(value, { lineWidth: 130, aliasDuplicateObjects: false });

function configFile(config: CaseConfig): string {
  return config === SHARED_CONFIG ? '../../shared.yaml' : 'config.yaml';
}

/** Absolute path of the configuration of a case. */
export function configPath(golden: GoldenCase): string {
  return join(CASES_DIRECTORY, golden.name, configFile(golden.config));
}

function caseYaml(golden: GoldenCase): string {
  return yamlText({
    description: golden.description,
    config: configFile(golden.config),
    workers: golden.config.workers,
    steering: golden.steering,
    passedToKernel: golden.passedToKernel,
    counters: Object.fromEntries(Object.entries(golden.counters).sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(Object.keys(golden.servers).length > 0 ? { servers: golden.servers } : {}),
    ...(golden.placeholders.length > 0 ? { placeholders: golden.placeholders } : {}),
  });
}

/** Every file that belongs under test/golden, by path relative to it. */
export function renderFiles(cases: readonly GoldenCase[]): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (s: string) => new TextEncoder().encode(s);
  files.set('shared.yaml', text(yamlText(SHARED_CONFIG)));
  for (const golden of cases) {
    const directory = join('cases', golden.name);
    if (files.has(join(directory, 'case.yaml'))) throw new Error(`two golden cases are called ${golden.name}`);
    files.set(join(directory, 'case.yaml'), text(caseYaml(golden)));
    files.set(join(directory, 'in.pcap'), encodePcap(golden.arriving));
    files.set(join(directory, 'out.pcap'), encodePcap(golden.leaving));
    if (golden.config !== SHARED_CONFIG) files.set(join(directory, 'config.yaml'), text(yamlText(golden.config)));
  }
  return files;
}

function filesOnDisk(): string[] {
  if (!existsSync(CASES_DIRECTORY)) return [];
  return readdirSync(CASES_DIRECTORY, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(GOLDEN_DIRECTORY.length + 1));
}

/** What differs between the definitions and the files; empty when the files are up to date. */
export function staleFiles(cases: readonly GoldenCase[]): string[] {
  const wanted = renderFiles(cases);
  const stale: string[] = [];
  for (const [path, bytes] of wanted) {
    const file = join(GOLDEN_DIRECTORY, path);
    if (!existsSync(file)) stale.push(`${path} is missing`);
    else if (Buffer.compare(readFileSync(file), bytes) !== 0) stale.push(`${path} differs from its definition`);
  }
  for (const path of filesOnDisk()) if (!wanted.has(path)) stale.push(`${path} belongs to no case`);
  return stale;
}

/** Writes all files and removes those of cases that are gone; returns how many files there are. */
export function writeFiles(cases: readonly GoldenCase[]): number {
  const wanted = renderFiles(cases);
  for (const path of filesOnDisk()) if (!wanted.has(path)) rmSync(join(GOLDEN_DIRECTORY, path));
  for (const [path, bytes] of wanted) {
    const file = join(GOLDEN_DIRECTORY, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
  for (const directory of readdirSync(CASES_DIRECTORY)) {
    if (readdirSync(join(CASES_DIRECTORY, directory)).length === 0) rmSync(join(CASES_DIRECTORY, directory), { recursive: true });
  }
  return wanted.size;
}
