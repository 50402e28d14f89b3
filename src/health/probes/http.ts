// HTTP and HTTPS checks: one request, and what its answer must be.
// Guarantees: reads at most 1 MiB of a body; redirects are not followed, they are a status like another.
// Thread: a health worker.
import { createHash } from 'node:crypto';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { request as requestTls, Agent as TlsAgent } from 'node:https';
import type { HealthCheckConfig } from '../../config/schema.js';
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import { openStream, openTls, tlsOptions } from '../sockets.js';
import type { CheckTarget } from '../target.js';

const MAX_BODY = 1_048_576;

/** One connection a target, where it is asked for. */
const agents = new Map<string, Agent | TlsAgent>();

function agentOf(target: CheckTarget): Agent | TlsAgent | false {
  if (target.check.keepAlive !== true) return false;
  const known = agents.get(target.id);
  if (known !== undefined) return known;
  const options = { keepAlive: true, maxSockets: 1, ...(target.type === 'https' ? tlsOptions(target.check) : {}) };
  const made = target.type === 'https' ? new TlsAgent(options) : new Agent(options);
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
  const { address, port, check } = target;
  // Connections of our own making take no part in an agent's keeping.
  const own = check.bindInterface !== undefined || check.mark !== undefined;
  const options = {
    host: address,
    port,
    method: check.method ?? 'GET',
    path: check.path ?? '/',
    headers: headersOf(target),
    setHost: false,
    ...(own
      ? { createConnection: () => (target.type === 'https' ? openTls(target) : openStream(target)) }
      : { agent: agentOf(target) }),
    ...(check.bindAddress === undefined ? {} : { localAddress: check.bindAddress }),
  };
  if (target.type === 'https') {
    return requestTls({ ...options, ...tlsOptions(check) }, answered);
  }
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
    const judge = (response: IncomingMessage, body: Buffer): void => {
      const fault = faultOf(body, check);
      end(fault === undefined ? good(`status ${response.statusCode}`) : bad(fault));
    };
    const outgoing = ask(target, (response) => {
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
    });
    outgoing.on('error', (error) => end(bad(describeFailure(error))));
    outgoing.end();
    // A connection that is kept is not torn down after a whole answer.
    return () => {
      if (!(over && check.keepAlive === true)) outgoing.destroy();
    };
  });
}
