// Slots: the stable identities that sessions refer to by number: VIPs (one per service), servers, local addresses.
// A slot is filled before the snapshot that uses it is published and is not changed or reused while a worker may still look at it:
// the control thread frees it only after a grace period and when no worker counts a session on it. So a session keeps working when
// its service or server has left the configuration, and a configuration change copies no table.
// Threads: written by the control thread, read by workers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "net/address.h"
#include "sessions/session.h"

namespace millrace {

/// Identity of one service: what its VIP looks like on the wire.
struct ServiceIdentity {
  IpAddress address;
  /// 0: any port.
  be16 port;
  /// IP protocol number; 0: TCP and UDP.
  std::uint8_t protocol;
  /// What L3DSR marks packets of this VIP with, 1 to 63. Follows the configuration while workers read it: atomic, relaxed.
  std::uint8_t dscp;
  /// Index into ServiceTables::timeout_tables; 0: the timeouts of all. Changes while workers read: relaxed, both sides.
  std::uint32_t timeouts;
  /// Whether it or one of its servers has a limit on packets or bits per second (tables/rate_limits.h). Relaxed, too.
  std::uint32_t rated;
  std::uint32_t reserved;
};
static_assert(sizeof(ServiceIdentity) == 32);

/// Identity of one server of one service.
struct ServerIdentity {
  IpAddress address;
  /// 0: the port that the client asked for.
  be16 port;
  std::uint8_t protocol;
  ForwardMode mode;
  ServiceSlot service;
  /// Servers of several services that are one address and port share an endpoint: local ports are unique per endpoint and protocol
  /// (port_space()).
  std::uint32_t endpoint;
  /// UDP port that GUE packets go to.
  be16 tunnel_port;
  std::uint16_t reserved;
};
static_assert(sizeof(ServerIdentity) == 32);

/// One local address and the worker that owns it.
struct LocalIdentity {
  IpAddress address;
  std::uint32_t worker;
  std::uint32_t reserved[3];
};
static_assert(sizeof(LocalIdentity) == 32);

/// An array with a fixed address whose pages exist only once touched, so that growing never moves what workers read.
template <typename T>
class StableArray {
 public:
  StableArray() = default;
  ~StableArray();
  StableArray(const StableArray&) = delete;
  StableArray& operator=(const StableArray&) = delete;

  /// Reserves address space for `capacity` zeroed items; no memory is used until written.
  Result<void> reserve(std::size_t capacity);
  std::size_t capacity() const { return capacity_; }
  T* data() { return items_; }
  const T* data() const { return items_; }
  T& operator[](std::size_t i) { return items_[i]; }
  const T& operator[](std::size_t i) const { return items_[i]; }

 private:
  T* items_ = nullptr;
  std::size_t capacity_ = 0;
};

/// Statistics of one server as one worker counts them; the sum over workers is the server's. One cache line.
struct alignas(64) ServerStats {
  std::uint64_t connections;
  std::uint64_t in_packets;
  std::uint64_t in_bytes;
  std::uint64_t out_packets;
  std::uint64_t out_bytes;
  /// Sessions now: established, and all others.
  std::uint64_t active;
  std::uint64_t inactive;
  /// Sessions that are over. `connections` - `ended` is their number now, exact for readers on other threads too: a session that
  /// changes from active to inactive is in neither for a moment.
  std::uint64_t ended;
};
static_assert(sizeof(ServerStats) == 64);

/// Statistics have one writer and readers on other threads: a relaxed store is a plain move and a defined read.
inline void store_relaxed(std::uint64_t& field, std::uint64_t value) { __atomic_store_n(&field, value, __ATOMIC_RELAXED); }
inline std::uint64_t load_relaxed(const std::uint64_t& field) { return __atomic_load_n(&field, __ATOMIC_RELAXED); }

/// For counts that decide about slots: who reads that a session is gone also knows that its worker has looked at the slots for the
/// last time. On x86 as cheap as the relaxed ones.
inline void store_release(std::uint64_t& field, std::uint64_t value) { __atomic_store_n(&field, value, __ATOMIC_RELEASE); }
inline std::uint64_t load_acquire(const std::uint64_t& field) { return __atomic_load_n(&field, __ATOMIC_ACQUIRE); }

/// Sessions on a server now, as one worker counts them. For the thread that decides about slots, when no new session can begin there.
inline std::uint64_t sessions_now(const ServerStats& stats) {
  const std::uint64_t ended = load_acquire(stats.ended);
  return load_relaxed(stats.connections) - ended;
}

inline constexpr std::size_t kMaxServices = 1u << 17;
inline constexpr std::size_t kMaxServers = 1u << 18;
inline constexpr std::size_t kMaxLocals = 1u << 16;
/// Numbers that port_space() gives (pipeline/session_key.h): two per endpoint, and those that all destinations without an endpoint of
/// their own share.
inline constexpr std::uint32_t kFirstSharedPortSpace = 2 * kMaxServers;
inline constexpr std::uint32_t kSharedPortSpaces = 1u << 12;
inline constexpr std::size_t kMaxPortSpaces = std::size_t{kFirstSharedPortSpace} + kSharedPortSpaces;
/// Prefixes of VIPs.
inline constexpr std::size_t kMaxOwnedPrefixes = 1u << 12;
/// VIPs and local addresses together: what the XDP program's table holds.
inline constexpr std::size_t kMaxOwnedAddresses = 1u << 16;

}  // namespace millrace

#include "tables/stable_array_inl.h"
