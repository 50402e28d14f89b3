// The health workers as the main thread sees them: which worker checks what, and what they report.
// Guarantees: no thread before there is something to check; a target stays with its worker; a worker that dies is replaced and its
// targets are checked anew from what was told of them last; workers that die again and again are replaced less and less often.
// Thread: main; the checks run in piscina's threads.
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { FromWorker, Lateness, ToWorker } from './messages.js';
import type { Change, Standing, TargetStatus } from './runner.js';
import type { CheckTarget } from './target.js';

/** Targets that one worker takes before there is another one, and how many workers there are at most. */
const TARGETS_PER_WORKER = 2500;
const MAX_WORKERS = 4;

export interface PoolParts {
  readonly report: (changes: readonly Change[]) => void;
  /** A worker died; its checks begin anew in another. */
  readonly failed: (error: unknown) => void;
}

/** What the monitor needs of whoever runs the checks. */
export interface Checkers {
  /** `standings`: what is held of targets that are not checked yet, where it is not what `alpha` says. */
  set(targets: readonly CheckTarget[], standings: ReadonlyMap<string, Standing>): void;
  remove(ids: readonly string[]): void;
  status(): Promise<{ readonly targets: readonly TargetStatus[]; readonly lateness: readonly Lateness[] }>;
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

interface Member {
  readonly port: MessagePort;
  readonly targets: Map<string, CheckTarget>;
  /** Resolves when its thread is done. */
  readonly ended: Promise<void>;
}

/** How long workers have to end by themselves, and the shortest and longest wait for a further one after a second death, milliseconds. */
const LAST_WORDS = 1000;
const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 30_000;
/** Deaths that are further apart than this have nothing to do with each other, milliseconds. */
const UNRELATED = 60_000;

export class CheckerPool implements Checkers {
  readonly #parts: PoolParts;
  readonly #members: Member[] = [];
  readonly #homes = new Map<string, Member>();
  readonly #standings = new Map<string, Standing>();
  /** Those of a worker that died, until there is another one. */
  readonly #orphans = new Map<string, CheckTarget>();
  #adopting: NodeJS.Timeout | undefined;
  #wait = 0;
  #lastDeath = Number.NEGATIVE_INFINITY;
  readonly #answers = new Map<number, (answer: FromWorker & { readonly kind: 'status' }) => void>();
  #piscina: Piscina | undefined;
  #request = 0;
  #closed = false;
  #referenced = true;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  set(targets: readonly CheckTarget[], standings: ReadonlyMap<string, Standing> = new Map()): void {
    const work = new Map<Member, CheckTarget[]>();
    for (const target of targets) {
      this.#orphans.delete(target.id);
      const standing = standings.get(target.id);
      if (standing !== undefined) this.#standings.set(target.id, standing);
      const member = this.#homes.get(target.id) ?? this.#leastLoaded();
      member.targets.set(target.id, target);
      this.#homes.set(target.id, member);
      const share = work.get(member);
      if (share === undefined) work.set(member, [target]);
      else share.push(target);
    }
    for (const [member, share] of work) send(member, { kind: 'set', targets: share, standings: this.#standingsOf(share) });
  }

  remove(ids: readonly string[]): void {
    const work = new Map<Member, string[]>();
    for (const id of ids) {
      this.#standings.delete(id);
      this.#orphans.delete(id);
      const member = this.#homes.get(id);
      if (member === undefined) continue;
      member.targets.delete(id);
      this.#homes.delete(id);
      const share = work.get(member);
      if (share === undefined) work.set(member, [id]);
      else share.push(id);
    }
    for (const [member, share] of work) send(member, { kind: 'remove', ids: share });
  }

  async status(): Promise<{ readonly targets: readonly TargetStatus[]; readonly lateness: readonly Lateness[] }> {
    const answers = await Promise.all(
      this.#members.map(
        (member) =>
          new Promise<FromWorker & { readonly kind: 'status' }>((resolve) => {
            const request = ++this.#request;
            // One that dies before it has answered has nothing to tell.
            const gone = (): void => {
              this.#answers.delete(request);
              resolve({ kind: 'status', request, targets: [], lateness: { checks: 0, mean: 0, worst: 0 } });
            };
            this.#answers.set(request, (answer) => {
              member.port.off('close', gone);
              resolve(answer);
            });
            member.port.once('close', gone);
            send(member, { kind: 'status', request });
          }),
      ),
    );
    return { targets: answers.flatMap(({ targets }) => targets), lateness: answers.map(({ lateness }) => lateness) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#adopting);
    const ended = Promise.all(this.#members.map((member) => member.ended));
    for (const member of this.#members) send(member, { kind: 'stop' });
    await within(LAST_WORDS, ended);
    await this.#piscina?.destroy();
  }

  ref(): void {
    this.#referenced = true;
    for (const thread of this.#piscina?.threads ?? []) thread.ref();
    for (const { port } of this.#members) port.ref();
  }

  unref(): void {
    this.#referenced = false;
    for (const thread of this.#piscina?.threads ?? []) thread.unref();
    for (const { port } of this.#members) port.unref();
  }

  #leastLoaded(): Member {
    const least = this.#members.reduce<Member | undefined>(
      (best, member) => (best === undefined || member.targets.size < best.targets.size ? member : best),
      undefined,
    );
    const full = least === undefined || least.targets.size >= TARGETS_PER_WORKER;
    return full && (least === undefined || this.#members.length < MAX_WORKERS) ? this.#hire() : least;
  }

  #hire(): Member {
    // Asynchronous waiting: a worker that waits by Atomics.wait between tasks would not serve its sockets.
    this.#piscina ??= new Piscina({
      filename: fileURLToPath(new URL('./worker.js', import.meta.url)),
      name: 'check',
      minThreads: 0,
      maxThreads: MAX_WORKERS,
      idleTimeout: 0,
      atomics: 'disabled',
    });
    const { port1, port2 } = new MessageChannel();
    const ended = this.#piscina.run({ port: port2 }, { transferList: [port2] }).then(
      () => this.#lose(member, undefined),
      (error: unknown) => this.#lose(member, error),
    );
    const member: Member = { port: port1, targets: new Map(), ended };
    this.#members.push(member);
    port1.on('message', (message: FromWorker) => this.#hear(message));
    if (!this.#referenced) this.unref();
    return member;
  }

  #hear(message: FromWorker): void {
    if (message.kind === 'changes') {
      for (const { id, up, weight } of message.changes) {
        if (this.#homes.has(id)) this.#standings.set(id, { up, weight });
      }
      this.#parts.report(message.changes);
      return;
    }
    const answer = this.#answers.get(message.request);
    this.#answers.delete(message.request);
    answer?.(message);
  }

  #lose(member: Member, error: unknown): void {
    member.port.close();
    const place = this.#members.indexOf(member);
    if (place >= 0) this.#members.splice(place, 1);
    if (this.#closed) return;
    this.#parts.failed(error);
    for (const [id, target] of member.targets) {
      this.#homes.delete(id);
      this.#orphans.set(id, target);
    }
    const now = performance.now();
    const first = now - this.#lastDeath > UNRELATED;
    this.#lastDeath = now;
    this.#wait = first ? 0 : Math.min(LONGEST_WAIT, Math.max(SHORTEST_WAIT, 2 * this.#wait));
    this.#adopting ??= setTimeout(() => {
      this.#adopting = undefined;
      this.set([...this.#orphans.values()]);
    }, this.#wait).unref();
  }

  #standingsOf(targets: readonly CheckTarget[]): ReadonlyMap<string, Standing> {
    return new Map(
      targets.flatMap(({ id }): [string, Standing][] => {
        const standing = this.#standings.get(id);
        return standing === undefined ? [] : [[id, standing]];
      }),
    );
  }
}

/** Waits for the work, but no longer than `time`, milliseconds. */
async function within(time: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, time);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function send(member: Member, message: ToWorker): void {
  member.port.postMessage(message);
}
