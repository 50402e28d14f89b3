// Attaches the steering program to an interface of the namespace it runs in: a process of its own, because a namespace is entered
// for a whole process, and the attached program stays when the process ends.
// Thread: a process of its own. Arguments: interface, queues, rules as a JSON array of {address, queue}.
import { loadNative } from '../native.js';
import type { NativeLabSteering } from '../native-binding.js';

const [device = '', queues = '1', rules = '[]'] = process.argv.slice(2);
try {
  const parsed = JSON.parse(rules) as NativeLabSteering['rules'];
  loadNative().attachLabSteering({ interface: device, queues: Number(queues), rules: parsed });
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
