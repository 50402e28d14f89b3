// Asks an HTTP server on a unix socket the same question over kept-alive connections, one at a time on each, as fast as it answers.
//   node requests.mjs SOCKET PATH CONNECTIONS SECONDS
// Plain Node, forked; sends { perSecond, median, p99 } when it ends. Guarantees: an answer that is none, or no 200, ends it with an error.
// Thread: main.
import { connect } from 'node:net';

const [socketPath, path, connections, seconds] = process.argv.slice(2);
const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
const end = performance.now() + Number(seconds) * 1000;
const begin = performance.now();
const waits = [];

function client() {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let [text, asked] = ['', 0];
    const ask = () => {
      text = '';
      asked = performance.now();
      socket.write(request);
    };
    socket.setEncoding('latin1');
    socket.on('connect', ask);
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk;
      const head = text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /content-length: (\d+)/i.exec(text.slice(0, head));
      if (!text.startsWith('HTTP/1.1 200') || length === null) {
        reject(new Error(`unexpected answer: ${text.slice(0, 500)}`));
        return;
      }
      if (text.length < head + 4 + Number(length[1])) return;
      const now = performance.now();
      waits.push(now - asked);
      if (now < end) ask();
      else socket.end(resolve);
    });
  });
}

await Promise.all(Array.from({ length: Number(connections) }, client));
const spent = (performance.now() - begin) / 1000;
waits.sort((a, b) => a - b);
process.send({
  perSecond: waits.length / spent,
  median: waits[Math.floor(waits.length / 2)],
  p99: waits[Math.floor(waits.length * 0.99)],
});
process.disconnect();
