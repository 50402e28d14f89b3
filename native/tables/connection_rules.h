// What a service takes for the beginning of a connection, beside the rule that a SYN or a first datagram is one: the switches that IPVS
// has as flags and sysctls. Thread: a value; part of immutable tables.
#pragma once

#include <cstdint>

namespace millrace {

/// Which sessions a new SYN from the same ports ends and replaces: IPVS conn_reuse_mode. In all others it goes on with the session.
enum class ConnectionReuse : std::uint8_t {
  kNever = 0,
  kEnded = 1,           ///< TIME_WAIT and CLOSE
  kEndedOrFinWait = 2,  ///< FIN_WAIT too where only the client's direction passes: the last state seen there
};

struct ConnectionRules {
  ConnectionReuse reuse = ConnectionReuse::kEnded;
  /// TCP packets other than RST may begin a session in the middle of a connection (IPVS sloppy_tcp).
  bool sloppy_tcp = false;
  /// Every datagram is scheduled by itself and leaves no session (ipvsadm -o).
  bool one_packet = false;
  bool operator==(const ConnectionRules&) const = default;
};

}  // namespace millrace
