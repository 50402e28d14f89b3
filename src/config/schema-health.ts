// The part of the configuration's schema that says how servers are checked, and what becomes of a service when they fail.
// Thread: any; no state.
import { Type } from 'typebox';
import { CHECK_TYPES, DNS_TYPES } from './check-types.js';
import { address, section } from './schema-parts.js';

function seconds(description: string, extra: { minimum?: number; default?: number; 'x-default'?: string } = {}) {
  return Type.Number({ minimum: 0, maximum: 86_400, description: `${description} Seconds.`, ...extra });
}

export function command(description: string) {
  return Type.Array(Type.String({ description: 'Program, then its arguments.' }), {
    minItems: 1,
    maxItems: 64,
    description: `${description} Run directly, not by a shell; the first word is an absolute path.`,
  });
}

const ClientCertificate = section(
  {
    certificate: Type.String({ minLength: 1, description: 'File with the certificate, PEM.' }),
    key: Type.Optional(
      Type.String({ minLength: 1, description: 'File with its key, PEM.', 'x-default': 'the file of the certificate' }),
    ),
    password: Type.Optional(Type.String({ description: 'What the key is encrypted with.', 'x-default': 'not encrypted' })),
  },
  'How the check shows the server who it is.',
);

const Tls = section(
  {
    verify: Type.Optional(
      Type.Boolean({ description: 'Whether the certificate must be valid and for this name.', 'x-default': 'false' }),
    ),
    serverName: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'Name asked for (SNI) and verified.',
        'x-default': 'host, if given',
      }),
    ),
    ca: Type.Optional(
      Type.String({ minLength: 1, description: 'File with certificates to trust, PEM.', 'x-default': "Node's own list" }),
    ),
    clientCertificate: Type.Optional(ClientCertificate),
  },
  'TLS of the check; `https`, `tls`, and `grpc` where it is given.',
);

export const HealthCheck = section(
  {
    type: Type.Enum([...CHECK_TYPES], {
      description:
        'What is tried. `tcp` connects; `http`, `https` send a request; `tls` makes a handshake; `udp` sends a datagram; `dns` asks; ' +
        '`smtp` greets; `ping` sends an echo request; `grpc` calls grpc.health.v1; `script` runs a program. See docs/health-checks.md.',
    }),
    interval: seconds('Time from one check to the next.', { minimum: 0.1, default: 2 }),
    jitter: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.1,
      description: 'Share of the interval by which checks come earlier or later, so that they do not come together.',
    }),
    timeout: seconds('Longest a check may take, from the first packet to the verdict.', { minimum: 0.05, default: 2 }),
    rise: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: 'Good checks in a row that bring a server back.' }),
    fall: Type.Integer({ minimum: 1, maximum: 100, default: 3, description: 'Failed checks in a row that take a server out.' }),
    retryInterval: Type.Optional(
      seconds('Time to the next check after one that failed while the server is up.', { minimum: 0.05, 'x-default': 'interval' }),
    ),
    warmup: Type.Optional(seconds('First checks are spread over this time after the start.', { 'x-default': 'the interval' })),
    alpha: Type.Optional(
      Type.Boolean({
        description: 'Whether the server counts as down until the first good checks of this kind.',
        'x-default': "the service's, under health",
      }),
    ),
    address: Type.Optional(address("Address to check in place of the server's, such as the VIP of servers in mode `direct`.")),
    port: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 65_535, description: 'Port to check.', 'x-default': "the server's port" }),
    ),
    bindAddress: Type.Optional(address('Source address of the check.')),
    bindInterface: Type.Optional(
      Type.String({ minLength: 1, maxLength: 15, description: 'Interface that the check leaves by (SO_BINDTODEVICE).' }),
    ),
    mark: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 4_294_967_295, description: 'Firewall mark of packets of the check (SO_MARK).' }),
    ),
    method: Type.Optional(Type.Enum(['GET', 'HEAD', 'OPTIONS', 'POST'], { description: 'Request method.', 'x-default': 'GET' })),
    path: Type.Optional(
      Type.String({ pattern: '^/[!-~]*$', maxLength: 4096, description: 'Path and query of the request.', 'x-default': '/' }),
    ),
    host: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        description: 'Host header; for `grpc` the authority.',
        'x-default': 'address and port of the server',
      }),
    ),
    headers: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Za-z0-9-]+: ?[ -~]*$', 'x-expected': 'a header such as "Accept: text/plain"' }), {
        description: 'Further headers, as `Name: value`.',
      }),
    ),
    status: Type.Optional(
      Type.Array(
        Type.String({
          pattern: '^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$',
          'x-expected': 'a status such as "200", or a range such as "200-299"',
        }),
        {
          minItems: 1,
          description: 'Statuses that are good: "200", or a range "200-299".',
          'x-default': '["200-399"]',
        },
      ),
    ),
    contains: Type.Optional(
      Type.String({ minLength: 1, description: 'Text that the body (`http`, `https`) or the reply (`udp`) must contain.' }),
    ),
    matches: Type.Optional(
      Type.String({
        minLength: 1,
        format: 'regex',
        description: 'Regular expression that the body or the reply must match.',
        'x-expected': 'a regular expression of JavaScript',
      }),
    ),
    matchFlags: Type.Optional(
      Type.String({
        pattern: '^(i|m|s|im|is|mi|ms|si|sm|ims|ism|mis|msi|sim|smi)$',
        description: 'How `matches` is read: `i` without regard to case, `m` with ^ and $ at each line, `s` with dots for all.',
        'x-expected': 'one or several of the letters i, m and s',
      }),
    ),
    digest: Type.Optional(
      Type.String({
        pattern: '^[0-9a-fA-F]{32}([0-9a-fA-F]{32})?$',
        description: 'MD5 (as genhash of keepalived prints it) or SHA-256 of the body, hexadecimal.',
      }),
    ),
    keepAlive: Type.Optional(
      Type.Boolean({ description: 'One connection for all checks of a server (HTTP/1.1).', 'x-default': 'false' }),
    ),
    tls: Type.Optional(Tls),
    payload: Type.Optional(
      Type.String({ description: 'What is sent: text, or bytes as `hex:0a0b`. `udp` only.', 'x-default': 'an empty datagram' }),
    ),
    replyRequired: Type.Optional(
      Type.Boolean({
        description: 'Whether silence is a failure; else only an ICMP error (port unreachable) is. `udp` only.',
        'x-default': 'true where contains or matches is given',
      }),
    ),
    query: Type.Optional(
      Type.String({ minLength: 1, maxLength: 253, description: 'Name that is asked for. `dns` only.', 'x-default': '.' }),
    ),
    queryType: Type.Optional(Type.Enum([...DNS_TYPES], { description: 'Type of record. `dns` only.', 'x-default': 'SOA' })),
    helo: Type.Optional(
      Type.String({
        pattern: '^[!-~]+$',
        maxLength: 253,
        description: 'Name given in HELO. `smtp` only.',
        'x-default': 'millrace',
      }),
    ),
    service: Type.Optional(Type.String({ description: 'Service whose health is asked for. `grpc` only.', 'x-default': 'all' })),
    command: Type.Optional(
      command(
        'Program that tells: exit code 0 good, 1 bad, 2 to 255 good with the weight code minus 2, where dynamicWeight is set. `script` only.',
      ),
    ),
    dynamicWeight: Type.Optional(
      Type.Boolean({ description: 'Exit codes from 2 on set the weight. `script` only.', 'x-default': 'false' }),
    ),
  },
  'One check of a server. All checks of a server must be good.',
);

export const HealthPolicy = section(
  {
    quorum: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 1,
      description: 'Sum of weights of good servers from which the service counts as up.',
    }),
    hysteresis: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      default: 0,
      description: 'The quorum is lost below quorum minus this, and won at quorum plus this.',
    }),
    alpha: Type.Boolean({ default: false, description: 'Servers count as down until their first good checks.' }),
    omega: Type.Boolean({ default: false, description: 'When Millrace stops, down and quorumDown commands run.' }),
    onFailure: Type.Enum(['remove', 'drain'], {
      default: 'remove',
      description:
        'What a failed server is for the dataplane: gone (see onRemoval), or there with weight 0, as inhibit_on_failure of keepalived.',
    }),
    slowStart: seconds('A server that comes back gets its weight in steps over this time.', { default: 0 }),
    flaps: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 5,
      description:
        'A server that went down this often within flapWindow is kept out: for flapWindow the first time, twice as long each time after. 0: never.',
    }),
    flapWindow: seconds('The window of flaps.', { minimum: 1, default: 60 }),
    notify: section(
      {
        up: Type.Optional(command('When a server comes up. MILLRACE_SERVICE and MILLRACE_SERVER name it.')),
        down: Type.Optional(command('When a server goes down.')),
        quorumUp: Type.Optional(command('When the quorum is won.')),
        quorumDown: Type.Optional(command('When the quorum is lost.')),
        stop: Type.Optional(command('When Millrace stops.')),
      },
      'Commands that are run at changes. They get a minute, and one of a kind and service at a time.',
      { default: {} },
    ),
  },
  'What becomes of a service when its servers fail.',
);
