// All golden cases, in the order in which a newcomer would read them.

import type { GoldenCase } from '../support/case.js';
import { fragmentCases } from './fragments.js';
import { icmpCases } from './icmp.js';
import { limitCases } from './limits.js';
import { malformedCases } from './malformed.js';
import { mssCases } from './mss.js';
import { ownershipCases } from './ownership.js';
import { routingCases } from './routing.js';
import { schedulingCases } from './scheduling.js';
import { tcpCases } from './tcp.js';
import { timeoutCases } from './timeouts.js';
import { udpCases } from './udp.js';
import { workerCases } from './workers.js';

export const goldenCases: readonly GoldenCase[] = [
  ...tcpCases,
  ...mssCases,
  ...udpCases,
  ...schedulingCases,
  ...limitCases,
  ...timeoutCases,
  ...ownershipCases,
  ...malformedCases,
  ...fragmentCases,
  ...icmpCases,
  ...routingCases,
  ...workerCases,
];
