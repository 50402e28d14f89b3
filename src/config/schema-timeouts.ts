// The part of the configuration's schema that says how long sessions are kept in each state: for all services, and for one.
// Thread: any; no state.
import { Type } from 'typebox';
import { section } from './schema-parts.js';
import { TIMEOUT_PROFILE_NAMES } from './timeout-profiles.js';

function seconds(description: string) {
  return Type.Optional(
    Type.Integer({ minimum: 1, maximum: 604_800, description: `${description} (seconds)`, 'x-default': 'profile' }),
  );
}

export const TimeoutsByState = section(
  {
    profile: Type.Enum([...TIMEOUT_PROFILE_NAMES], {
      default: 'ipvs',
      description: 'Profile that gives all values not set here.',
    }),
    tcp: section(
      {
        none: seconds('State NONE'),
        established: seconds('Connection established'),
        synSent: seconds('SYN seen from the server side'),
        synRecv: seconds('SYN seen from the client, no answer yet'),
        finWait: seconds('Server has sent FIN'),
        timeWait: seconds('Both sides have sent FIN'),
        close: seconds('Reset seen'),
        closeWait: seconds('Client has sent FIN'),
        lastAck: seconds('Last FIN waits for its ACK'),
        listen: seconds('State LISTEN'),
        synAck: seconds('State SYNACK'),
      },
      'Seconds without a packet after which a TCP session goes, per state.',
      { default: {} },
    ),
    udp: section(
      {
        oneWay: seconds('Only the client has sent so far'),
        normal: seconds('Both sides have sent'),
      },
      'Seconds without a packet after which a UDP session goes, per state.',
      { default: {} },
    ),
    sctp: section(
      {
        init1: seconds('First INIT of the client, no answer yet'),
        init: seconds('INIT repeated, no answer yet'),
        cookieSent: seconds('INIT-ACK seen from the server'),
        cookieReplied: seconds('Client has answered with its cookie'),
        cookieWait: seconds('INIT seen from the server'),
        cookie: seconds('Client has answered with INIT-ACK'),
        cookieEchoed: seconds('Server has answered with its cookie'),
        established: seconds('Association established'),
        shutdownSent: seconds('Server shuts down'),
        shutdownReceived: seconds('Client shuts down'),
        shutdownAckSent: seconds('Server has acknowledged the shutdown'),
        rejected: seconds('INIT answered with ABORT'),
        closed: seconds('Association over'),
      },
      'Seconds without a packet after which an SCTP session goes, per state. A session begins in `tcp.none`, as all do.',
      { default: {} },
    ),
  },
  'Timeouts that differ from a profile.',
);
