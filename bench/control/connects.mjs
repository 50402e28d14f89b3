// The baseline of the health benchmark: connections at a rate, each closed as soon as it is there, and nothing else.
//   node connects.mjs PORT TARGETS INTERVAL SECONDS
// Plain Node, forked; sends { cpuShare, perSecond, failed, mean, worst } when it ends. Thread: main.
import { connect } from 'node:net';

const [port, targets, interval, seconds] = process.argv.slice(2).map(Number);
const begin = performance.now();
const late = { total: 0, worst: 0 };
let [next, failed] = [0, 0];
let cpu = process.cpuUsage();
const perMillisecond = targets / (interval * 1000);

function one(n) {
  const target = n % targets;
  const socket = connect({ host: `127.2.${target >> 8}.${target & 255}`, port });
  socket.once('connect', () => socket.destroy());
  socket.once('error', () => {
    failed += 1;
  });
}

function turn() {
  const now = performance.now() - begin;
  for (; next < now * perMillisecond; next++) {
    const lateness = now - next / perMillisecond;
    late.total += lateness;
    late.worst = Math.max(late.worst, lateness);
    one(next);
  }
  if (now < seconds * 1000) {
    setTimeout(turn, 1);
    return;
  }
  const { user, system } = process.cpuUsage(cpu);
  const spent = (performance.now() - begin) / 1000;
  process.send({
    cpuShare: (user + system) / 1e6 / spent,
    perSecond: next / spent,
    failed,
    mean: late.total / next,
    worst: late.worst,
  });
  process.disconnect();
}

cpu = process.cpuUsage();
turn();
