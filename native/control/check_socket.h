// Sockets of health checks with what Node's own cannot have: an interface, a firewall mark, ICMP echo. And the datagrams by which a
// service manager learns that the daemon lives.
// Guarantees: what comes back is not connected, does not block, and closes over exec; a datagram to the service manager does not wait.
// Thread: any JavaScript thread; no state.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "net/address.h"

namespace millrace {

enum class CheckSocketKind : std::uint8_t { kStream, kDatagram, kEcho };

struct CheckSocketOptions {
  CheckSocketKind kind = CheckSocketKind::kStream;
  bool ipv6 = false;
  /// Source; nothing: the kernel's choice.
  std::string bind_address;
  /// SO_BINDTODEVICE; empty: any.
  std::string bind_interface;
  /// SO_MARK; 0: none.
  std::uint32_t mark = 0;
};

/// The file descriptor. Error: check_socket_unavailable, which says which of the wishes failed.
Result<int> open_check_socket(const CheckSocketOptions& options);

/// Sends `text` to the service manager's socket, a path or an abstract name that begins with '@' (sd_notify(3)).
/// Error: notify_socket_unavailable.
Result<void> notify_service_manager(const std::string& socket, const std::string& text);

}  // namespace millrace
