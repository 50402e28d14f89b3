// /healthz, /readyz and /metrics: what balancers in front, supervisors and Prometheus ask for. Served beside the API, and alone on a
// listener without TLS.
// Guarantees: /healthz answers as long as the event loop turns, whatever else is wrong; a failure to find out is "not ready".
// Thread: main.
import type { FastifyInstance } from 'fastify';
import type { ProbeParts, Readiness } from './parts.js';

const TEXT = 'text/plain; charset=utf-8';

/** Adds the three routes; `app` must have the validators and the error handler of server.ts. */
export function addProbes(app: FastifyInstance, parts: ProbeParts): void {
  const verbose = {
    type: 'object',
    properties: { verbose: { type: 'string', description: 'Lists the checks.' } },
    additionalProperties: false,
  };
  const schema = (summary: string): object => ({ summary, response: { 200: { type: 'string' } }, produces: ['text/plain'] });
  app.get('/healthz', { schema: schema('Whether the process is alive.'), exposeHeadRoute: true }, async (_request, reply) => {
    return reply.header('cache-control', 'no-store').type(TEXT).send('ok\n');
  });
  app.get(
    '/readyz',
    {
      schema: {
        ...schema('Whether new connections should come here.'),
        querystring: verbose,
        response: { 200: { type: 'string' }, 503: { type: 'string' } },
      },
      exposeHeadRoute: true,
    },
    async (request, reply) => {
      const found = await readiness(parts);
      const ready = found.ready && found.draining !== true;
      const lines = (request.query as { readonly verbose?: string }).verbose === undefined ? [] : describe(found);
      const text = [...lines, ready ? 'ready' : 'not ready', ''].join('\n');
      return reply
        .code(ready ? 200 : 503)
        .header('cache-control', 'no-store')
        .type(TEXT)
        .send(text);
    },
  );
  app.get('/metrics', { schema: schema('Metrics for Prometheus.'), exposeHeadRoute: true }, async (_request, reply) => {
    const { contentType, body } = await parts.metrics();
    return reply.header('cache-control', 'no-store').type(contentType).send(body);
  });
}

async function readiness(parts: ProbeParts): Promise<Readiness> {
  try {
    return await parts.readiness();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { ready: false, checks: [{ name: 'readiness', ok: false, message }] };
  }
}

function describe({ checks, draining }: Readiness): string[] {
  return [
    ...checks.map(
      ({ name, ok, message }) => `[${ok ? '+' : '-'}] ${name}${message === undefined ? '' : `: ${oneLine(message)}`}`,
    ),
    ...(draining === true ? ['[-] draining'] : []),
  ];
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}
