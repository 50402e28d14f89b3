// The UDP service of a real server: answers each datagram with the server's name and the datagram, and writes down who asked.
// Guarantees: prints "ready" when all addresses are bound; the log has the line before the answer leaves.
// Thread: a process of its own. Arguments: name, port, log file, one or more addresses.
import { createSocket } from 'node:dgram';
import { openSync, writeSync } from 'node:fs';

const [name = '', port = '', logFile = '', ...addresses] = process.argv.slice(2);
const log = openSync(logFile, 'a');

const bound = addresses.map((address) => {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only: address.includes(':') });
  socket.on('message', (message, peer) => {
    writeSync(log, `${peer.address} ${peer.port}\n`);
    socket.send(Buffer.concat([Buffer.from(`${name} `), message]), peer.port, peer.address);
  });
  return new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(Number(port), address, resolve);
  });
});
await Promise.all(bound);
console.log('ready');
