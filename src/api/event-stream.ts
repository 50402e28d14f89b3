// One reader of /api/v1/events: server-sent events over a response that stays open.
// Guarantees: a reader that does not read is cut off when more than a bound waits for it, and counted; when the reader goes, its timer
// and its place in the hub go with it.
// Thread: main.
import type { ServerResponse } from 'node:http';
import type { EventHub } from './events.js';

export interface StreamOptions {
  readonly lastEventId: string | undefined;
  /** Milliseconds between comments. */
  readonly heartbeat: number;
  /** Bytes that may wait for a reader. */
  readonly maxWaiting?: number;
}

const MAX_WAITING = 2_097_152;

/** Answers with events until the reader goes, is too slow, or the hub closes. */
export function streamEvents(hub: EventHub, response: ServerResponse, options: StreamOptions): void {
  const { lastEventId, heartbeat, maxWaiting = MAX_WAITING } = options;
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // For proxies in between that would collect the answer first.
    'x-accel-buffering': 'no',
  });
  response.write(`retry: 2000\n\n${hub.missed(lastEventId).join('')}`);
  let done = false;
  const end = (): void => {
    if (done) return;
    done = true;
    clearInterval(beating);
    unsubscribe();
  };
  const send = (text: string): void => {
    if (done) return;
    if (response.writableLength > maxWaiting) {
      end();
      response.destroy();
      hub.drop();
      return;
    }
    response.write(text);
  };
  const unsubscribe = hub.subscribe(
    (event) => send(event.text),
    () => {
      end();
      response.end();
    },
  );
  const beating = setInterval(() => send(': still here\n\n'), heartbeat).unref();
  response.once('close', end);
  response.once('error', end);
}
