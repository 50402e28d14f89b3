// A program that embeds the balancer and serves its metrics on loopback.
// Arguments: the configuration file, the port. Prints "ready"; SIGTERM ends it.
import { createServer } from 'node:http';
import { createLoadBalancer, versions } from '../../../dist/index.js';
import { createMetrics } from '../../../dist/metrics/metrics.js';
import { ReloadRecorder } from '../../../dist/metrics/reload-recorder.js';
import { loadNative } from '../../../dist/native.js';

const [configFile, port] = process.argv.slice(2);

const balancer = await createLoadBalancer(configFile);
const reloads = new ReloadRecorder();
const metrics = createMetrics({ balancer, counterInfo: loadNative().counterInfo(), versions, reloads });
const server = createServer((_, response) => {
  metrics.metrics().then(
    ({ contentType, body }) => response.writeHead(200, { 'content-type': contentType }).end(body),
    (error) => response.writeHead(500).end(String(error)),
  );
});
server.listen(Number(port), '127.0.0.1', () => console.log('ready'));
await new Promise((resolve) => process.once('SIGTERM', resolve));
server.closeAllConnections();
server.close();
metrics.close();
await balancer.close();
