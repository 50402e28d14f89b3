// A UDP client that wants to be refused: sends a datagram and waits for the ICMP error, as the kernel reports it to the socket.
// Guarantees: one JSON line at the end: the error's code, or null if none came; a datagram is sent up to 20 times, 250 ms apart.
// Thread: a process of its own. Arguments: address, port.
import { createSocket } from 'node:dgram';

const [address = '', port = ''] = process.argv.slice(2);
const attempts = 20;

const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
let sent = 0;
const finish = (error: string | null) => {
  console.log(JSON.stringify({ sent, error }));
  process.exit(error === null ? 1 : 0);
};
socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
socket.on('message', () => finish('an answer'));
socket.connect(Number(port), address, () => {
  const send = () => {
    if (sent++ === attempts) return finish(null);
    socket.send('is anybody there?');
  };
  setInterval(send, 250);
  send();
});
