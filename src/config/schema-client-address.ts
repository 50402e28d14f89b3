// The part of the configuration's schema that says how servers learn the addresses of a service's clients, and whose PROXY headers the
// service itself believes.
// Thread: any; no state.
import { Type } from 'typebox';
import { section } from './schema-parts.js';

/** As ClientAddressMethod in native/tables/client_address.h. */
export const CLIENT_ADDRESS_METHODS = ['none', 'toa', 'uoa', 'proxy-v1', 'proxy-v2'] as const;
export type ClientAddressMethod = (typeof CLIENT_ADDRESS_METHODS)[number];

/** Kinds of TCP options that carry addresses: DPVS and Alibaba LVS 254, Alibaba LVS for IPv6 253, others 252. */
const KINDS = [254, 253, 252] as const;

const Kinds = section(
  {
    ipv4: Type.Optional(Type.Enum([...KINDS], { description: 'Kind of the option for IPv4 clients.', 'x-default': '254' })),
    ipv6: Type.Optional(
      Type.Enum([...KINDS], {
        description: 'Kind of the option for IPv6 clients; Alibaba LVS has 253.',
        'x-default': '254',
      }),
    ),
  },
  'Kinds of the TCP option; only for `toa`.',
);

const Tlv = section(
  {
    type: Type.Integer({ minimum: 0xe0, maximum: 0xef, description: 'Type: 0xE0 to 0xEF are free for use of one’s own.' }),
    text: Type.Optional(Type.String({ maxLength: 125, description: 'The value, as UTF-8 text.' })),
    hex: Type.Optional(
      Type.String({
        maxLength: 250,
        description: 'The value, as hexadecimal digits, two for each byte.',
      }),
    ),
  },
  'A TLV of your own, for example which VIP or which node it was. Either `text` or `hex`.',
);

const Tlvs = section(
  {
    uniqueId: Type.Optional(
      Type.Boolean({ description: '16 bytes that name the connection (type 0x05).', 'x-default': 'false' }),
    ),
    crc32c: Type.Optional(Type.Boolean({ description: 'A checksum of the header (type 0x03).', 'x-default': 'false' })),
    custom: Type.Array(Tlv, { default: [], description: 'TLVs of your own, 128 bytes at most altogether.' }),
  },
  'What the header says beside the addresses; only for `proxy-v2`.',
);

export const ClientAddress = section(
  {
    method: Type.Enum([...CLIENT_ADDRESS_METHODS], {
      description:
        '`toa`: a TCP option. `uoa`: the same for UDP. `proxy-v1`, `proxy-v2`: a PROXY header in front of the connection’s bytes; ' +
        '`proxy-v2` for datagrams, too.',
      'x-refused': { proxy: 'there are two versions of the PROXY protocol: proxy-v1 (text) and proxy-v2 (binary)' },
    }),
    kinds: Type.Optional(Kinds),
    onSyn: Type.Optional(
      Type.Boolean({
        description: 'The option on the SYN, too, for servers that read it there; only for `toa`.',
        'x-default': 'false',
      }),
    ),
    carrier: Type.Optional(
      Type.Enum(['protocol', 'option'], {
        description:
          'Where UOA stands: in a header between IP and UDP (IP protocol 248), or in an IPv4 option, which many routers handle slowly. ' +
          'Only for `uoa`.',
        'x-default': 'protocol',
      }),
    ),
    serverFirst: Type.Optional(
      Type.Boolean({
        description:
          'The server speaks first (SMTP, SSH, MySQL): the header is sent when the connection is there, and does not wait for the ' +
          'client’s first byte. Only for PROXY on TCP.',
        'x-default': 'false',
      }),
    ),
    datagrams: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 254 }), Type.Enum(['all'])], {
        description: 'How many datagrams of a flow get a header, from the first, or `all`. Only for `proxy-v2` on UDP.',
        'x-default': 'all',
      }),
    ),
    whenTooBig: Type.Optional(
      Type.Enum(['fragment', 'drop'], {
        description:
          'What becomes of a datagram that does not fit through its link with the header. `drop` counts it as ' +
          'client_address_too_big. Only for `proxy-v2` on UDP.',
        'x-default': 'fragment',
      }),
    ),
    tlvs: Type.Optional(Tlvs),
  },
  'How servers learn who the client is. Only with `fullnat`: other modes show the client as it is. See docs/client-address.md.',
);

export const AcceptProxy = section(
  {
    from: Type.Array(Type.String({ format: 'address-or-prefix', description: 'Address or prefix.' }), {
      minItems: 1,
      description: 'Balancers in front. Connections from elsewhere are left as they are.',
    }),
  },
  'Connections and datagrams from these balancers begin with a PROXY header, which is taken off and believed. See ' +
    'docs/client-address.md.',
);
