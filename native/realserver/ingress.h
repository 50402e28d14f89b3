// The BPF programs of a real server at the clsact ingress hook of an interface: one takes tunnels off (decapsulate.bpf.c), one
// puts the VIP back that L3DSR hid (l3dsr.bpf.c). Guarantees: what is attached stays without a process until it is detached or
// the interface goes, and belongs to the filter alone (nothing is pinned); a filter of somebody else is never replaced or
// removed. Thread: any, in the network namespace of the interface; set-up only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "net/address.h"

namespace millrace {

enum class IngressProgram : std::uint8_t { kDecapsulation, kL3dsr };

/// An address prefix; `length` counts bits of the address's own family: 0 to 32 or 0 to 128.
struct IngressPrefix {
  IpAddress address;
  std::uint32_t length = 0;
};

struct Decapsulation {
  std::string interface;
  bool ipip = false;
  bool gre = false;
  bool gue = false;
  /// Destination port of GUE, host byte order.
  std::uint16_t gue_port = 6080;
  /// Inner destinations; packets for others are left to the kernel.
  std::vector<IpAddress> vips;
  /// Outer sources; tunnel packets for a VIP from elsewhere are dropped.
  std::vector<IngressPrefix> trusted;
};

struct L3dsrMark {
  /// 1 to 63.
  std::uint32_t dscp = 0;
  IpAddress vip;
};

struct L3dsr {
  std::string interface;
  /// At most one VIP per DSCP and address family.
  std::vector<L3dsrMark> marks;
};

struct IngressCounter {
  const char* name = "";
  const char* help = "";
  std::uint64_t packets = 0;
  /// From the Ethernet header to the end of the packet as it arrived.
  std::uint64_t bytes = 0;
};

struct IngressState {
  /// "clsact" or "ingress" (both have the hook), "" if there is none.
  std::string hook;
  /// Filters of anybody at the hook's ingress and egress.
  std::uint32_t filters = 0;
  /// Kernel's number of the program; 0: not attached.
  std::uint32_t program_id = 0;
  /// Since the program was attached, all CPUs; empty if it is not attached.
  std::vector<IngressCounter> counters;
};

/// Attach a program, in place of one of ours of the same kind; the hook must be there. The program's number comes back.
/// Errors: interface_not_found, input_invalid (no Ethernet interface, too many addresses, a mark twice), permission_denied,
/// bpf_unsupported (the kernel refused), interface_busy (a filter of somebody else has our place).
Result<std::uint32_t> attach_decapsulation(const Decapsulation& wanted);
Result<std::uint32_t> attach_l3dsr(const L3dsr& wanted);

/// Errors: interface_not_found, netlink_failed, permission_denied.
Result<IngressState> ingress_state(const std::string& interface, IngressProgram program);

/// Removes the filter if it is ours; nothing happens if it is not there. Errors: as above.
Result<void> detach_ingress(const std::string& interface, IngressProgram program);

/// Makes the clsact hook; false if there was a hook already. Errors: interface_not_found, permission_denied, bpf_unsupported.
Result<bool> make_ingress_hook(const std::string& interface);

/// Removes the clsact hook with every filter at it. Errors: interface_not_found, permission_denied, bpf_unsupported.
Result<void> remove_ingress_hook(const std::string& interface);

}  // namespace millrace
