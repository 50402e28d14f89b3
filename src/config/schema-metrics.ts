// The part of the configuration's schema that says how metrics are labelled and how many there are.
// Thread: any; no state.
import { Type } from 'typebox';
import { name, section } from './schema-parts.js';

export const Metrics = section(
  {
    cluster: Type.Optional(
      name(
        'Name of the group of nodes that serve the same VIPs: the label `cluster` of every metric. Nodes of a cluster share it.',
      ),
    ),
    node: Type.Optional(name('Name of this node: the label `node` of every metric.')),
    perServer: Type.Boolean({
      default: true,
      description:
        'Whether services are counted by real server (label `real`). `false` sums each service up: for more real servers than ' +
        'the monitoring can take, at about 1.5 kB each.',
    }),
    ipvsNames: Type.Boolean({
      default: false,
      description:
        'Whether services appear under the names of the IPVS collector of node_exporter (`node_ipvs_*`) too, for dashboards that exist.',
    }),
  },
  'Metrics for Prometheus; see docs/metrics.md. All of it can change while traffic runs.',
);
