// Prints what a change has done.
// Thread: main.
import type { ChangeViewBody } from '../../api/contract.js';
import { paint } from '../table.js';
import type { ChangeOptions } from './options.js';
import { formatAnswer, print } from './show.js';
import { changeLines } from './views.js';

export function printChange(change: ChangeViewBody, options: ChangeOptions): void {
  print(formatAnswer(change, options.output, changeLines, paint(process.stdout)));
}
