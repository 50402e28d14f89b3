// Takes TCP connections at every local address until it is killed: the servers of the health benchmark.
//   node listener.mjs PORT
// Plain Node, forked. Thread: main.
import { createServer } from 'node:net';

const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.resume();
});
server.listen({ port: Number(process.argv[2]), host: '0.0.0.0', backlog: 4096 }, () => process.send('listening'));
