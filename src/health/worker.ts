// A health worker: piscina runs this file in a thread of its own, and its one task lasts until it is told to stop.
// Guarantees: sockets of checks live here and nowhere else; what goes wrong in one check is that check's verdict.
// Thread: itself.
import type { MessagePort } from 'node:worker_threads';
import type { FromWorker, ToWorker } from './messages.js';
import { bad, describeFailure } from './outcome.js';
import { probe } from './probe.js';
import { forgetConnections } from './probes/http.js';
import { endScripts } from './probes/script.js';
import { Runner } from './runner.js';

/** Sockets at a time: well below the limit of open files that a unit gets (LimitNOFILE). */
const LIMIT = 4096;

export async function check({ port }: { readonly port: MessagePort }): Promise<void> {
  const say = (message: FromWorker): void => port.postMessage(message);
  const runner = new Runner({
    probe: async (target) => {
      try {
        return await probe(target);
      } catch (error) {
        return bad(describeFailure(error));
      }
    },
    report: (changes) => say({ kind: 'changes', changes }),
    now: () => performance.now(),
    random: Math.random,
    limit: LIMIT,
  });
  await new Promise<void>((resolve) => {
    port.on('message', (message: ToWorker) => {
      switch (message.kind) {
        case 'set':
          for (const { id } of message.targets) forgetConnections(id);
          runner.set(message.targets, message.standings);
          return;
        case 'remove':
          runner.remove(message.ids);
          message.ids.forEach(forgetConnections);
          return;
        case 'status':
          say({ kind: 'status', request: message.request, targets: runner.status(), lateness: runner.lateness() });
          return;
        case 'stop':
          resolve();
          return;
      }
    });
    port.once('close', resolve);
  });
  runner.close();
  endScripts();
  port.close();
}
