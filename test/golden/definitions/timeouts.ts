// Golden cases: when sessions go. Time is that of the capture; a session may go up to a second late, so each case looks well before
// and well after.

import { golden } from '../support/case.js';
import { closedByClient, dnsFlow, handshake, local, webFlow } from '../support/flow.js';
import { configWith, type SessionsConfig } from '../support/network.js';

const created = { sessions_created: 1 };
const sessions = (timeouts: SessionsConfig['timeouts']) => ({
  config: configWith({ sessions: timeouts === undefined ? {} : { timeouts } }),
});
const gone = { ...created, sessions_expired: 1 };

export const timeoutCases = [
  golden('timeout-ipvs-established', 'IPVS profile: an established connection lives 900 s after its last packet.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow))
      .wait(898)
      .forward(flow.fromClient({ payload: 'keep' }));
    t.wait(898)
      .forward(flow.fromServer({ payload: 'keep' }))
      .wait(902)
      .drop('tcp_no_session', flow.fromClient().arriving)
      .expect(gone);
  }),
  golden(
    'timeout-dpvs-established',
    'DPVS profile: an established connection lives 90 s.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow))
        .wait(88)
        .forward(flow.fromClient())
        .wait(92)
        .drop('tcp_no_session', flow.fromClient().arriving)
        .expect(gone);
    },
    sessions('dpvs'),
  ),
  golden('timeout-ipvs-syn-recv', 'IPVS profile: a SYN without answer is forgotten after 60 s.', (t) => {
    const flow = webFlow();
    t.forward(flow.fromClient({ flags: 'S' }))
      .wait(58)
      .forward(flow.fromServer({ flags: 'SA', ack: 1001 }));
    t.wait(62)
      .drop('local_no_session', flow.fromServer({ flags: 'SA', ack: 1001 }).arriving)
      .expect(gone);
  }),
  golden(
    'timeout-dpvs-syn-recv',
    'DPVS profile: a SYN without answer is forgotten after 30 s.',
    (t) => {
      const flow = webFlow();
      t.forward(flow.fromClient({ flags: 'S' }))
        .wait(32)
        .drop('local_no_session', flow.fromServer({ flags: 'SA' }).arriving)
        .expect(gone);
    },
    sessions('dpvs'),
  ),
  golden('timeout-ipvs-time-wait', 'IPVS profile: a connection closed by both sides lives 120 s more.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), ...closedByClient(flow))
      .wait(118)
      .forward(flow.fromServer({ flags: 'FA' }));
    t.wait(122)
      .drop('local_no_session', flow.fromServer({ flags: 'FA' }).arriving)
      .expect(gone);
  }),
  golden(
    'timeout-dpvs-time-wait',
    'DPVS profile: a connection closed by both sides lives 7 s more.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow), ...closedByClient(flow))
        .wait(9)
        .drop('local_no_session', flow.fromServer({ flags: 'FA' }).arriving);
      t.expect(gone);
    },
    sessions('dpvs'),
  ),
  golden('timeout-ipvs-close-wait', "IPVS profile: after the client's FIN the server has 60 s.", (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromClient({ flags: 'FA' }))
      .wait(58)
      .forward(flow.fromServer({ payload: 'late' }));
    t.wait(62)
      .drop('local_no_session', flow.fromServer({ payload: 'too late' }).arriving)
      .expect(gone);
  }),
  golden('timeout-ipvs-fin-wait', "IPVS profile: after the server's FIN the client has 120 s.", (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromServer({ flags: 'FA' }))
      .wait(118)
      .forward(flow.fromClient({ payload: 'late' }));
    t.wait(122)
      .drop('tcp_no_session', flow.fromClient({ payload: 'too late' }).arriving)
      .expect(gone);
  }),
  golden('timeout-ipvs-close', 'IPVS profile: after a reset a session is kept for 10 s.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow), flow.fromClient({ flags: 'R', ack: 0 }))
      .wait(8)
      .forward(flow.fromServer({ flags: 'A' }));
    t.wait(12)
      .drop('local_no_session', flow.fromServer({ flags: 'A' }).arriving)
      .expect(gone);
  }),
  golden(
    'timeout-dpvs-close',
    'DPVS profile: after a reset a session is kept for 3 s.',
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow), flow.fromServer({ flags: 'RA' }))
        .wait(5)
        .drop('tcp_no_session', flow.fromClient().arriving)
        .expect(gone);
    },
    sessions('dpvs'),
  ),
  golden('timeout-ipvs-udp', 'IPVS profile: a UDP session lives 300 s after its last datagram.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient({ payload: 'a' }))
      .wait(298)
      .forward(flow.fromServer({ payload: 'b' }))
      .wait(298);
    t.forward(flow.fromServer({ payload: 'c' }))
      .wait(302)
      .drop('local_no_session', flow.fromServer({ payload: 'd' }).arriving)
      .expect(gone);
  }),
  golden(
    'timeout-custom-udp',
    'Own timeouts: one-way sessions live 5 s, answered ones 20 s.',
    (t) => {
      const flow = dnsFlow();
      t.forward(flow.fromClient({ payload: 'a' }))
        .wait(7)
        .drop('local_no_session', flow.fromServer({ payload: 'b' }).arriving);
      t.forward(flow.fromClient({ payload: 'c' }), flow.fromServer({ payload: 'd' }))
        .wait(18)
        .forward(flow.fromServer({ payload: 'e' }));
      t.wait(22)
        .drop('local_no_session', flow.fromServer({ payload: 'f' }).arriving)
        .expect({ sessions_created: 2, sessions_expired: 2 });
    },
    sessions({ profile: 'ipvs', udp: { oneWay: 5, normal: 20 } }),
  ),
  golden(
    'timeout-custom-tcp',
    "Own timeouts: an established connection lives 4 s, other states keep the profile's.",
    (t) => {
      const flow = webFlow();
      t.forward(...handshake(flow))
        .wait(6)
        .drop('tcp_no_session', flow.fromClient().arriving);
      t.forward(flow.fromClient({ flags: 'S' }))
        .wait(50)
        .forward(flow.fromServer({ flags: 'SA', ack: 1001 }));
      t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
    },
    sessions({ profile: 'ipvs', tcp: { established: 4 } }),
  ),
  golden('expiry-and-re-creation', 'After its session has gone, the same client connects again and gets a new session.', (t) => {
    const flow = webFlow();
    t.forward(...handshake(flow))
      .wait(905)
      .drop('tcp_no_session', flow.fromClient().arriving);
    t.forward(...handshake(flow), flow.fromServer({ payload: 'hello again' }));
    t.expect({ sessions_created: 2, sessions_expired: 1, sessions: 1, sessions_active: 1 });
    t.server('web', '192.0.2.11:8080', { connections: 2, active: 1, inactive: 0 });
  }),
  golden('expiry-of-many', 'Sessions of different ages go each at its own time.', (t) => {
    const [first, second] = [webFlow(), dnsFlow()];
    t.forward(first.fromClient({ flags: 'S' }))
      .wait(30)
      .forward(second.fromClient({ payload: 'a' }))
      .wait(32);
    t.drop('local_no_session', first.fromServer({ flags: 'SA' }).arriving)
      .forward(second.fromServer({ payload: 'b' }))
      .wait(302);
    t.drop('local_no_session', second.fromServer({ payload: 'c' }).arriving).expect({ sessions_created: 2, sessions_expired: 2 });
  }),
  golden(
    'expiry-among-many',
    'One session that is due is gone when its next packet comes, even when hundreds looked at in the same moment stay.',
    (t) => {
      const quiet = webFlow({ local: local('quiet') });
      const others = Array.from({ length: 400 }, (_, i) => dnsFlow({ clientPort: 40000 + i, local: local(`other ${i + 1}`) }));
      t.simultaneously(() => {
        for (const flow of others.slice(0, 200)) t.forward(flow.fromClient({ payload: 'a' }));
        t.forward(quiet.fromClient({ flags: 'S' }));
        for (const flow of others.slice(200)) t.forward(flow.fromClient({ payload: 'a' }));
      });
      t.wait(40).simultaneously(() => {
        for (const flow of others) t.forward(flow.fromClient({ payload: 'b' }));
      });
      t.wait(22).drop('tcp_no_session', quiet.fromClient().arriving);
      t.expect({ sessions_created: 401, sessions_expired: 1, sessions: 400 });
    },
    { config: configWith({ localPorts: '20000-29999', sessions: { timeouts: { profile: 'ipvs', udp: { oneWay: 60 } } } }) },
  ),
  golden('udp-expired-datagram-opens-again', 'A client datagram after expiry opens a new session.', (t) => {
    const flow = dnsFlow();
    t.forward(flow.fromClient({ payload: 'a' }), flow.fromServer({ payload: 'b' })).wait(305);
    t.forward(flow.fromClient({ payload: 'c' })).expect({ sessions_created: 2, sessions_expired: 1, sessions: 1 });
  }),
];
