// A process that writes states one after the other until it is killed, and says after each one that it is through.
//   node writer.mjs STORE-MODULE STATE-FILE
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [, , module, path] = process.argv;
const { StateFile } = await import(pathToFileURL(module).href);
const file = new StateFile(path);
const found = await file.read();
for (let n = (found?.n ?? 0) + 1; ; n++) {
  // Sizes from nothing to many pages, so that a kill meets writes of all lengths.
  const padding = String(n)
    .padStart(8, '0')
    .repeat((n * 7919) % 20_000);
  await file.write(`{"n":${n},"padding":"${padding}"}`);
  writeSync(1, `${n}\n`);
}
