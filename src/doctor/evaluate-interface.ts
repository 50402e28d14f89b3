// Judges one network interface for use with AF_XDP.
// Guarantees: pure; uses the same limits as the native refusals, so that what the doctor allows starts and what it forbids does not.
// Thread: any; no state.
import { largestMtu } from '../config/frame-size.js';
import type { NativeInterfaceProbe } from '../native-binding.js';
import type { Finding, FindingStatus, HostNeeds } from './facts.js';

/** How the kernel shows the name of our XDP program, native/ports/af_xdp.bpf.c. */
const ownProgram = 'millrace_xdp';

const bondKinds: ReadonlySet<string> = new Set(['bond', 'team']);

/** All findings about one interface. */
export function evaluateInterface(probe: NativeInterfaceProbe, needs: HostNeeds): readonly Finding[] {
  const findings: Finding[] = [];
  const say = (status: FindingStatus, check: string, found: string, needed = '', remedy = ''): void => {
    findings.push({ check: `interface.${check}`, interface: probe.name, status, found, needed, remedy });
  };
  const kind = probe.kind === '' ? '' : `, kind ${probe.kind}`;
  const driver = probe.driver === '' ? 'no driver named' : `driver ${probe.driver}`;
  if (bondKinds.has(probe.kind)) {
    say('problem', 'kind', `${driver}${kind}`, 'a device with queues of its own', 'Use the interfaces below without the bond.');
  } else {
    say('ok', 'kind', `${driver}${kind}, ${probe.mac}${probe.addresses.length === 0 ? '' : `, ${probe.addresses.join(', ')}`}`);
  }
  judgeLink(probe, say);
  judgeMtu(probe, needs, say);
  judgeQueues(probe, needs, say);
  judgeXdp(probe, needs, say);
  if (probe.master !== '') {
    const remedy = `ip link set dev ${probe.name} nomaster, or choose another interface.`;
    say('problem', 'master', `member of ${probe.master}`, 'an interface that no bond, bridge or team owns', remedy);
  }
  if (probe.ntuple === true) say('ok', 'flow-rules', 'flow rules (ntuple) are on: returns reach the right worker by hardware');
  else if (needs.workers > 1) {
    const found = probe.ntuple === null ? 'flow rules (ntuple): not known' : 'flow rules (ntuple) are off';
    say(
      'warning',
      'flow-rules',
      found,
      'flow rules with several workers; without them packets are handed from worker to worker, which costs time',
      `ethtool -K ${probe.name} ntuple on, if the card can; see ethtool -k ${probe.name}.`,
    );
  }
  return findings;
}

type Say = (status: FindingStatus, check: string, found: string, needed?: string, remedy?: string) => void;

function judgeLink(probe: NativeInterfaceProbe, say: Say): void {
  if (!probe.up) say('problem', 'link', 'down', 'a link that is up', `ip link set dev ${probe.name} up`);
  else if (!probe.carrier) say('warning', 'link', 'up, no carrier', 'a carrier for traffic', 'Check the cable or the far end.');
  else say('ok', 'link', 'up, carrier');
}

function judgeMtu(probe: NativeInterfaceProbe, needs: HostNeeds, say: Say): void {
  const frame = needs.frameSize === 0 ? 4096 : needs.frameSize;
  const limit = largestMtu(frame);
  if (probe.mtu <= limit) {
    const used = needs.frameSize === 0 && probe.mtu <= largestMtu(2048) ? 2048 : frame;
    say('ok', 'mtu', `MTU ${probe.mtu}, fits a frame of ${used} bytes`);
    return;
  }
  const larger = needs.frameSize === 2048 && probe.mtu <= largestMtu(4096) ? ', or set dataplane.frameSize to 4096.' : '.';
  say(
    'problem',
    'mtu',
    `MTU ${probe.mtu}`,
    `at most ${limit} for a frame of ${frame} bytes`,
    `ip link set dev ${probe.name} mtu ${limit}${larger}`,
  );
}

function judgeQueues(probe: NativeInterfaceProbe, needs: HostNeeds, say: Say): void {
  const found = `${probe.rxQueues} receive and ${probe.txQueues} transmit queue${probe.txQueues === 1 ? '' : 's'}`;
  const remedy = `Lower \`workers\` to ${Math.max(1, Math.min(probe.rxQueues, probe.txQueues))}, or ethtool -L ${probe.name} combined ${needs.workers}.`;
  if (probe.rxQueues < needs.workers || probe.txQueues < needs.workers) {
    say('problem', 'queues', found, `${needs.workers} of each, one per worker`, remedy);
  } else say('ok', 'queues', `${found} for ${needs.workers} worker${needs.workers === 1 ? '' : 's'}`);
}

function judgeXdp(probe: NativeInterfaceProbe, needs: HostNeeds, say: Say): void {
  if (probe.xdpProgram?.name.startsWith(ownProgram) === true) {
    const remedy = `Stop that process; bpftool net show dev ${probe.name} and ss --xdp -p find it.`;
    say(
      'problem',
      'xdp-program',
      `a running Millrace uses it (program id ${probe.xdpProgram.id})`,
      'an interface of its own',
      remedy,
    );
  } else if (probe.xdpProgram !== null) {
    const { id, name, mode } = probe.xdpProgram;
    say(
      'problem',
      'xdp-program',
      `program ${name === '' ? '' : `${name} `}(id ${id}, ${mode} mode) is attached`,
      'an interface without an XDP program',
      `See bpftool net show dev ${probe.name}; ip link set dev ${probe.name} xdp off if it may go.`,
    );
  }
  const features = probe.xdpFeatures;
  if (features === null) {
    say('ok', 'xdp', 'the kernel does not tell what the driver can do (it does from 6.3 on); the mode is found out at start');
    return;
  }
  if (features.basic && features.redirect) say('ok', 'xdp', 'native XDP with redirect');
  else {
    const status = needs.attachMode === 'native' ? 'problem' : 'warning';
    const remedy = 'Use a card whose driver has XDP, or leave dataplane.attachMode on auto.';
    say(
      status,
      'xdp',
      'the driver has no native XDP',
      'native XDP; the generic mode works everywhere but is several times slower',
      remedy,
    );
  }
  if (features.zeroCopy) say('ok', 'zero-copy', needs.zeroCopy === 'off' ? 'offered, switched off' : 'offered by the driver');
  else if (needs.zeroCopy === 'required') {
    say('problem', 'zero-copy', 'not offered by the driver', 'zero copy, as configured', 'Set dataplane.zeroCopy to auto.');
  } else say('ok', 'zero-copy', 'not offered by the driver; packets are copied');
}
