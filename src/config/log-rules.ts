// The rules of `logs`: keys of a file are for a file, and a file has a path.
// Guarantees: pure; never throws on any value.
// Thread: any.
import { type Rule, wrong } from './rule.js';

const fileKeys: Rule = ({ logs }) => {
  if (logs.destination === undefined) return [];
  if (logs.destination.value === 'file') {
    if (logs.fileGiven) return [];
    return [wrong(logs.destination.path, 'destination is file, but no file is named', 'add file with an absolute path')];
  }
  const where = logs.destination.value;
  return logs.ofFile.map(({ value: key, path }) =>
    wrong(path, `${key} is of a file, but the destination is ${where}`, 'write destination: file, or remove it'),
  );
};

export const LOG_RULES: readonly Rule[] = [fileKeys];
