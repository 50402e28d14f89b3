// Requests per second over the API's unix socket, beside a bare HTTP server of Node in the same process that answers the same bytes.
// Plain Node on the built package. Guarantees: both are asked by the same program over as many connections; the answers compared are the
// bytes that the API gave.
// Thread: main; who asks is a process of its own.
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { join } from 'node:path';
import { serveApi } from '../../dist/api/listen.js';
import { startHelper } from './health.mjs';

const CONNECTIONS = 8;

export async function api({ state, directory, seconds }) {
  const socket = join(directory, 'api.sock');
  const running = await serveApi({ socket, mode: '0600' }, partsOf(state));
  try {
    const results = {};
    for (const path of ['/api/v1/status', '/api/v1/services/service-7']) {
      const body = await answerOf(socket, path);
      const measured = await ask(socket, path, seconds);
      results[path] = { ...measured, bytes: body.length, bare: await bare(directory, path, body, seconds) };
    }
    return results;
  } finally {
    await running.close(0);
  }
}

function partsOf(state) {
  return {
    desired: state,
    balancer: state.balancer,
    now: Date.now,
    started: Date.now(),
    lastReload: () => undefined,
    failed: (error) => {
      throw error;
    },
    readiness: () => ({ ready: true, checks: [] }),
    metrics: async () => ({ contentType: 'text/plain', body: '' }),
  };
}

async function answerOf(socketPath, path) {
  const [response] = await once(get({ socketPath, path }), 'response');
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function bare(directory, path, body, seconds) {
  const socket = join(directory, 'bare.sock');
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json; charset=utf-8');
    response.setHeader('content-length', body.length);
    response.end(body);
  });
  await new Promise((resolve) => server.listen(socket, resolve));
  try {
    return await ask(socket, path, seconds);
  } finally {
    server.close();
  }
}

async function ask(socket, path, seconds) {
  const child = startHelper('requests', socket, path, CONNECTIONS, seconds);
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the program that asks ended with ${code}`);
  });
  failed.catch(() => undefined);
  const [result] = await Promise.race([once(child, 'message'), failed]);
  return result;
}
