// The words of `millrace realserver` that are refused before anything is looked at.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runCli } from '../../../src/cli/program.js';

let err = '';
beforeEach(() => {
  err = '';
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

test.each([
  ['direct', "required option '--vip <addresses>'"],
  ['direct --vip 203.0.113', '"203.0.113" is not an IPv4 or IPv6 address'],
  ['tunnel --vip 203.0.113.10', "required option '--from <prefix>'"],
  ['tunnel --vip 203.0.113.10 --from 192.0.2.1/24', 'write 192.0.2.0/24'],
  ['tunnel --vip 203.0.113.10 --from 192.0.2.1 --type vxlan', 'there are ipip, gre, gue'],
  ['tunnel --vip 203.0.113.10 --from 192.0.2.1 --gue-port 0', 'a port from 1 to 65535'],
  ['tunnel --vip 203.0.113.10 --from 192.0.2.1 --device xdp', 'auto, kernel or bpf'],
  ['l3dsr --vip 203.0.113.10', "required option '--dscp <numbers>'"],
  ['l3dsr --vip 203.0.113.10 --dscp 64', '"64" is no DSCP from 1 to 63'],
  ['l3dsr --vip 203.0.113.10,203.0.113.11 --dscp 1', 'one IPv4 VIP per DSCP'],
  ['client-address', "required option '--from <prefix>'"],
  ['client-address --from 192.0.2.300', '"192.0.2.300" is no address or prefix'],
  ['client-address --from 192.0.2.1 --kinds 254,3', '"3" is no kind of TCP option'],
  ['client-address --from 192.0.2.1 --interface millrace-none', 'there is no interface millrace-none'],
  ['undo nat', 'one of direct, tunnel, l3dsr'],
])('realserver %s: exit code 2, and the reason', async (words, reason) => {
  expect(await runCli(['realserver', ...words.split(' ')])).toBe(2);
  expect(err).toContain(reason);
});
