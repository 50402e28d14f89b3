// The service of a real server that takes large requests: answers each with the server's name and the digest of the body.
// Guarantees: prints "ready" when all addresses are bound; the answer leaves after the last byte of the body came.
// Thread: a process of its own. Arguments: name, port, one or more addresses.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const [name = '', port = '', ...addresses] = process.argv.slice(2);

const bound = addresses.map((address) => {
  const server = createServer((request, response) => {
    const digest = createHash('sha256');
    request.on('data', (piece: Buffer) => digest.update(piece));
    request.on('end', () => response.end(`${name} ${digest.digest('hex')}\n`));
  });
  return new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: Number(port), host: address, ipv6Only: true }, resolve);
  });
});
await Promise.all(bound);
console.log('ready');
