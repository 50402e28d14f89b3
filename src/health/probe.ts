// The check of each kind.
// Guarantees: never rejects; ends by the target's timeout.
// Thread: a health worker.
import type { CheckType } from '../config/check-types.js';
import type { Outcome } from './outcome.js';
import { checkDns, checkPing, checkUdp } from './probes/datagram.js';
import { checkGrpc } from './probes/grpc.js';
import { checkHttp } from './probes/http.js';
import { checkScript } from './probes/script.js';
import { checkSmtp, checkTcp, checkTls } from './probes/stream.js';
import type { CheckTarget } from './target.js';

export type Probe = (target: CheckTarget) => Promise<Outcome>;

const PROBES: Readonly<Record<CheckType, Probe>> = {
  tcp: checkTcp,
  http: checkHttp,
  https: checkHttp,
  tls: checkTls,
  udp: checkUdp,
  dns: checkDns,
  smtp: checkSmtp,
  ping: checkPing,
  grpc: checkGrpc,
  script: checkScript,
};

export const probe: Probe = (target) => PROBES[target.type](target);
