// A program that embeds the balancer and then does what no program should: it blocks its event loop.
// Argument: the configuration file. Prints JSON lines; SIGUSR2 blocks the loop for three seconds.
import { createLoadBalancer } from '../../../dist/index.js';

const [configFile] = process.argv.slice(2);
const blockMilliseconds = 3_000;

const balancer = await createLoadBalancer(configFile);

function received() {
  return Number(balancer.stats().totals.rxPackets);
}

function report(event) {
  console.log(JSON.stringify({ event, time: performance.now(), received: received() }));
}

report('ready');
const timer = setInterval(() => report('stats'), 200);
process.on('SIGUSR2', () => {
  report('blocking');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMilliseconds);
  report('free');
});
await new Promise((resolve) => process.once('SIGTERM', resolve));
clearInterval(timer);
await balancer.close();
