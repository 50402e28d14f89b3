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
