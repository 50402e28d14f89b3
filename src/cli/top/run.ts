// The loop of `millrace top`: look, draw, wait for a key or for the next look.
// Guarantees: ends on q, Ctrl-C, TERM, HUP and INT with the terminal as it was; a daemon that is away is said on the screen and waited
// for, but one that never answered is an error; one look at a time.
// Thread: main.
import type { ApiClient } from '../../client/client.js';
import { describeTarget } from '../../client/target.js';
import { MillraceError } from '../../errors.js';
import { paint } from '../table.js';
import { tableOf } from './columns.js';
import { type Key, press } from './keys.js';
import { HEAD_LINES, layout, type ScreenState, showsUnicode } from './layout.js';
import { advance, type Model, type Sample } from './model.js';
import { Screen, type ScreenInput, type ScreenOutput } from './screen.js';

/** The part of `process` that is used. */
export interface TopProcess {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
  readonly pid: number;
  kill(pid: number, signal: NodeJS.Signals): unknown;
}

export interface TopOptions {
  readonly client: ApiClient;
  readonly input: ScreenInput;
  readonly output: ScreenOutput;
  /** Seconds between two looks. */
  readonly interval: number;
  readonly state: ScreenState;
  readonly environment: NodeJS.ProcessEnv;
  readonly process: TopProcess;
}

/** One look: status, services and workers. */
export async function takeSample(client: ApiClient, signal?: AbortSignal): Promise<Sample> {
  const given = signal === undefined ? {} : { signal };
  const [status, services, workers] = await Promise.all([
    client.call('status', given),
    client.call('services', given),
    client.call('workers', given),
  ]);
  return { at: performance.now(), status, services, workers };
}

/** Shows the table until it is told to end. */
export async function runTop(options: TopOptions): Promise<void> {
  // Before the screen changes: an error is to be read where the command was typed.
  const first = advance(undefined, await takeSample(options.client));
  await new Top(options, first).run();
}

class Top {
  readonly #options: TopOptions;
  readonly #screen: Screen;
  readonly #stop = new AbortController();
  #state: ScreenState;
  #model: Model;
  #trouble: string | undefined;
  #wake: () => void = () => undefined;

  constructor(options: TopOptions, model: Model) {
    this.#options = options;
    this.#state = options.state;
    this.#model = model;
    this.#screen = new Screen(options.input, options.output, (key) => this.#press(key));
  }

  async run(): Promise<void> {
    const { process, output, interval } = this.#options;
    const end = (): void => this.#end();
    const redraw = (): void => this.#draw();
    const signals = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
    for (const signal of signals) process.on(signal, end);
    output.on('resize', redraw);
    output.on('error', end);
    try {
      this.#screen.enter();
      // The first rates are there soon, however long the interval is.
      let wait = Math.min(interval, 1);
      while (!this.#stop.signal.aborted) {
        this.#draw();
        await this.#pause(wait * 1000);
        if (!this.#state.paused && !this.#stop.signal.aborted) await this.#look();
        wait = interval;
      }
    } finally {
      this.#screen.leave();
      for (const signal of signals) process.off(signal, end);
      output.off('resize', redraw);
      output.off('error', end);
    }
  }

  async #look(): Promise<void> {
    try {
      this.#model = advance(this.#model, await takeSample(this.#options.client, this.#stop.signal));
      this.#trouble = undefined;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (!(error instanceof MillraceError)) throw error;
      this.#trouble = error.message;
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #press(key: Key): void {
    const page = Math.max(1, this.#screen.rows - HEAD_LINES);
    const all = tableOf(this.#model, this.#state.view, this.#state.order).rows.length;
    const next = press(this.#state, key, page, Math.max(0, all - page));
    if (next === 'quit') this.#end();
    else if (next === 'suspend') this.#suspend();
    else {
      this.#state = next;
      this.#draw();
    }
  }

  #end(): void {
    this.#stop.abort();
    this.#wake();
  }

  /** Ctrl-Z: the shell gets its terminal back until it lets this process go on. */
  #suspend(): void {
    const { process } = this.#options;
    this.#screen.leave();
    const back = (): void => {
      process.off('SIGCONT', back);
      if (this.#stop.signal.aborted) return;
      this.#screen.enter();
      this.#draw();
    };
    process.on('SIGCONT', back);
    process.kill(process.pid, 'SIGSTOP');
  }

  #draw(): void {
    const { client, output, environment } = this.#options;
    this.#screen.draw(
      layout(this.#model, this.#state, {
        columns: this.#screen.columns,
        rows: this.#screen.rows,
        ink: paint(output, environment),
        unicode: showsUnicode(environment),
        place: describeTarget(client.target),
        ...(this.#trouble === undefined ? {} : { trouble: this.#trouble }),
      }),
    );
  }
}
