// Where `millrace run` reports what operators look for later: JSON lines by pino on standard error, as journald and log shippers like them.
// Guarantees: state changes only, never packets; written synchronously, so that the last line before an end is there.
// Thread: main.
import { destination, type Logger, pino } from 'pino';
import { describeChanges } from '../control/diff.js';
import { type DaemonEvent, describeHealth } from './output.js';

export function openLog(): Logger {
  return pino({ name: 'millrace', base: { pid: process.pid } }, destination({ dest: 2, sync: true }));
}

/** Logs an event; statistics are not logged. */
export function logEvent(log: Logger, event: DaemonEvent): void {
  switch (event.event) {
    case 'ready': {
      const interfaces = event.interfaces.map((status) => status.name);
      log.info({ component: 'daemon', workers: event.workers, interfaces, services: event.services.length }, 'running');
      return;
    }
    case 'stats':
      return;
    case 'applied':
      log.info({ component: 'config', generation: event.generation }, `applied: ${describeChanges(event.changes)}`);
      return;
    case 'reloaded':
      log.info({ component: 'config' }, `reloaded: ${describeChanges(event.changes)}`);
      return;
    case 'reload-failed':
      log.error({ component: 'config', err: { code: event.code } }, `reload refused: ${event.message}`);
      return;
    case 'warning':
      log.warn({ component: 'dataplane', remedy: event.remedy }, event.message);
      return;
    case 'health': {
      const { kind, service, server } = event;
      const good = kind === 'server-up' || kind === 'quorum-up';
      const fields = { component: 'health', kind, service, ...(server === '' ? {} : { real: server }) };
      log[good ? 'info' : 'warn'](fields, describeHealth(event));
      return;
    }
    case 'draining': {
      const { signal, seconds, sessions } = event;
      log.info({ component: 'daemon', signal, seconds, sessions: Number(sessions) }, 'draining');
      return;
    }
    case 'stopping': {
      const left = event.sessions === undefined ? {} : { sessions: Number(event.sessions) };
      log.info({ component: 'daemon', signal: event.signal, ...left }, 'stopping');
      return;
    }
    case 'stopped':
      log.info({ component: 'daemon' }, 'stopped');
      return;
  }
}
