// The part of the configuration's schema that describes where the API is served, and to whom.
// Thread: any; no state.
import { type Static, Type } from 'typebox';
import { address, section } from './schema-parts.js';

export const DEFAULT_API_SOCKET = '/run/millrace/api.sock';
export const DEFAULT_API_MODE = '0660';

function port(description: string) {
  return Type.Integer({ minimum: 1, maximum: 65_535, description });
}

function file(description: string) {
  return Type.Optional(Type.String({ minLength: 1, description }));
}

const Tcp = section(
  {
    address: address('Address of this host, or an unspecified one for all of them.'),
    port: port('TCP port.'),
    cert: file('File with the certificate and those between it and the authority (PEM). Required.'),
    key: file('File with its private key (PEM). Required.'),
    tokenFile: file(
      'File whose first line is the bearer token that requests must carry, at least 16 characters. This or `clientCa` is required.',
    ),
    clientCa: file('File with the authorities whose client certificates are accepted (PEM).'),
  },
  'The API over TCP, always with TLS. A request is let in with the token or with a client certificate. Files are read again on reload.',
);

const Plain = section(
  {
    address: address('Address of this host, or an unspecified one for all of them.'),
    port: port('TCP port.'),
  },
  '`/healthz`, `/readyz` and `/metrics` over HTTP without TLS, and nothing else: for Prometheus and for balancers in front.',
);

export const Api = section(
  {
    socket: Type.String({
      minLength: 1,
      default: DEFAULT_API_SOCKET,
      description:
        'Absolute path of the unix socket; `none`: there is none, and without `tcp` no API. Who may open it may change everything.',
    }),
    mode: Type.Optional(
      Type.String({
        pattern: '^0?[0-7]{3}$',
        description: 'Permissions of the socket, in octal and in quotes.',
        'x-default': `"${DEFAULT_API_MODE}"`,
        'x-expected': 'an octal mode in quotes, such as "0660"',
      }),
    ),
    group: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: '^[^\\s:,]+$',
        description: 'Group of the socket, by name or number.',
        'x-default': "the process's",
        'x-expected': 'the name or the number of a group',
      }),
    ),
    tcp: Type.Optional(Tcp),
    plain: Type.Optional(Plain),
  },
  'Where the API is served; docs/api.md. Without this section: on the default socket.',
);

/** Checked, defaults filled in. */
export type ApiConfig = Static<typeof Api>;

/** What is in force where the configuration has no section `api`. */
export const DEFAULT_API: ApiConfig = { socket: DEFAULT_API_SOCKET };
