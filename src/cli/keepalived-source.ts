// A keepalived.conf as the daemon's configuration: read at the start and at each HUP, with the services of a vrrp_instance in force while
// keepalived says that it is MASTER.
// Guarantees: a change of state needs no file: what counts is the configuration that was taken over last, however wrong the file has become.
// Thread: main.
import type { Config } from '../config/schema.js';
import type { FileSource } from '../daemon/file-source.js';
import { loadFromKeepalived } from '../keepalived/import.js';
import type { Report } from '../keepalived/report.js';
import { VrrpFollower } from '../keepalived/vrrp-follower.js';
import { inForce, instancesByAddress } from '../keepalived/vrrp-services.js';
import type { KeepalivedOptions } from './keepalived-options.js';

export interface RunAsOptions extends KeepalivedOptions {
  readonly vrrpFifo?: string;
}

/** All of a file, whatever of it is in force. */
interface Whole {
  readonly config: Config;
  readonly instances: ReadonlyMap<string, string>;
}

export class KeepalivedSource implements FileSource {
  readonly #options: RunAsOptions;
  readonly #warn: (message: string, remedy: string) => void;
  readonly #follower: VrrpFollower | undefined;
  #taken: Whole | undefined;
  #next: Whole | undefined;
  /** The next load is about a state of VRRP, not about the file. */
  #again = false;
  #changed: () => void = () => undefined;

  /** @throws MILLRACE_E_INPUT_INVALID when the fifo cannot be made or is none. */
  constructor(options: RunAsOptions, warn: (message: string, remedy: string) => void) {
    this.#options = options;
    this.#warn = warn;
    if (options.vrrpFifo === undefined) return;
    this.#follower = new VrrpFollower({ fifo: options.vrrpFifo, changed: () => this.#changed() });
  }

  async load(file: string, { signal }: { readonly signal?: AbortSignal }): Promise<Config> {
    const again = this.#again;
    this.#again = false;
    this.#next = again && this.#taken !== undefined ? this.#taken : await this.#read(file, signal);
    const { config, instances } = this.#next;
    return this.#follower === undefined ? config : inForce(config, instances, this.#follower.states);
  }

  accepted(): void {
    this.#taken = this.#next;
  }

  follow(changed: () => void): void {
    this.#changed = changed;
    // What was heard while it started.
    if (this.#follower !== undefined) changed();
  }

  close(): void {
    this.#follower?.close();
  }

  beside(): void {
    this.#again = true;
  }

  async #read(file: string, signal: AbortSignal | undefined): Promise<Whole> {
    const { interface: interfaces, localAddress: localAddresses } = this.#options;
    const imported = await loadFromKeepalived(file, { ...this.#options, interfaces, localAddresses, signal }, (reports) =>
      this.#tell(reports),
    );
    return { config: imported.config, instances: instancesByAddress(imported.file.kept) };
  }

  #tell(reports: readonly Report[]): void {
    for (const { kind, file, line, column, reason, remedy } of reports) {
      if (kind !== 'note') this.#warn(`${file}:${line}:${column}: ${reason}`, remedy);
    }
  }
}
