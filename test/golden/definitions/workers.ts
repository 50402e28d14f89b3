// Golden cases: several workers. Which worker a client's packets reach, and so which local address they get, is up to the steering;
// what must come out is not. Replies are sent to both local addresses: the one that has the session takes its own.

import { golden, type Timeline } from '../support/case.js';
import { dnsFlow, type Flow, type FlowOptions, local, web6Flow, webFlow } from '../support/flow.js';
import { configWith, LOCAL, LOCAL_B, LOCAL_PORT, LOCAL6, LOCAL6_B } from '../support/network.js';

const config = configWith({ workers: 2, localAddresses: [LOCAL, LOCAL_B, LOCAL6, LOCAL6_B] });
const flowSteering = { config, steering: 'flow' as const };
const wrongSteering = { config, steering: 'wrong' as const };

/** A request and its answer, the answer sent to both local addresses at once. */
function exchange(t: Timeline, make: (changes: Partial<FlowOptions>) => Flow, addresses: readonly [string, string]): void {
  const ipv6 = addresses[0].includes(':');
  const client = make({ local: local('own', ipv6) });
  const [one, other] = addresses.map((address) => make({ local: { address, port: LOCAL_PORT } })) as [Flow, Flow];
  const reply = { flags: 'SA', seq: 5000, ack: 1001, payload: '' };
  t.forward(client.fromClient({ flags: 'S', payload: 'question' }));
  t.simultaneously(() => t.forward(one.fromServer(reply)).drop('local_no_session', other.fromServer(reply).arriving));
  t.forward(client.fromClient({ seq: 1001, ack: 5001, payload: 'thanks' }));
  t.expect({ sessions_created: 1, sessions: 1, ...(client.options.protocol === 'tcp' ? { sessions_active: 1 } : {}) });
}

export const workerCases = [
  golden(
    'two-workers-tcp',
    'With the right steering two workers serve a connection without handing packets over.',
    (t) => {
      exchange(t, webFlow, [LOCAL, LOCAL_B]);
    },
    flowSteering,
  ),
  golden(
    'two-workers-tcp-v6',
    'The same over IPv6.',
    (t) => {
      exchange(t, web6Flow, [LOCAL6, LOCAL6_B]);
    },
    flowSteering,
  ),
  golden(
    'two-workers-wrong-steering-tcp',
    'Replies that arrive on the wrong worker are handed to the owner of their session.',
    (t) => {
      exchange(t, webFlow, [LOCAL, LOCAL_B]);
      t.expect({ handoff_sent: 2, handoff_received: 2 });
    },
    wrongSteering,
  ),
  golden(
    'two-workers-wrong-steering-tcp-v6',
    'The same over IPv6.',
    (t) => {
      exchange(t, web6Flow, [LOCAL6, LOCAL6_B]);
      t.expect({ handoff_sent: 2, handoff_received: 2 });
    },
    wrongSteering,
  ),
  golden(
    'two-workers-wrong-steering-udp',
    'Handed over UDP replies are translated like any other.',
    (t) => {
      exchange(t, dnsFlow, [LOCAL, LOCAL_B]);
      t.expect({ handoff_sent: 2, handoff_received: 2 });
    },
    wrongSteering,
  ),
  golden(
    'two-workers-no-session',
    'A packet without SYN is offered to the other worker once before it is dropped.',
    (t) => {
      t.drop('tcp_no_session', webFlow().fromClient().arriving, web6Flow().fromClient({ flags: 'R' }).arriving);
      t.expect({ handoff_sent: 2, handoff_received: 2 });
    },
    flowSteering,
  ),
  golden(
    'two-workers-many-clients',
    'Forty clients over two workers: each gets a local address and port of its own.',
    (t) => {
      for (let i = 0; i < 40; i++) {
        t.forward(webFlow({ clientPort: 40000 + i, local: local(`client ${i + 1}`) }).fromClient({ flags: 'S' }));
      }
      t.expect({ sessions_created: 40, sessions: 40, sessions_active: 40 });
    },
    { config: { ...config, localPorts: '20000-29999' }, steering: 'flow' },
  ),
];
