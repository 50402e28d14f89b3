// What the sections of the configuration's schema are made of.
// Thread: any; no state.
import { type TObject, type TProperties, Type } from 'typebox';

// Annotations beyond JSON Schema, read by explain.ts and by the generator, and left out of millrace.schema.json:
//   x-expected  what a wrong value should have been, as the end of "expected ..."
//   x-refused   value -> why it is refused although somebody may well try it
//   x-default   default in words, where it is not a constant
export interface Annotations {
  readonly 'x-expected'?: string;
  readonly 'x-refused'?: Readonly<Record<string, string>>;
  readonly 'x-default'?: string;
}

export function section<P extends TProperties>(
  properties: P,
  description: string,
  extra: { default?: object } & Annotations = {},
): TObject<P> {
  return Type.Object(properties, { additionalProperties: false, description, ...extra });
}

export function address(description: string) {
  return Type.String({ format: 'ip-address', description });
}

export function mac(description: string) {
  return Type.String({ format: 'mac-address', description });
}

/** Of what appears in messages and statistics. */
export function name(description: string) {
  return Type.String({
    minLength: 1,
    maxLength: 63,
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
    description,
    'x-expected': 'a name of 1 to 63 letters, digits, dots, underscores and hyphens that begins with a letter or digit',
  });
}

/** Limits on what passes, of a service or a server. */
export function rateLimit(whose: string) {
  return section(
    {
      packetsPerSecond: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 1_000_000_000,
          description: 'Most packets a second in each direction.',
          'x-default': 'no limit',
        }),
      ),
      bitsPerSecond: Type.Optional(
        Type.Integer({
          minimum: 1000,
          maximum: 1_000_000_000_000,
          description: 'Most bits of IP packets a second in each direction.',
          'x-default': 'no limit',
        }),
      ),
    },
    `What ${whose} may have pass in each direction, over all workers; what is more is dropped and counted. See docs/limits.md.`,
    { 'x-default': 'no limit' },
  );
}

export function servicePorts(description: string, extra: Annotations = {}) {
  return Type.Union([Type.Integer({ minimum: 1, maximum: 65_535 }), Type.String({ format: 'service-ports' })], {
    description,
    'x-expected': 'a whole number from 1 to 65535, a range such as 8000-8100, or any',
    ...extra,
  });
}
