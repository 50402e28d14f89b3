// The daemon over a stand-in of the addon, its signals and its events in a test's hands.
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { ConfigInput } from '../../../../src/config/schema.js';
import { describeChanges } from '../../../../src/control/diff.js';
import { createIn } from '../../../../src/create-load-balancer.js';
import { DaemonLife } from '../../../../src/daemon/life.js';
import { type DaemonOptions, runDaemon } from '../../../../src/daemon/main.js';
import type { DaemonEvent } from '../../../../src/daemon/output.js';
import { FakeCheckers } from '../../health/support/fake-checkers.js';
import { FakeBinding } from '../../module/support/fake-binding.js';
import { environmentOf, goodHost } from '../../module/support/hosts.js';

export class TestDaemon {
  readonly binding = new FakeBinding();
  readonly checkers = new FakeCheckers();
  readonly signals = new EventEmitter();
  readonly events: DaemonEvent[] = [];
  readonly died: NodeJS.Signals[] = [];
  /** What else is closed after the balancer. */
  closing: () => Promise<void> = async () => undefined;
  /** Of the run; there when it has begun to start. */
  life = new DaemonLife();
  readonly outputClosed = new AbortController();
  readonly file: string;
  readonly #arrivals = new EventEmitter();

  /** `file`: where the configuration is written. */
  constructor(file: string) {
    this.file = file;
  }

  async write(config: ConfigInput | string): Promise<void> {
    await writeFile(this.file, typeof config === 'string' ? config : JSON.stringify(config));
  }

  run(change: Partial<DaemonOptions> = {}): Promise<void> {
    return runDaemon({
      configFile: this.file,
      statsInterval: 0,
      emit: (event) => {
        this.events.push(event);
        this.#arrivals.emit(event.event, event);
      },
      signals: this.signals,
      start: async (source, { signal, life }) => {
        this.life = life;
        const balancer = await createIn(environmentOf(this.binding, goodHost, this.checkers), source, { signal });
        const reload = async () => {
          try {
            const { changes } = await balancer.apply(source);
            life.reloaded({ at: 0, ok: true, message: describeChanges(changes) });
            return { changes };
          } catch (error) {
            life.reloaded({ at: 0, ok: false, message: String(error) });
            throw error;
          }
        };
        return { balancer, reload, close: () => this.closing() };
      },
      die: (signal) => this.died.push(signal),
      outputClosed: this.outputClosed.signal,
      now: () => 0,
      ...change,
    });
  }

  /** Resolves with the next event of that name. */
  async next<E extends DaemonEvent['event']>(name: E): Promise<DaemonEvent & { readonly event: E }> {
    const [event] = await once(this.#arrivals, name);
    return event;
  }

  get names(): readonly string[] {
    return this.events.map((event) => event.event);
  }
}
