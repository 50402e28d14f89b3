// Values from a JSON schema, as OpenAPI documents them: right ones, and ones that are wrong in some place.
import fc, { type Arbitrary } from 'fast-check';

export interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Our formats; addresses from few, so that they meet those of the test's configuration now and then. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  'ip-address': ['192.0.2.11', '192.0.2.31', '198.51.100.9', '2001:db8:2::11', '2001:db8:2::31'],
  'address-or-prefix': ['203.0.113.10', '203.0.113.30', '203.0.113.32/28', '2001:db8:1::53', '2001:db8:1:1::/64'],
  'service-ports': ['any', '8000-8100', '443-443'],
  'ip-prefix': ['192.0.2.0/24', '0.0.0.0/0', '2001:db8:2::/64'],
  'mac-address': ['02:00:00:00:00:01'],
  'port-range': ['1024-65535'],
  'decimal-u64': ['0', '42'],
  regex: ['^ok$', 'a|b'],
};

/** Values that the schema allows; with `faults` each place may also hold anything. */
export function fromSchema(schema: Schema, faults = false): Arbitrary<unknown> {
  const right = rightOf(schema, faults);
  return faults ? fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) }) : right;
}

function rightOf(schema: Schema, faults: boolean): Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((form) => fromSchema(form, faults)));
  switch (schema.type) {
    case 'object':
      return objectOf(schema, faults);
    case 'array': {
      const { items = {}, minItems = 0, maxItems = 3 } = schema;
      return fc.array(fromSchema(items, faults), { minLength: minItems, maxLength: Math.min(maxItems, minItems + 2) });
    }
    case 'string':
      return stringOf(schema);
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -1000, max: schema.maximum ?? 1000 });
    case 'number':
      return fc.double({ min: schema.minimum ?? -1000, max: schema.maximum ?? 1000, noNaN: true });
    case 'boolean':
      return fc.boolean();
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objectOf(schema: Schema, faults: boolean): Arbitrary<unknown> {
  const entries = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  // Optional keys are rare, so that whole services are right often enough to be taken.
  const fields = entries.map(([name, child]) => {
    const value = fromSchema(child, faults).map((held) => [[name, held]] as [string, unknown][]);
    const none = fc.constant([] as [string, unknown][]);
    if (required.has(name)) return faults ? fc.oneof({ weight: 20, arbitrary: value }, { weight: 1, arbitrary: none }) : value;
    return fc.oneof({ weight: 1, arbitrary: value }, { weight: 7, arbitrary: none });
  });
  const extra = faults
    ? fc.oneof(
        { weight: 20, arbitrary: fc.constant({}) },
        { weight: 1, arbitrary: fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 1 }) },
      )
    : fc.constant({});
  return fc.tuple(fc.tuple(...fields), extra).map(([held, more]) => ({ ...more, ...Object.fromEntries(held.flat()) }));
}

function stringOf({ format, pattern, minLength = 0, maxLength }: Schema): Arbitrary<string> {
  const known = format === undefined ? undefined : FORMATS[format];
  if (known !== undefined) return fc.constantFrom(...known);
  if (pattern !== undefined) {
    return fc.stringMatching(new RegExp(pattern)).map((text) => text.slice(0, maxLength ?? 60));
  }
  return fc.string({ minLength, maxLength: Math.min(maxLength ?? 20, minLength + 20) });
}
