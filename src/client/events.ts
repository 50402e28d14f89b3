// The stream of events of a daemon, across lost connections.
// Guarantees: an event is given once and in order: a new connection asks for what came after the last one (Last-Event-ID); a first
// connection that fails is an error, later ones are tried again with growing pauses; ends without an error when the signal says so.
// Thread: main.
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createError, MillraceError } from '../errors.js';
import { fromApiError, parseJson } from './api-error.js';
import { SseParser } from './sse.js';
import { type ApiTarget, describeTarget } from './target.js';
import { readText, send, unreachable } from './transport.js';

/** One event: what the daemon sent, with its kind, its time (milliseconds since 1970) and the id to go on from. */
export interface ApiEvent {
  readonly id: string;
  readonly kind: string;
  readonly time: number;
  /** All else that it carries. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface EventOptions {
  /** Id of the last event that is known already. */
  readonly after?: string;
  readonly signal?: AbortSignal;
  /** Told of each lost connection, and how long it is waited (milliseconds) before the next is tried. */
  readonly onLost?: (error: MillraceError, wait: number) => void;
  /** First pause before a new connection, milliseconds; doubles up to 30 s. Default 500, or what the daemon says. */
  readonly retry?: number;
}

const LONGEST_PAUSE = 30_000;

export async function* readEvents(target: ApiTarget, path: string, options: EventOptions): AsyncGenerator<ApiEvent, void, void> {
  const { signal } = options;
  let last = options.after ?? '';
  let retry = options.retry ?? 500;
  let pause = retry;
  let connected = false;
  while (signal?.aborted !== true) {
    let lost: MillraceError;
    try {
      const response = await connect(target, path, last, signal);
      if (response === undefined) return;
      connected = true;
      const parser = new SseParser(last);
      for await (const bytes of response as AsyncIterable<Buffer>) {
        for (const { id, event, data } of parser.push(bytes)) {
          pause = retry;
          last = id;
          yield toEvent(target, id, event, data);
        }
        retry = parser.retry ?? retry;
      }
      lost = createError('MILLRACE_E_NO_DAEMON', `${describeTarget(target)} has ended the stream of events`);
    } catch (error) {
      if (signal?.aborted) return;
      lost = error instanceof MillraceError ? error : unreachable(target, error);
      // What is refused once is refused the next time too.
      if (!connected || lost.code !== 'MILLRACE_E_NO_DAEMON') throw lost;
    }
    options.onLost?.(lost, pause);
    await sleep(pause, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

/** undefined: there is nothing to be had, now or later (status 204). */
async function connect(
  target: ApiTarget,
  path: string,
  last: string,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage | undefined> {
  const response = await send(target, {
    method: 'GET',
    path,
    headers: { accept: 'text/event-stream', 'cache-control': 'no-store', ...(last === '' ? {} : { 'last-event-id': last }) },
    ...(signal === undefined ? {} : { signal }),
  });
  const status = response.statusCode ?? 0;
  if (status === 204) {
    response.resume();
    return undefined;
  }
  if (status >= 500) {
    response.resume();
    throw createError('MILLRACE_E_NO_DAEMON', `no daemon answers at ${describeTarget(target)}: status ${status}`);
  }
  if (status !== 200) throw fromApiError(describeTarget(target), status, await readText(target, response, signal));
  const type = String(response.headers['content-type']);
  if (!type.startsWith('text/event-stream')) {
    response.destroy();
    throw createError('MILLRACE_E_API_ANSWER', `${describeTarget(target)} answered with ${type} in place of a stream of events`);
  }
  // A peer that vanished without a word is noticed by the kernel; the stream itself may be silent for long.
  response.socket.setKeepAlive(true, 15_000);
  return response;
}

function toEvent(target: ApiTarget, id: string, kind: string, data: string): ApiEvent {
  const value = parseJson(data);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw createError('MILLRACE_E_API_ANSWER', `an event of ${describeTarget(target)} is no JSON object`);
  const { kind: _kind, time, ...details } = value as Record<string, unknown>;
  if (typeof time !== 'number') throw createError('MILLRACE_E_API_ANSWER', `an event of ${describeTarget(target)} has no time`);
  return { id, kind, time, details };
}
