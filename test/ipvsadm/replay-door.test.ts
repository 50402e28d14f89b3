// Replays 04 of the recordings against a running balancer's configuration: what IPVS answers, but for the deliberate differences, each of
// which is listed with its reason and is refused in one line.
import { describe, expect, it } from 'vitest';
import type { ConfigInput } from '../../src/config/schema.js';
import { BASE, openDoor } from '../unit/door/fakes.js';
import { DOOR_DIFFERENCES } from './differences.js';
import { invocationOf, readRecording } from './recordings.js';
import { note } from './replay.js';

/** The base rules of the recording; what mark 5 is, it does not say. */
const CONFIG: ConfigInput = {
  ...BASE,
  localAddresses: ['10.0.2.101', 'fd00:2::101'],
  services: [
    {
      name: 'web',
      address: '10.0.9.1',
      port: 80,
      protocol: 'tcp',
      scheduler: 'rr',
      servers: [{ address: '10.0.2.11', mode: 'nat' }],
    },
    { name: 'dns', address: '10.0.9.1', port: 53, protocol: 'udp', scheduler: 'rr', servers: [] },
    { name: 'six', address: 'fd00:9::1', port: 80, protocol: 'tcp', scheduler: 'rr', servers: [] },
    {
      name: 'five',
      mark: 5,
      match: [{ destination: '10.0.9.5' }],
      mode: 'direct',
      scheduler: 'rr',
      servers: [{ address: '10.0.2.11' }],
    },
  ],
};

// How ipvsadm ends without a kernel module, without privileges and without standard output has nothing to do with a configuration.
const blocks = readRecording('04-errors.txt')
  .slice(3)
  .filter(({ section }) => section !== 'module absent');

describe('04 errors, against a configuration', () => {
  for (const block of blocks) {
    const invocation = invocationOf(block.command);
    if (invocation === undefined || invocation.unprivileged || invocation.closedStdout) continue;
    it(`${block.line}: ${block.command}`, async () => {
      const { door, state } = openDoor(CONFIG);
      const place = { ...block, file: 'against a configuration' };
      note(place, 'differs');
      const outcome = await door.run(invocation.argv);
      const recorded = { exitCode: block.exitCode, stdout: block.stdout, stderr: block.stderr };
      const difference = DOOR_DIFFERENCES.find(({ commands }) => commands.includes(block.command));
      if (difference === undefined) expect(outcome).toEqual(recorded);
      else {
        expect(outcome).not.toEqual(recorded);
        expect(outcome).toEqual({ exitCode: difference.exitCode, stdout: '', stderr: expect.stringMatching(difference.stderr) });
        if (outcome.exitCode !== 0) expect(state.changes).toBe(0);
      }
      note(place, difference === undefined ? 'equal' : 'deliberate', difference?.reason);
    });
  }
  it('every difference is of a recorded command', () => {
    const known = blocks.map(({ command }) => command);
    for (const command of DOOR_DIFFERENCES.flatMap(({ commands }) => commands)) expect(known).toContain(command);
  });
});
