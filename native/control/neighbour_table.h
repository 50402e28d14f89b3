// NeighbourTable: what is known about each neighbour and when the kernel must be asked about it again. The kernel resolves (ARP,
// ND); this table mirrors its answers and decides about retries and keep-alive, because the kernel does not see who uses a
// neighbour.
//
//   unknown --solicit--> asked --answer--> resolved --silence or FAILED--> failed --retry 1 s .. 5 s--> (asked, still failed)
//
// Guarantees: pure state, no system calls; at most one solicitation per neighbour and 300 ms; what a neighbour was stays valid
// while the kernel asks again, so that a flush of the kernel's table loses no packet.
// Thread: the control thread alone.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "net/address.h"
#include "tables/route_table.h"

namespace millrace {

struct Resolution {
  MacAddress mac;
  bool resolved = false;
  bool failed = false;
  bool operator==(const Resolution&) const = default;
};

using NeighbourKeys = std::unordered_set<NeighbourKey, NeighbourKeyHash>;

class NeighbourTable {
 public:
  /// An on-link client is kept alive for so long after a worker asked for it.
  static constexpr std::uint64_t kClientActiveMs = 5 * 60 * 1000;
  /// Well below the kernel's gc_stale_time (60 s), so that an entry in use is never collected.
  static constexpr std::uint64_t kKeepAliveMs = 20 * 1000;
  static constexpr std::uint64_t kFirstRetryMs = 1000;
  static constexpr std::uint64_t kLastRetryMs = 5000;
  /// The kernel reports failure after 3 s; without any report it is asked again.
  static constexpr std::uint64_t kSilenceMs = 4000;
  static constexpr std::uint64_t kScanMs = 500;

  /// The kernel's entry has changed. `state` is NUD_*.
  void kernel_update(const NeighbourKey& key, const MacAddress& mac, std::uint16_t state, std::uint64_t now_ms);
  void kernel_gone(const NeighbourKey& key, std::uint64_t now_ms);
  /// Around a full listing of the kernel's entries: those not seen are gone.
  void begin_listing() { listing_++; }
  void end_listing(std::uint64_t now_ms);
  void set_usable(std::uint32_t interface, bool usable, std::uint64_t now_ms);
  /// Neighbours of the configuration; replaces the previous ones.
  void set_configured(const std::unordered_map<NeighbourKey, MacAddress, NeighbourKeyHash>& configured);

  /// A next hop refers to this neighbour: it is kept until release().
  void retain(const NeighbourKey& key);
  void release(const NeighbourKey& key);
  /// Pinned neighbours are always active.
  void set_pinned(const NeighbourKey& key, bool pinned, std::uint64_t now_ms);
  /// Somebody wants to send to it: active for kClientActiveMs.
  void request(const NeighbourKey& key, std::uint64_t now_ms);

  Resolution resolution(const NeighbourKey& key) const;
  /// True when it can be resolved without asking anyone.
  bool is_known(const NeighbourKey& key) const;
  /// Failed, not pinned, and nobody has asked for it for so long.
  bool is_forgotten(const NeighbourKey& key, std::uint64_t now_ms, std::uint64_t silent_ms) const;

  /// Scans all records at most every kScanMs.
  void tick(std::uint64_t now_ms);
  std::uint64_t next_tick_ms() const { return next_scan_ms_; }

  /// Neighbours whose resolution may have changed, each once per change.
  std::vector<NeighbourKey> take_changed();
  struct Wish {
    NeighbourKey key;
    /// Solicitation::known.
    bool known;
  };
  std::vector<Wish> take_solicitations();

 private:
  struct Record {
    MacAddress mac;
    std::uint16_t kernel_state = 0;
    bool resolved = false;
    bool failed = false;
    bool asked = false;
    bool configured = false;
    bool pinned = false;
    bool requested = false;
    std::uint32_t users = 0;
    std::uint32_t seen_in_listing = 0;
    std::uint64_t last_request_ms = 0;
    std::uint64_t last_solicit_ms = 0;
    /// When failed: not before this.
    std::uint64_t retry_at_ms = 0;
    std::uint64_t backoff_ms = kFirstRetryMs;
  };
  using Records = std::unordered_map<NeighbourKey, Record, NeighbourKeyHash>;

  bool active(const Record& record, std::uint64_t now_ms) const;
  bool usable(std::uint32_t interface) const { return interface < usable_.size() && usable_[interface]; }
  void solicit(const NeighbourKey& key, Record& record, std::uint64_t now_ms);
  void care_for(const NeighbourKey& key, Record& record, std::uint64_t now_ms);
  void lose(const NeighbourKey& key, Record& record, std::uint64_t now_ms);
  void drop_if_unused(Records::iterator record);

  Records records_;
  std::vector<bool> usable_;
  std::uint32_t listing_ = 0;
  std::uint64_t next_scan_ms_ = 0;
  std::vector<NeighbourKey> changed_;
  std::vector<Wish> solicitations_;
};

}  // namespace millrace
