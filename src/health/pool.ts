// The health workers as the main thread sees them: which worker checks what, and what they report.
// Guarantees: no thread before there is something to check; a target stays with its worker; a worker that dies is replaced and its
// targets are checked anew.
// Thread: main; the checks run in piscina's threads.
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { FromWorker, Lateness, ToWorker } from './messages.js';
import type { Change, TargetStatus } from './runner.js';
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
  set(targets: readonly CheckTarget[]): void;
  remove(ids: readonly string[]): void;
  status(): Promise<{ readonly targets: readonly TargetStatus[]; readonly lateness: readonly Lateness[] }>;
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

interface Member {
  readonly port: MessagePort;
  readonly targets: Map<string, CheckTarget>;
}

export class CheckerPool implements Checkers {
  readonly #parts: PoolParts;
  readonly #members: Member[] = [];
  readonly #homes = new Map<string, Member>();
  readonly #answers = new Map<number, (answer: FromWorker & { readonly kind: 'status' }) => void>();
  #piscina: Piscina | undefined;
  #request = 0;
  #closed = false;
  #referenced = true;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  set(targets: readonly CheckTarget[]): void {
    const work = new Map<Member, CheckTarget[]>();
    for (const target of targets) {
      const member = this.#homes.get(target.id) ?? this.#leastLoaded();
      member.targets.set(target.id, target);
      this.#homes.set(target.id, member);
      const share = work.get(member);
      if (share === undefined) work.set(member, [target]);
      else share.push(target);
    }
    for (const [member, share] of work) send(member, { kind: 'set', targets: share });
  }

  remove(ids: readonly string[]): void {
    const work = new Map<Member, string[]>();
    for (const id of ids) {
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
    for (const member of this.#members) send(member, { kind: 'stop' });
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
    const member: Member = { port: port1, targets: new Map() };
    this.#members.push(member);
    port1.on('message', (message: FromWorker) => this.#hear(message));
    this.#piscina.run({ port: port2 }, { transferList: [port2] }).then(
      () => this.#lose(member, undefined),
      (error: unknown) => this.#lose(member, error),
    );
    if (!this.#referenced) this.unref();
    return member;
  }

  #hear(message: FromWorker): void {
    if (message.kind === 'changes') {
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
    for (const id of member.targets.keys()) this.#homes.delete(id);
    this.set([...member.targets.values()]);
  }
}

function send(member: Member, message: ToWorker): void {
  member.port.postMessage(message);
}
