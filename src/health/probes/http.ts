// HTTP and HTTPS checks: one request, and what its answer must be.
// Guarantees: reads at most 1 MiB of a body; redirects are not followed, they are a status like another.
// Thread: a health worker.
import { createHash } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import type { HealthCheckConfig } from '../../config/schema.js';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import { openStream, openTls } from '../sockets.js';
import type { CheckTarget } from '../target.js';

const MAX_BODY = 1_048_576;

/** One connection a target, where it is asked for. */
const agents = new Map<string, Agent>();

/** Keeps connections that are made as those of all checks are: from the interface and with the mark that are asked for. */
class KeepingAgent extends Agent {
  readonly #target: CheckTarget;

  constructor(target: CheckTarget) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#target = target;
  }

  override createConnection(): Socket {
    return open(this.#target);
  }
}

function open(target: CheckTarget): Socket {
  return target.type === 'https' ? openTls(target, ['http/1.1']) : openStream(target);
}

function agentOf(target: CheckTarget): Agent {
  const known = agents.get(target.id);
  if (known !== undefined) return known;
  const made = new KeepingAgent(target);
  agents.set(target.id, made);
  return made;
}

/** Closes what a target that is not checked any more has kept open. */
export function forgetConnections(id: string): void {
  agents.get(id)?.destroy();
  agents.delete(id);
}

/** "200-399" and the like. */
export function statusIsGood(status: number, wanted: readonly string[] = ['200-399']): boolean {
  return wanted.some((range) => {
    const [low = 0, high = low] = range.split('-').map(Number);
    return status >= low && status <= high;
  });
}

function hostOf({ address, port, family, type, check }: CheckTarget): string {
  const host = check.host ?? (family === 6 ? `[${address}]` : address);
  return check.host !== undefined || port === (type === 'https' ? 443 : 80) ? host : `${host}:${port}`;
}

function headersOf(target: CheckTarget): Record<string, string> {
  const own = (target.check.headers ?? []).map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return {
    host: hostOf(target),
    'user-agent': 'millrace-health',
    connection: target.check.keepAlive === true ? 'keep-alive' : 'close',
    ...Object.fromEntries(own),
  };
}

function ask(target: CheckTarget, answered: (response: IncomingMessage) => void): ClientRequest {
  const { check } = target;
  const options = {
    method: check.method ?? 'GET',
    path: check.path ?? '/',
    headers: headersOf(target),
    setHost: false,
    ...(check.keepAlive === true ? { agent: agentOf(target) } : { createConnection: () => open(target) }),
  };
  return request(options, answered);
}

/** Whether the body is as it must be; undefined where it is. */
function faultOf(body: Buffer, { contains, matches, matchFlags = '', digest }: HealthCheckConfig): string | undefined {
  if (contains !== undefined && !body.includes(contains)) return `the body does not contain "${contains}"`;
  if (matches !== undefined && !new RegExp(matches, `u${matchFlags}`).test(body.toString('utf8')))
    return `the body does not match ${matches}`;
  if (digest === undefined) return undefined;
  const found = createHash(digest.length === 32 ? 'md5' : 'sha256')
    .update(body)
    .digest('hex');
  return found === digest.toLowerCase() ? undefined : `the digest of the body is ${found}`;
}

export function checkHttp(target: CheckTarget): Promise<Outcome> {
  const { check } = target;
  const bodyMatters = check.contains !== undefined || check.matches !== undefined || check.digest !== undefined;
  return untilVerdict(target.timeout, (end) => {
    let over = false;
    let closed = false;
    const judge = (response: IncomingMessage, body: Buffer): void => {
      const fault = faultOf(body, check);
      end(fault === undefined ? good(`status ${response.statusCode}`) : bad(fault));
    };
    const hear = (response: IncomingMessage): void => {
      const status = response.statusCode ?? 0;
      if (!statusIsGood(status, check.status)) {
        end(bad(`status ${status}`));
        return;
      }
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (bodyMatters && length <= MAX_BODY) chunks.push(chunk);
        if (length > MAX_BODY) judge(response, Buffer.concat(chunks));
      });
      response.on('end', () => {
        over = true;
        judge(response, Buffer.concat(chunks));
      });
      response.on('error', (error) => end(bad(describeFailure(error))));
    };
    const send = (): ClientRequest => {
      const request = ask(target, hear);
      request.on('error', (error) => {
        // The server has closed the kept connection while this was on its way: that is no answer, and a new connection may have one.
        if (request.reusedSocket && !closed) outgoing = send();
        else end(bad(describeFailure(error)));
      });
      request.end();
      return request;
    };
    let outgoing = send();
    // A connection that is kept is not torn down after a whole answer.
    return () => {
      closed = true;
      if (!(over && check.keepAlive === true)) outgoing.destroy();
    };
  });
}
