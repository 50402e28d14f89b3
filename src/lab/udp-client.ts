// The UDP client of the lab: sends datagrams from many ports and counts who answered.
// Guarantees: no two sockets have the same port, as all stay open until the end; one JSON line at the end, and an exit code of 0 only if
// every datagram was answered, each by exactly its own text.
// A datagram without an answer is sent again up to 20 times, 250 ms apart; repeats are counted, so that loss does not hide.
// Thread: a process of its own. Arguments: address, port, sockets (source ports), datagrams per socket, bytes per datagram (at least its text).
import { createSocket } from 'node:dgram';
import { hrtime } from 'node:process';

const [address = '', port = '', sockets = '1', datagrams = '1', size = '0'] = process.argv.slice(2);
const repeatAfter = 250;
const attempts = 20;
const atOnce = 64;
const opened: ReturnType<typeof createSocket>[] = [];

const result = { sent: 0, answered: 0, failed: 0, repeated: 0, byServer: {} as Record<string, number>, milliseconds: 0 };

async function converse(number: number): Promise<void> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  opened.push(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.connect(Number(port), address, resolve);
  });
  // After the connection an error is a refusal (ICMP) of one datagram: the repeat decides.
  socket.on('error', () => {});
  for (let round = 0; round < Number(datagrams); round++) {
    const server = await ask(socket, `datagram ${round} of socket ${number} `.padEnd(Number(size), 'fragments in any order '));
    if (server === undefined) result.failed++;
    else {
      result.answered++;
      result.byServer[server] = (result.byServer[server] ?? 0) + 1;
    }
  }
}

/** Resolves with the name of the server that answered, or undefined if none did. */
function ask(socket: ReturnType<typeof createSocket>, text: string): Promise<string | undefined> {
  result.sent++;
  return new Promise((resolve) => {
    let tries = 0;
    const send = () => {
      if (tries++ === attempts) return finish(undefined);
      if (tries > 1) result.repeated++;
      socket.send(text, () => {});
    };
    const timer = setInterval(send, repeatAfter);
    const onMessage = (message: Buffer) => {
      const answer = message.toString();
      const space = answer.indexOf(' ');
      if (answer.slice(space + 1) === text) finish(answer.slice(0, space));
    };
    const finish = (server: string | undefined) => {
      clearInterval(timer);
      socket.off('message', onMessage);
      resolve(server);
    };
    socket.on('message', onMessage);
    send();
  });
}

const start = hrtime.bigint();
const numbers = Array.from({ length: Number(sockets) }, (_, index) => index).values();
await Promise.all(
  Array.from({ length: Math.min(atOnce, Number(sockets)) }, async () => {
    for (const number of numbers) await converse(number);
  }),
);
for (const socket of opened) socket.close();
result.milliseconds = Number((hrtime.bigint() - start) / 1_000_000n);
console.log(JSON.stringify(result));
process.exitCode = result.failed === 0 ? 0 : 1;
