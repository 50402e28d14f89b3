// The limit on the MTU, which TypeScript and the dataplane must see alike: what the doctor allows must start.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { FRAME_OVERHEAD, largestMtu } from '../../../src/config/frame-size.js';
import { ERROR_CATALOGUE } from '../../../src/errors.js';

test('a frame has the same room for a packet in TypeScript as in the native refusal', () => {
  const header = fileURLToPath(new URL('../../../native/ports/interface_check.h', import.meta.url));
  const native = /kFrameOverhead = (\d+) \+ (\d+) \+ (\d+) \* (\d+);/.exec(readFileSync(header, 'utf8'));
  const [headroom = 0, ethernet = 0, tags = 0, tag = 0] = (native ?? []).slice(1).map(Number);
  expect(FRAME_OVERHEAD).toBe(headroom + ethernet + tags * tag);
  expect(largestMtu(2048)).toBe(1770);
});

test('the remedy of an MTU that is too large names the limit of the larger frame', () => {
  expect(ERROR_CATALOGUE.MILLRACE_E_INTERFACE_MTU_TOO_LARGE.remedy).toContain(`MTU up to ${largestMtu(4096)};`);
});
