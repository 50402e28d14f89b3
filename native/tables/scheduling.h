// What the configuration says about a service's scheduler, and the lookup table that a hashing scheduler needs. The tables hold
// both as plain data: what they mean is the business of native/schedulers.
// Threads: built by the control thread, immutable once published; workers read.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace millrace {

/// A scheduler, told by its name: up to eight characters, packed. So a new scheduler needs no entry here; the two that code
/// beside native/schedulers names have one.
enum class SchedulerKind : std::uint64_t {
  kRoundRobin = 0x7272,           // "rr"
  kWeightedRoundRobin = 0x777272  // "wrr"
};

/// The packed name; the first character is the most significant one.
constexpr SchedulerKind scheduler_named(std::string_view name) {
  std::uint64_t packed = 0;
  for (const char c : name) packed = packed << 8 | static_cast<std::uint8_t>(c);
  return static_cast<SchedulerKind>(packed);
}
static_assert(scheduler_named("rr") == SchedulerKind::kRoundRobin);
static_assert(scheduler_named("wrr") == SchedulerKind::kWeightedRoundRobin);

/// Which fields of a client's first packet a hash is taken of.
enum class HashInput : std::uint8_t {
  kSource,      ///< client address, and its port with SchedulerOptions::port: the kernel's choice
  kThreeTuple,  ///< client address, destination address, protocol
  kFiveTuple    ///< the three, and both ports
};

/// How servers write themselves into QUIC connection ids (schedulers/quic_cid.h).
enum class ConnectionIdFormat : std::uint8_t { kDpvs, kKatran };

struct SchedulerOptions {
  /// A client whose server is not available goes to another one instead of being refused.
  bool fallback = false;
  /// The client's port is part of the hash.
  bool port = false;
  HashInput key = HashInput::kSource;
  /// Slots of a Maglev table: a prime of kMaglevSizes (schedulers/mh.h).
  std::uint32_t table_size = 4093;
  /// The servers' ports enter their permutations, as in the kernel; without them a client meets the same host on every port.
  bool server_ports = true;
  ConnectionIdFormat connection_id = ConnectionIdFormat::kDpvs;
  bool operator==(const SchedulerOptions&) const = default;
};

/// Of a server address and port, what a connection id of the DPVS format tells: the last `length` bytes, and the port or 0.
struct AddressTail {
  std::uint64_t bytes;
  std::uint16_t port;
  std::uint8_t length;
  bool operator==(const AddressTail&) const = default;
};
struct AddressTailHash {
  std::size_t operator()(const AddressTail& t) const {
    return static_cast<std::size_t>((t.bytes ^ (std::uint64_t{t.port} << 8 | t.length) * 0x9e3779b97f4a7c15ull) *
                                    0xbf58476d1ce4e5b9ull);
  }
};

/// What a scheduler looks clients up in; each uses the parts it needs. Servers are indices into ServiceTable::servers.
struct SchedulerTable {
  static constexpr std::uint32_t kNoServer = 0xffffffffu;
  struct RingPoint {
    std::uint64_t hash;
    std::uint32_t server;
  };
  /// By hash slot (dh, sh, mh, quic-cid); empty when no server has a place.
  std::vector<std::uint32_t> slots;
  /// Ascending by hash (conhash).
  std::vector<RingPoint> ring;
  /// By server id, and by the end of the address (quic-cid).
  std::unordered_map<std::uint32_t, std::uint32_t> ids;
  std::unordered_map<AddressTail, std::uint32_t, AddressTailHash> tails;
};

}  // namespace millrace
