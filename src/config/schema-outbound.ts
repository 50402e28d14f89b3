// The part of the configuration's schema that describes the outbound gateway (SNAT).
// Thread: any; no state.
import { Type } from 'typebox';
import { address, name, section, servicePorts } from './schema-parts.js';

const OutboundMatch = section(
  {
    protocol: Type.Enum(['any', 'tcp', 'udp', 'tcp+udp', 'icmp'], {
      default: 'any',
      description: 'Protocol: `icmp` is echo (ping) of the family of `source`; `any` is TCP, UDP and echo.',
    }),
    source: Type.String({ format: 'address-or-prefix', description: 'Inside hosts: an address or a prefix.' }),
    destination: Type.Optional(
      Type.String({
        format: 'address-or-prefix',
        description: 'Where they connect to: an address or a prefix.',
        'x-default': "all of the source's family",
      }),
    ),
    ports: Type.Optional(servicePorts('Ports that they connect to; not for echo, which has none.', { 'x-default': 'any' })),
    interface: Type.Optional(
      Type.String({ minLength: 1, description: 'Interface that their packets arrive on.', 'x-default': 'any' }),
    ),
  },
  'Packets of inside hosts that leave with another source: those for which everything that is said here holds.',
);

export const OutboundRule = section(
  {
    name: name('Unique name, different from those of services; used in metrics and messages.'),
    match: Type.Array(OutboundMatch, {
      minItems: 1,
      maxItems: 64,
      description:
        'Any of these. Tried in the order of the file, for packets to addresses that are not those of Millrace or the kernel.',
    }),
    pool: Type.Array(address('Address.'), {
      minItems: 1,
      description:
        'Sources that the outside sees. As with localAddresses each belongs to one worker: at least one per worker and per address ' +
        'family that a match has. Millrace owns them: they must be on no kernel interface, and in no other list.',
    }),
  },
  'A rule of the outbound gateway (SNAT); docs/modes/snat.md.',
);
