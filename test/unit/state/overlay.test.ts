// Who wins: file or API, key by key; what becomes of changes when the file moves on; what is refused.
import { expect, test } from 'vitest';
import type { Config } from '../../../src/config/schema.js';
import { ConfigurationError, MillraceError } from '../../../src/errors.js';
import type { Operation } from '../../../src/state/desired.js';
import { effectiveOf } from '../../../src/state/effective.js';
import { applyOperations } from '../../../src/state/operations.js';
import { applyOverlay, EMPTY_OVERLAY, isEmpty, type Overlay, prune } from '../../../src/state/overlay.js';
import { fileOf, service, weightsOf } from './support/parts.js';

const file = fileOf(service('web', 1, { 1: 1, 2: 2 }), service('dns', 2, { 3: 1 }));

function overlay(...operations: Operation[]): Overlay {
  return applyOperations(EMPTY_OVERLAY, operations, file);
}

function effective(of: Overlay, from: Config = file): Config {
  return effectiveOf(from, of, from);
}

function refusal(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}

test('without changes the file is what holds', () => {
  expect(effective(EMPTY_OVERLAY)).toBe(file);
  expect([...applyOverlay(file, EMPTY_OVERLAY).origins]).toEqual([]);
});

test("a weight is the API's, everything else of the service stays the file's", () => {
  const of = overlay({ op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 7 });
  const later = fileOf(service('web', 1, { 1: 3, 2: 4 }, { scheduler: 'rr' }));
  expect(weightsOf(effective(of, later), 'web')).toEqual(['192.0.2.1:80*7', '192.0.2.2:80*4']);
  expect(effective(of, later).services[0]?.scheduler).toBe('rr');
  expect([...applyOverlay(later, of).origins]).toEqual([['services.web.servers.192.0.2.1:80.weight', 'api']]);
});

test('servers come and go beside those of the file', () => {
  const of = overlay(
    { op: 'put-server', service: 'web', server: { address: '192.0.2.9' } },
    { op: 'delete-server', service: 'web', server: { address: '192.0.2.1', port: 80 } },
  );
  expect(weightsOf(effective(of), 'web')).toEqual(['192.0.2.2:80*2', '192.0.2.9:80*1']);
  const later = fileOf(service('web', 1, { 1: 1, 2: 2, 5: 5 }));
  expect(weightsOf(effective(of, later), 'web')).toEqual(['192.0.2.2:80*2', '192.0.2.5:80*5', '192.0.2.9:80*1']);
});

test("a service that was put is the API's as a whole, whatever the file makes of its own", () => {
  const of = overlay({ op: 'put-service', service: service('web', 1, { 8: 8 }) });
  const later = fileOf(service('web', 1, { 1: 1 }, { scheduler: 'rr' }));
  expect(weightsOf(effective(of, later), 'web')).toEqual(['192.0.2.8:80*8']);
  expect([...applyOverlay(later, of).origins.keys()]).toEqual(['services.web', 'services.web.servers.192.0.2.8:80']);
  expect(effective(of, later).services[0]?.scheduler).toBe('wrr');
});

test("services of the API stand after the file's, in the order in which they came; the file's keep their places", () => {
  const of = overlay(
    { op: 'put-service', service: service('zeta', 8, {}) },
    { op: 'put-service', service: service('10', 9, {}) },
    { op: 'put-service', service: service('web', 1, {}) },
  );
  expect(effective(of).services.map(({ name }) => name)).toEqual(['web', 'dns', 'zeta', '10']);
});

test('drain is weight 0 whatever the file says, and undrain brings back what the weight is by then', () => {
  const drained = overlay({ op: 'drain', service: 'web', server: '192.0.2.2' });
  expect(weightsOf(effective(drained), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*0']);
  const later = fileOf(service('web', 1, { 1: 1, 2: 9 }));
  expect(weightsOf(effective(drained, later), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*0']);
  const undrained = applyOperations(drained, [{ op: 'undrain', service: 'web', server: '192.0.2.2' }], later);
  expect(isEmpty(undrained)).toBe(true);
});

test('a weight that is set while a server is drained waits for undrain', () => {
  const of = overlay(
    { op: 'drain', service: 'web', server: '192.0.2.2' },
    { op: 'set-weight', service: 'web', server: '192.0.2.2', weight: 6 },
  );
  expect(weightsOf(effective(of), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*0']);
  const undrained = applyOperations(of, [{ op: 'undrain', service: 'web' }], file);
  expect(weightsOf(effective(undrained), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*6']);
});

test('a drained service keeps servers that come later drained; one of them can be undrained by itself', () => {
  const of = overlay(
    { op: 'drain', service: 'web' },
    { op: 'put-server', service: 'web', server: { address: '192.0.2.9', weight: 4 } },
  );
  expect(weightsOf(effective(of), 'web')).toEqual(['192.0.2.1:80*0', '192.0.2.2:80*0', '192.0.2.9:80*0']);
  const one = applyOperations(of, [{ op: 'undrain', service: 'web', server: '192.0.2.9' }], file);
  expect(weightsOf(effective(one), 'web')).toEqual(['192.0.2.1:80*0', '192.0.2.2:80*0', '192.0.2.9:80*4']);
  const all = applyOperations(one, [{ op: 'undrain', service: 'web' }], file);
  expect(weightsOf(effective(all), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*2', '192.0.2.9:80*4']);
});

test('writing a service or a server anew does not end a drain; deleting the server does', () => {
  const of = overlay(
    { op: 'drain', service: 'web', server: '192.0.2.1' },
    { op: 'put-service', service: service('web', 1, { 1: 5, 4: 4 }) },
    { op: 'put-server', service: 'web', server: { address: '192.0.2.1', weight: 6 } },
  );
  expect(weightsOf(effective(of), 'web')).toEqual(['192.0.2.1:80*0', '192.0.2.4:80*4']);
  const again = applyOperations(
    of,
    [
      { op: 'delete-server', service: 'web', server: '192.0.2.1' },
      { op: 'put-server', service: 'web', server: { address: '192.0.2.1', weight: 6 } },
    ],
    file,
  );
  expect(weightsOf(effective(again), 'web')).toEqual(['192.0.2.4:80*4', '192.0.2.1:80*6']);
});

test('two spellings of one address are one server', () => {
  const six = fileOf({
    name: 'six',
    address: '2001:db8::10',
    port: 80,
    protocol: 'tcp',
    servers: [{ address: '2001:db8::1' }],
    mode: 'direct',
  });
  const of = applyOperations(
    EMPTY_OVERLAY,
    [{ op: 'put-server', service: 'six', server: { address: '2001:DB8:0::1', weight: 9 } }],
    six,
  );
  expect(effectiveOf(six, of, six).services[0]?.servers).toMatchObject([{ address: '2001:DB8:0::1', weight: 9 }]);
});

test('reset gives back to the file what is of one service, or all', () => {
  const of = overlay(
    { op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 7 },
    { op: 'delete-service', name: 'dns' },
    { op: 'set-section', section: 'echoReplies', value: false },
  );
  const one = applyOperations(of, [{ op: 'reset', service: 'dns' }], file);
  expect(effective(one).services.map(({ name }) => name)).toEqual(['web', 'dns']);
  expect(effective(one).echoReplies).toBe(false);
  expect(applyOperations(one, [{ op: 'reset' }], file)).toBe(EMPTY_OVERLAY);
});

test.each<[string, Operation]>([
  ['put-service', { op: 'put-service', service: service('new', 3, { 1: 1 }) }],
  ['put-server', { op: 'put-server', service: 'web', server: { address: '192.0.2.9' } }],
  ['set-weight', { op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 3 }],
  ['drain', { op: 'drain', service: 'web' }],
  ['undrain', { op: 'undrain', service: 'web' }],
  ['set-section', { op: 'set-section', section: 'routes', value: [{ prefix: '0.0.0.0/0', interface: 'wan' }] }],
  ['reset', { op: 'reset', service: 'web' }],
])('%s a second time is no change', (_, operation) => {
  const once = overlay(operation);
  expect(applyOperations(once, [operation], file)).toBe(once);
});

test('what the file has no place for waits, says so, and holds again when the place comes back', () => {
  const of = overlay(
    { op: 'drain', service: 'web', server: '192.0.2.2' },
    { op: 'put-server', service: 'dns', server: { address: '192.0.2.9' } },
  );
  const without = fileOf(service('web', 1, { 1: 1 }));
  expect(applyOverlay(without, of).stale).toEqual([
    'the drain of server 192.0.2.2:80 of service "web" waits: service "web" has no such server at the moment',
    'the definition of server 192.0.2.9:80 of service "dns" waits: there is no service "dns" at the moment',
  ]);
  expect(prune(of, without)).toEqual({ overlay: of, dropped: [] });
  expect(weightsOf(effective(of), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*0']);
  expect(weightsOf(effective(of), 'dns')).toEqual(['192.0.2.3:80*1', '192.0.2.9:80*1']);
  const undrained = applyOperations(of, [{ op: 'undrain', service: 'web', server: '192.0.2.2' }], without);
  expect(weightsOf(effective(undrained), 'web')).toEqual(['192.0.2.1:80*1', '192.0.2.2:80*2']);
});

test('a deletion is over when the file has made it too', () => {
  const of = overlay({ op: 'delete-service', name: 'dns' }, { op: 'delete-server', service: 'web', server: '192.0.2.1' });
  expect(prune(of, file).overlay).toBe(of);
  const { overlay: left, dropped } = prune(of, fileOf(service('web', 1, { 2: 2 })));
  expect(isEmpty(left)).toBe(true);
  expect(dropped).toEqual([
    'the deletion of service "dns" through the API is forgotten: the file does not have it any more',
    'the deletion of server 192.0.2.1:80 of service "web" through the API is forgotten: the file does not have it any more',
  ]);
  // A service that is gone says nothing about its servers.
  const elsewhere = overlay({ op: 'delete-server', service: 'web', server: '192.0.2.1' });
  expect(prune(elsewhere, fileOf()).overlay).toBe(elsewhere);
});

test('what is of another form is refused with its place, and so is a whole that breaks a rule', () => {
  const wrongServer = refusal(() => overlay({ op: 'put-server', service: 'web', server: { address: 'nonsense', weight: -1 } }));
  expect(wrongServer).toBeInstanceOf(ConfigurationError);
  expect((wrongServer as ConfigurationError).problems.map(({ path }) => path)).toEqual(
    expect.arrayContaining(['services.web.servers.nonsense.address', 'services.web.servers.nonsense.weight']),
  );
  const junk: unknown[] = [null, 7, 'web', [], {}, { name: 'x', servers: 'y' }, { name: 'x', servers: [() => 1] }];
  for (const value of junk) {
    expect(refusal(() => overlay({ op: 'put-service', service: value as never }))).toBeInstanceOf(ConfigurationError);
    expect(refusal(() => overlay({ op: 'put-server', service: 'web', server: value as never }))).toBeInstanceOf(
      ConfigurationError,
    );
    expect(
      refusal(() => overlay({ op: 'set-section', section: 'routes', value: value === null || Array.isArray(value) ? 1 : value })),
    ).toBeInstanceOf(ConfigurationError);
  }
  const taken = refusal(() => effective(overlay({ op: 'put-service', service: service('other', 1, { 1: 1 }) })));
  expect(taken).toBeInstanceOf(ConfigurationError);
  expect((taken as ConfigurationError).problems[0]?.path).toMatch(/^services\.other\./);
});

test.each<[Operation, RegExp]>([
  [{ op: 'delete-service', name: 'wbe' }, /no service "wbe"/],
  [{ op: 'set-weight', service: 'web', server: '192.0.2.77', weight: 1 }, /no server 192\.0\.2\.77/],
  [{ op: 'set-weight', service: 'web', server: { address: '192.0.2.1', port: 81 }, weight: 1 }, /no server 192\.0\.2\.1 port 81/],
  [{ op: 'set-weight', service: 'web', server: '192.0.2.1', weight: 65_536 }, /weight of 65536/],
  [{ op: 'drain', service: 'web', server: '192.0.2.77' }, /no server/],
  [{ op: 'undrain', service: 'web', server: '192.0.2.77' }, /no server/],
  [{ op: 'undrain', service: 'nothing' }, /no service/],
  [{ op: 'reset', service: 'nothing' }, /no service/],
  [{ op: 'set-section', section: 'workers' as never, value: 3 }, /"workers" cannot be set/],
  [{ op: 'fly' as never, name: 'web' }, /no operation "fly"/],
])('%j is refused', (operation, message) => {
  const error = refusal(() => overlay(operation));
  expect(error).toBeInstanceOf(MillraceError);
  expect(error).toMatchObject({ code: 'MILLRACE_E_INPUT_INVALID', message: expect.stringMatching(message) });
});
