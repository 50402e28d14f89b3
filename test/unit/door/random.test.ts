// Random command lines: through the door into a configuration and back, a table lists what the same commands make of IPVS itself.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SCHEDULERS } from '../../../src/config/scheduler-names.js';
import { DPVS_OPTIONS } from '../../../src/ipvs/dpvs-option-table.js';
import { OPTIONS } from '../../../src/ipvs/option-table.js';
import { IpvsTable } from '../../../src/ipvs/table.js';
import { run as runPlain } from '../../ipvsadm/director.js';
import { BASE, openDoor } from './fakes.js';

const words = (line: string) => line.split(' ').filter((word) => word !== '');
const LISTINGS = ['-Ln', '-Ln --thresholds', '-Ln --persistent-conn', '-Ln --tun-info', '-Ln --stats', '-Sn', '-L --timeout'];

const CONFIG = {
  ...BASE,
  localAddresses: ['10.0.2.101', 'fd00:2::101'],
  services: [{ name: 'marked', mark: 7, match: [{ destination: '10.0.9.3' }], servers: [] }],
};

const service = fc.constantFrom(
  ...[
    '-t 10.0.9.1:80',
    '-u 10.0.9.1:53',
    '-t [fd00:9::1]:80',
    '-f 7',
    '--sctp-service 10.0.9.2:9',
    '-t 10.0.9.2:0',
    '-u 10.0.9.1:54',
  ],
);
const settings = fc.tuple(
  fc.constantFrom(
    '',
    '-s rr',
    '-s wrr',
    '-s sh -b sh-port',
    '-s mh -b mh-port,mh-fallback',
    '-s sh -b sh-fallback',
    '-s fo',
    '-s conhash',
    '-s none',
  ),
  fc.constantFrom('', '-p', '-p 60', '-p 60 -M 255.255.0.0', '-p 60 -M 24', '-M 255.0.0.0'),
  fc.constantFrom('', '', '-o'),
);
const server = fc.constantFrom(
  '10.0.2.1:80',
  '10.0.2.1:8080',
  '10.0.2.2:53',
  '[fd00:2::1]:80',
  '10.0.2.3',
  '239.0.0.1:80',
  '10.0.2.101:1',
);
const how = fc.tuple(
  fc.constantFrom(
    '-m',
    '-g',
    '',
    '-i',
    '-i --tun-type gue --tun-port 6080',
    '-i --tun-type gue --tun-port 7',
    '-i --tun-type gre',
  ),
  fc.constantFrom('', '-w 0', '-w 5', '-w 65535', '-w 65536'),
  fc.constantFrom('', '', '-x 10', '-x 10 -y 3', '-y 3'),
);
const command = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(service, settings).map(([name, flags]) => `-A ${name} ${flags.join(' ')}`) },
  { weight: 2, arbitrary: fc.tuple(service, settings).map(([name, flags]) => `-E ${name} ${flags.join(' ')}`) },
  { weight: 1, arbitrary: service.map((name) => `-D ${name}`) },
  {
    weight: 5,
    arbitrary: fc.tuple(service, server, how).map(([name, real, flags]) => `-a ${name} -r ${real} ${flags.join(' ')}`),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(service, server, how).map(([name, real, flags]) => `-e ${name} -r ${real} ${flags.join(' ')}`),
  },
  { weight: 1, arbitrary: fc.tuple(service, server).map(([name, real]) => `-d ${name} -r ${real}`) },
  { weight: 1, arbitrary: fc.constantFrom('-C', '-Z', '--set 100 0 50', '--set 0 20 0') },
);

/** Services first, so that most of what follows finds some. */
const session = fc
  .tuple(
    fc.array(
      fc.tuple(service, settings).map(([name, flags]) => `-A ${name} ${flags.join(' ')}`),
      { minLength: 2, maxLength: 6 },
    ),
    fc.array(command, { minLength: 5, maxLength: 30, size: 'max' }),
  )
  .map(([first, rest]) => [...first, ...rest]);

function plainTable(): IpvsTable {
  const table = new IpvsTable({ schedulers: SCHEDULERS.map(({ name }) => name), engines: [] });
  // The service that the configuration begins with, as listed.
  runPlain(table, words('-A -f 7 -s wrr'));
  return table;
}

describe('random commands', () => {
  it('answer and list as IPVS does, but for what Millrace refuses', async () => {
    let [accepted, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(session, async (lines) => {
        const plain = plainTable();
        const { run } = openDoor(CONFIG);
        for (const line of lines) {
          const outcome = await run(line);
          if (outcome.stderr.startsWith('millrace: ')) {
            expect(outcome.exitCode).toBe(255);
            refused += 1;
            continue;
          }
          accepted += outcome.exitCode === 0 ? 1 : 0;
          expect(outcome, line).toEqual(runPlain(plain, words(line)));
        }
        for (const listing of LISTINGS) expect(await run(listing), listing).toEqual(runPlain(plain, words(listing)));
      }),
      { numRuns: 60 },
    );
    expect(accepted).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(0);
  }, 60_000);

  it('what -Sn writes, -R reads into an empty configuration', async () => {
    await fc.assert(
      fc.asyncProperty(session, async (lines) => {
        const { run, must } = openDoor(CONFIG);
        for (const line of lines) await run(line);
        const [saved, listed] = [await must('-Sn'), await must('-Ln')];
        await must('-C');
        // Thresholds are not saved, as in ipvsadm.
        await must('-R', saved);
        expect([await must('-Sn'), await must('-Ln')]).toEqual([saved, listed]);
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('any words and any input end with one of the four statuses, and with a message when it is not 0', async () => {
    const names = [...OPTIONS, ...DPVS_OPTIONS].flatMap(({ long, short }) => [
      `--${long}`,
      ...(short === undefined ? [] : [`-${short}`]),
    ]);
    const word = fc.oneof(
      fc.constantFrom(...names, '--dpvs', '--verbose', '--proc', 'ip_vs'),
      fc.constantFrom('10.0.9.1:80', '[fd00:9::1]:80', '10.0.2.1', 'rr', 'sh', 'v2', 'gue', '1', '0', '7', 'ipset:x', '64', ''),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(word, { maxLength: 9 }), { minLength: 1, maxLength: 10 }),
        fc.string(),
        async (lines, stdin) => {
          const { door } = openDoor(CONFIG);
          for (const argv of lines) {
            const { exitCode, stderr } = await door.run(argv, stdin);
            expect([0, 1, 2, 255]).toContain(exitCode);
            if (exitCode !== 0) expect(stderr).not.toBe('');
          }
        },
      ),
    );
  }, 60_000);
});
