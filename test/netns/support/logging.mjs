// A program that embeds the balancer and drains its workers' logs. Arguments: the configuration file, and what to do.
//   watch    until SIGTERM; the balancer stops first, while the logs are drained. Its standard error is a pipe that nobody reads; SIGUSR1
//            makes the program read the pipe's other end, descriptor 3
//   cycles   starts and stops balancers that are under load, ten times, and closes each while its logs are drained
// Prints JSON lines.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { createLoadBalancer } from '../../../dist/index.js';
import { LogDrain } from '../../../dist/logs/log-drain.js';

const [configFile, what] = process.argv.slice(2);
const failures = [];
const say = (event, more) => console.log(JSON.stringify({ event, ...more }));

async function start() {
  const balancer = await createLoadBalancer(configFile);
  const drain = new LogDrain({ config: balancer.config.logs, failed: (error) => failures.push(error.message) });
  await drain.start(balancer.logSource());
  return { balancer, drain };
}

function countsOf(balancer) {
  const { totals } = balancer.stats();
  return { received: Number(totals.rxPackets), refused: Number(totals.drops.no_server ?? 0) };
}

async function watch() {
  const { balancer, drain } = await start();
  const pipe = { lines: 0, wrong: 0, told: 0, sample: undefined };
  const report = async (event) => say(event, { ...countsOf(balancer), logs: await drain.stats(), pipe, failures });
  let reader;
  await report('ready');
  const timer = setInterval(() => void report('stats'), 200);
  process.on('SIGUSR1', () => {
    // Another process, which opens the pipe anew: a read of our own would wait in Node's pool at the end, and Node makes the description
    // of its standard error, which descriptor 3 shares, non-blocking.
    reader = spawn('cat', ['/proc/self/fd/3'], { stdio: ['ignore', 'pipe', 'ignore', 3] });
    createInterface({ input: reader.stdout }).on('line', (line) => {
      pipe.lines++;
      try {
        const entry = JSON.parse(line);
        if (entry.event === 'no_server' && entry.client !== undefined) pipe.sample ??= entry;
        if (entry.msg.startsWith('lines were lost')) pipe.told++;
      } catch {
        pipe.wrong++;
      }
    });
  });
  await new Promise((resolve) => process.once('SIGTERM', resolve));
  clearInterval(timer);
  await balancer.close();
  say('stopped', { logs: await drain.stop(), failures });
  reader?.kill();
}

async function cycles() {
  for (let round = 0; round < 10; round++) {
    const { balancer, drain } = await start();
    const before = countsOf(balancer);
    while (countsOf(balancer).refused - before.refused < 100) await new Promise((resolve) => setTimeout(resolve, 5));
    // The drain goes on meanwhile, and must find the rings as they were left.
    await balancer.close();
    const last = Number(balancer.stats().totals.logRecords);
    const logs = await drain.stop();
    say('round', { round, written: last, read: logs.records, logs });
  }
  say('done', { failures });
}

await (what === 'cycles' ? cycles() : watch());
