// All golden cases, in the order in which a newcomer would read them.

import type { GoldenCase } from '../support/case.js';
import { clientAddressCases } from './client-address.js';
import { fragmentCases } from './fragments.js';
import { icmpCases } from './icmp.js';
import { limitCases } from './limits.js';
import { malformedCases } from './malformed.js';
import { matchingCases } from './matching.js';
import { modeCases } from './modes.js';
import { mssCases } from './mss.js';
import { ownershipCases } from './ownership.js';
import { persistenceCases } from './persistence.js';
import { protocolCases } from './protocols.js';
import { routingCases } from './routing.js';
import { schedulingCases } from './scheduling.js';
import { snatCases } from './snat.js';
import { snatOnTheWayCases } from './snat-on-the-way.js';
import { tcpCases } from './tcp.js';
import { timeoutCases } from './timeouts.js';
import { tunnelCases } from './tunnels.js';
import { udpCases } from './udp.js';
import { workerCases } from './workers.js';

export const goldenCases: readonly GoldenCase[] = [
  ...tcpCases,
  ...matchingCases,
  ...snatCases,
  ...snatOnTheWayCases,
  ...mssCases,
  ...udpCases,
  ...clientAddressCases,
  ...schedulingCases,
  ...persistenceCases,
  ...limitCases,
  ...timeoutCases,
  ...ownershipCases,
  ...malformedCases,
  ...modeCases,
  ...tunnelCases,
  ...fragmentCases,
  ...icmpCases,
  ...protocolCases,
  ...routingCases,
  ...workerCases,
];
