// ipvsadm against the running balancer: a command line works on a table made of the configuration in force and the dataplane's counters,
// and what it has changed of the table becomes one atomic change of the desired state.
// Guarantees: prints and returns what ipvsadm does; command lines run one after the other; a change that is refused leaves everything as
// it was, with one line on stderr and status 255; the dataplane's counters are never reset. docs/ipvsadm.md has the differences.
// Thread: main.
import { readFileSync } from 'node:fs';
import { SCHEDULERS } from '../config/scheduler-names.js';
import type { Config } from '../config/schema.js';
import { SerialQueue } from '../control/serial-queue.js';
import type { Stats } from '../control/stats.js';
import { ConfigurationError, MillraceError } from '../errors.js';
import { TICK_S } from '../ipvs/estimator.js';
import type { CounterSource } from '../ipvs/model.js';
import { type Resolver, resolverFromFiles } from '../ipvs/names.js';
import { type OwnWords, takeOwnWords } from '../ipvs/own-words.js';
import { procConnections, procStats, procTable } from '../ipvs/print-proc.js';
import { runIpvsadm } from '../ipvs/run.js';
import { IpvsTable } from '../ipvs/table.js';
import type { DesiredState, Operation } from '../state/desired.js';
import { refusalOf } from './refusals.js';
import { type ConnectionListing, listConnections, type SessionSource } from './to-connections.js';
import { type Mark, operationsFor } from './to-operations.js';
import { contentOf, type TableContent } from './to-table.js';
import { Traffic } from './traffic.js';

export interface IpvsDoorOptions {
  readonly state: Pick<DesiredState, 'config' | 'version' | 'change'>;
  /** Sessions are asked for only by a command line that lists connections. */
  readonly balancer: { stats(): Pick<Stats, 'services' | 'servers'> } & SessionSource;
  /** Asked for once for each command line that needs it; without it /etc/hosts and /etc/services are read. */
  readonly resolver?: () => Resolver;
}

export interface IpvsadmOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** What one run of a command line has come to. */
interface Work {
  readonly outcome: IpvsadmOutcome;
  readonly operations: readonly Operation[];
  /** It lists connections. */
  readonly wantsConnections: boolean;
}

/** Changes of others that may come in between, one after another, before it is an error. */
const TRIES = 5;

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

function systemResolver(): Resolver {
  return resolverFromFiles({ hosts: readOr('/etc/hosts', ''), services: readOr('/etc/services', '') });
}

/** Looks names up only when a name is needed. */
function lazyResolver(make: () => Resolver): Resolver {
  let made: Resolver | undefined;
  const resolver = (): Resolver => {
    made ??= make();
    return made;
  };
  return {
    addressOf: (name) => resolver().addressOf(name),
    nameOf: (address) => resolver().nameOf(address),
    portOf: (name, protocol) => resolver().portOf(name, protocol),
    serviceOf: (port, protocol) => resolver().serviceOf(port, protocol),
  };
}

/** An error of the catalogue in one line, as scripts around ipvsadm expect it. */
function oneLine(error: MillraceError): string {
  const problems = error instanceof ConfigurationError ? error.problems : [];
  const [first] = problems;
  if (first === undefined) return `millrace: ${error.message} ${error.remedy}`.replaceAll(/\s*\n\s*/g, ' ');
  const more = problems.length === 1 ? '' : ` (and ${problems.length - 1} more)`;
  const place = first.path === '' ? '' : `${first.path}: `;
  return `millrace: ${place}${first.reason}; ${first.remedy}${more}`.replaceAll(/\s*\n\s*/g, ' ');
}

export class IpvsDoor {
  readonly #options: IpvsDoorOptions;
  readonly #queue = new SerialQueue();
  readonly #traffic = new Traffic();
  /** What marks stood for, also those of services that have been deleted since: -A -f brings them back. */
  readonly #marks: Map<number, Mark> = new Map();
  #shown: { readonly version: string; readonly content: TableContent } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: IpvsDoorOptions) {
    this.#options = options;
  }

  /** Begins to estimate rates, which --rate shows. Keeps no process alive. */
  start(): this {
    this.#timer ??= setInterval(() => this.tick(), TICK_S * 1000).unref();
    return this;
  }

  /** One tick of the estimator; start() calls it every two seconds. */
  tick(): void {
    this.#traffic.observe(this.#options.balancer.stats());
    this.#traffic.tick();
  }

  /** Ends what start() began. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Runs a command line: the words after the program's name, and standard input for -R. Before the command may stand --dpvs (the options
   * of DPVS's ipvsadm) and --verbose (what the table leaves out, on stderr); `--proc NAME` shows a file of /proc/net.
   * Rejects only with what is no error of the catalogue.
   */
  run(argv: readonly string[], stdin = ''): Promise<IpvsadmOutcome> {
    return this.#queue.run(() => this.#run(takeOwnWords(argv), stdin));
  }

  async #run(words: OwnWords, stdin: string): Promise<IpvsadmOutcome> {
    const { state } = this.#options;
    let listing: ConnectionListing | undefined;
    for (let tries = 1; ; tries += 1) {
      const expected = state.version;
      const { outcome, operations, wantsConnections } = this.#work(words, stdin, state.config, listing);
      try {
        if (wantsConnections && listing === undefined) {
          // Only the run itself shows what a command line lists, -R above all; nothing is in force yet, and it is run again.
          listing = await this.#listConnections(words);
          continue;
        }
        if (operations.length > 0) await state.change(operations, { expected });
        return outcome;
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        // Somebody else's change came in between: the command line is run again, on what there is now.
        if (error.code === 'MILLRACE_E_VERSION_CONFLICT' && tries < TRIES) continue;
        const stdout = wantsConnections && listing === undefined ? '' : outcome.stdout;
        return { stdout, stderr: `${outcome.stderr}${oneLine(error)}\n`, exitCode: 255 };
      }
    }
  }

  #listConnections({ argv, dialect }: OwnWords): Promise<ConnectionListing> {
    return listConnections(this.#options.balancer, argv[0] === '--proc' ? 'millrace' : dialect);
  }

  #work(words: OwnWords, stdin: string, config: Config, listing: ConnectionListing | undefined): Work {
    const content = this.#contentOf(config);
    for (const { mark, match, name } of config.services)
      if (mark !== undefined && match !== undefined) this.#marks.set(mark, { name, match });
    this.#traffic.observe(this.#options.balancer.stats());
    let wantsConnections = false;
    const table = this.#table(content, () => {
      wantsConnections = true;
      return listing?.connections ?? [];
    });
    const outcome = this.#command(words, stdin, config, table);
    const services = content.leftOut.map(({ service, reason }) => `service ${service} is not in the table: ${reason}`);
    const leftOut = [...services, ...(listing?.leftOut ?? [])].map((note) => `millrace: ${note}\n`);
    return {
      outcome: words.verbose ? { ...outcome, stderr: `${leftOut.join('')}${outcome.stderr}` } : outcome,
      operations: operationsFor(config, content, table, this.#marks),
      wantsConnections,
    };
  }

  /** The same as before while the configuration is the same: listings come more often than changes. */
  #contentOf(config: Config): TableContent {
    const { version } = this.#options.state;
    if (this.#shown?.version !== version) this.#shown = { version, content: contentOf(config) };
    return this.#shown.content;
  }

  #table(content: TableContent, connections: CounterSource['connections']): IpvsTable {
    return new IpvsTable({
      ...content,
      counters: this.#traffic.source(connections),
      schedulers: SCHEDULERS.map(({ name }) => name),
      engines: [],
    });
  }

  #command({ argv, dialect }: OwnWords, stdin: string, config: Config, table: IpvsTable): IpvsadmOutcome {
    if (argv[0] === '--proc') return this.#proc(argv[1], table);
    let [stdout, stderr] = ['', ''];
    const facts = { config, marks: this.#marks, dialect };
    const { exitCode } = runIpvsadm(
      argv,
      {
        stdout: (text) => {
          stdout += text;
        },
        stderr: (text) => {
          stderr += text;
        },
        stdin: () => stdin,
        resolver: lazyResolver(this.#options.resolver ?? systemResolver),
        dialect,
        refuse: (request) => {
          const reason = refusalOf(request, table, facts);
          return reason === undefined ? undefined : `millrace: ${reason}`;
        },
      },
      table,
    );
    return { stdout, stderr, exitCode };
  }

  #proc(name: string | undefined, table: IpvsTable): IpvsadmOutcome {
    const refused = (exitCode: number, reason: string) => ({ stdout: '', stderr: `millrace: ${reason}\n`, exitCode });
    if (name === 'ip_vs') return { stdout: procTable(table), stderr: '', exitCode: 0 };
    if (name === 'ip_vs_stats') return { stdout: procStats(this.#traffic.all()), stderr: '', exitCode: 0 };
    if (name !== 'ip_vs_conn') return refused(2, `there is no file ${name ?? ''}: files are ip_vs, ip_vs_conn and ip_vs_stats`);
    return { stdout: procConnections(table), stderr: '', exitCode: 0 };
  }
}
