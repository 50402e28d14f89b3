// Session timeouts of the two load balancers that operators come from, and the merge of a profile with what a configuration sets.
// Values: ip_vs_proto_tcp.c, ip_vs_proto_udp.c and ip_vs_proto_sctp.c of Linux and of DPVS. All in seconds.
// Thread: any; pure.
import type { NativeTimeouts } from '../native-binding.js';

export const TIMEOUT_PROFILE_NAMES = ['ipvs', 'dpvs'] as const;
export type TimeoutProfileName = (typeof TIMEOUT_PROFILE_NAMES)[number];

/** Of both: the largest retransmission timeout and a second more; a first INIT and a refusal go sooner. */
const SCTP: NativeTimeouts['sctp'] = {
  init1: 4,
  init: 61,
  cookieSent: 61,
  cookieReplied: 61,
  cookieWait: 61,
  cookie: 61,
  cookieEchoed: 61,
  established: 900,
  shutdownSent: 61,
  shutdownReceived: 61,
  shutdownAckSent: 61,
  rejected: 4,
  closed: 61,
};

export const TIMEOUT_PROFILES: Readonly<Record<TimeoutProfileName, NativeTimeouts>> = {
  ipvs: {
    tcp: {
      none: 2,
      established: 900,
      synSent: 120,
      synRecv: 60,
      finWait: 120,
      timeWait: 120,
      close: 10,
      closeWait: 60,
      lastAck: 30,
      listen: 120,
      synAck: 120,
    },
    udp: { oneWay: 300, normal: 300 },
    sctp: SCTP,
  },
  dpvs: {
    tcp: {
      none: 2,
      established: 90,
      synSent: 3,
      synRecv: 30,
      finWait: 7,
      timeWait: 7,
      close: 3,
      closeWait: 7,
      lastAck: 7,
      listen: 120,
      synAck: 30,
    },
    udp: { oneWay: 300, normal: 300 },
    sctp: SCTP,
  },
};

/** What `sessions.timeouts` may hold. */
export type TimeoutsSetting =
  | TimeoutProfileName
  | {
      readonly profile: TimeoutProfileName;
      readonly tcp: { readonly [K in keyof NativeTimeouts['tcp']]?: number };
      readonly udp: { readonly [K in keyof NativeTimeouts['udp']]?: number };
      readonly sctp: { readonly [K in keyof NativeTimeouts['sctp']]?: number };
    };

/** All timeouts in seconds: those set, else those of the profile. */
export function resolveTimeouts(setting: TimeoutsSetting): NativeTimeouts {
  if (typeof setting === 'string') return TIMEOUT_PROFILES[setting];
  const profile = TIMEOUT_PROFILES[setting.profile];
  return {
    tcp: { ...profile.tcp, ...setting.tcp },
    udp: { ...profile.udp, ...setting.udp },
    sctp: { ...profile.sctp, ...setting.sctp },
  };
}
