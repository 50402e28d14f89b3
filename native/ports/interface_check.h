// Whether Millrace can take an interface, decided from what was probed; and the words for what the kernel refuses.
// Guarantees: no system calls in this file's functions except read_capabilities(); so every refusal is tested without the
// hardware. Each error says what was found, what is needed and how to get it. Thread: any. Set-up code.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "ports/interface_probe.h"

namespace millrace {

enum class AttachMode : std::uint8_t { kAuto, kNative, kSkb };
enum class ZeroCopy : std::uint8_t { kAuto, kOff, kRequired };

/// Bytes of a frame that a packet cannot use: what XDP keeps in front (XDP_PACKET_HEADROOM), the Ethernet header, two VLAN tags.
inline constexpr std::uint32_t kFrameOverhead = 256 + 14 + 2 * 4;

/// The largest MTU whose packets fit into one frame. `frame_size` in bytes.
constexpr std::uint32_t largest_mtu(std::uint32_t frame_size) { return frame_size - kFrameOverhead; }

struct InterfaceNeeds {
  std::uint32_t workers = 1;
  /// Bytes.
  std::uint32_t frame_size = 2048;
  AttachMode attach_mode = AttachMode::kAuto;
  ZeroCopy zero_copy = ZeroCopy::kAuto;
};

/// Errors: interface_is_bond, interface_is_member, interface_has_xdp, interface_mtu_too_large, interface_down,
/// interface_queues_too_few, zero_copy_unavailable. More queues than workers are fine: worker w serves every queue q with
/// q % workers == w.
Result<void> check_interface(const InterfaceProbe& probe, const InterfaceNeeds& needs);

/// What stands between us and an interface whose Millrace lock is taken: `pid` is its holder's, 0 if it cannot be seen from here.
Error interface_busy(const std::string& interface, int pid);

/// Names those of CAP_NET_ADMIN, CAP_BPF (or CAP_SYS_ADMIN), CAP_NET_RAW and CAP_IPC_LOCK that are missing in a mask of effective
/// capabilities, as a list for a sentence; empty when none is.
std::string missing_capabilities(std::uint64_t effective);

/// The effective capabilities of this thread (capget(2)); 0 when they cannot be read.
std::uint64_t read_capabilities();

/// Words for a failed load or attach of the XDP program. Errors: permission_denied, interface_has_xdp, interface_mtu_too_large,
/// memlock_too_small, xdp_unsupported.
/// `detail` is the kernel's or libbpf's own line, or empty.
Error xdp_error(const std::string& interface, const std::string& what, int system_errno, const std::string& detail,
                std::uint64_t capabilities);

/// Words for a failed AF_XDP socket. Errors: permission_denied, memlock_too_small, interface_busy, zero_copy_unavailable,
/// interface_queues_too_few, af_xdp_unsupported.
Error af_xdp_error(const std::string& interface, std::uint32_t queue, bool zero_copy, int system_errno,
                   std::uint64_t capabilities);

}  // namespace millrace
