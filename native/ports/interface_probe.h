// What the kernel says about its interfaces and about XDP: the facts on which attaching is decided and that `millrace doctor`
// shows. Everything comes from netlink and ethtool ioctls of the calling thread's network namespace; sysfs is not used, because
// it shows the namespace of whoever mounted it. Guarantees: reads only; needs no privilege (some facts are then missing, and say
// so). Decisions are in interface_check.h. Thread: any. Set-up code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "net/address.h"

namespace millrace {

enum class XdpMode : std::uint8_t { kNative, kSkb, kOffload };

/// "native", "skb" or "offload".
std::string_view to_string(XdpMode mode);

struct XdpProgramInfo {
  std::uint32_t id = 0;
  /// Empty when the caller may not look (CAP_SYS_ADMIN).
  std::string name;
  XdpMode mode = XdpMode::kNative;
};

/// What the driver declares (NETDEV_XDP_ACT_*, Documentation/netlink/specs/netdev.yaml; kernel 6.3 and later).
struct XdpFeatures {
  bool basic = false;
  bool redirect = false;
  bool zero_copy = false;
};

struct InterfaceProbe {
  std::string name;
  std::uint32_t index = 0;
  /// Link kind of rtnetlink: "veth", "bridge", "bond"...; empty for most physical interfaces.
  std::string kind;
  /// Driver name of ethtool; empty when there is none.
  std::string driver;
  /// Bytes of the largest IP packet.
  std::uint32_t mtu = 0;
  MacAddress mac;
  /// Administratively up.
  bool up = false;
  bool carrier = false;
  /// Interface that it is enslaved to, and that one's kind; empty if none.
  std::string master;
  std::string master_kind;
  /// Queues in use now, not the most that the device could have.
  std::uint32_t rx_queues = 0;
  std::uint32_t tx_queues = 0;
  std::optional<XdpProgramInfo> xdp_program;
  /// Absent when the kernel does not tell.
  std::optional<XdpFeatures> xdp_features;
  /// Flow rules of ethtool switched on; absent when the driver has no such notion.
  std::optional<bool> ntuple;
  /// "a.b.c.d/len" and IPv6 alike, in the kernel's order.
  std::vector<std::string> addresses;
};

/// All interfaces of this network namespace. Errors: netlink_failed.
Result<std::vector<InterfaceProbe>> probe_interfaces();

/// Names of the errno, "" when it works: "EPERM", "EAFNOSUPPORT"...
struct KernelProbe {
  /// A trivial XDP program can be loaded.
  std::string xdp;
  /// An AF_XDP socket can be made.
  std::string af_xdp;
  /// XDP programs can be attached by a link that goes with the process (kernel 5.9).
  std::string bpf_link;
};
KernelProbe probe_kernel();

}  // namespace millrace
