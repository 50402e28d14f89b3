// Checks that need no more than a connection: TCP connect, TLS handshake, and the greeting of SMTP (RFC 5321).
// Thread: a health worker.
import { bad, describeFailure, good, type Outcome, untilVerdict } from '../outcome.js';
import { openStream, openTls } from '../sockets.js';
import type { CheckTarget } from '../target.js';

export function checkTcp(target: CheckTarget): Promise<Outcome> {
  return untilVerdict(target.timeout, (end) => {
    const socket = openStream(target);
    socket.once('connect', () => end(good('connected')));
    socket.once('error', (error) => end(bad(describeFailure(error))));
    return () => socket.destroy();
  });
}

export function checkTls(target: CheckTarget): Promise<Outcome> {
  return untilVerdict(target.timeout, (end) => {
    const socket = openTls(target);
    socket.once('secureConnect', () => end(good(socket.getProtocol() ?? 'TLS')));
    socket.once('error', (error) => end(bad(describeFailure(error))));
    socket.once('end', () => end(bad('closed during the handshake')));
    return () => socket.destroy();
  });
}

/** A whole reply, of one line or several (RFC 5321 4.2). */
const REPLY = /^(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n/;

/** What a server may say before it is asked for the next command; more than that is no SMTP. */
const MAX_REPLY = 16_384;

/** 220, HELO, 250, QUIT: as SMTP_CHECK of keepalived. */
export function checkSmtp(target: CheckTarget): Promise<Outcome> {
  return untilVerdict(target.timeout, (end) => {
    const socket = openStream(target);
    let received = '';
    let greeted = false;
    const answer = (code: string, line: string): void => {
      if (!greeted && code === '220') {
        greeted = true;
        socket.write(`HELO ${target.check.helo ?? 'millrace'}\r\n`);
      } else if (!greeted) {
        end(bad(`greeted with "${line}"`));
      } else if (code === '250') {
        // The server's goodbye is not waited for.
        socket.end('QUIT\r\n');
        end(good(line));
      } else {
        end(bad(`answered HELO with "${line}"`));
      }
    };
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      received += text;
      for (let reply = REPLY.exec(received); reply !== null; reply = REPLY.exec(received)) {
        received = received.slice(reply[0].length);
        answer(reply[1] ?? '', reply[0].trim().split('\n').at(-1)?.trim() ?? '');
      }
      if (received.length > MAX_REPLY || (received.includes('\n') && !/^\d{3}/.test(received))) end(bad('does not speak SMTP'));
    });
    socket.once('error', (error) => end(bad(describeFailure(error))));
    socket.once('close', () => end(bad('closed before it had answered')));
    return () => socket.destroySoon();
  });
}
