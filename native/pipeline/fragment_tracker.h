// FragmentTracker: what one worker knows of fragmented datagrams: whose they are, which bytes have come, and the fragments that
// wait for the first one, which alone has ports. Nothing is put together: fragments are sent on as they are, once it is known
// where to.
//
//   datagram = {source, destination, identification, protocol}:  waiting --first fragment--> known --all bytes--> complete
//   (forgotten)
//                                                                    \________ overlap ________> dead
//
// Guarantees: memory is bounded by kDatagrams and kHeld, whatever arrives, and pages exist only where used. When there is no room
// the oldest datagram makes it: fragments of one datagram follow each other closely, so under a flood the new ones have the
// better chance. A datagram is forgotten kLifetimeMs after its first sign. No byte of a datagram is let through twice. Thread:
// one worker.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/batch.h"
#include "core/hash.h"
#include "core/result.h"
#include "net/address.h"
#include "net/byte_order.h"
#include "tables/slots.h"

namespace millrace {

class FragmentTracker {
 public:
  /// Datagrams at once.
  static constexpr std::uint32_t kDatagrams = 1024;
  /// Frames that may wait at once, all datagrams together; and of one: more than the 64 KiB of a datagram need at an MTU of 1280.
  static constexpr std::uint32_t kHeld = 512;
  static constexpr std::uint32_t kHeldPerDatagram = 64;
  /// Short beside the 15 s to 60 s that hosts wait (RFC 8200 4.5, RFC 791 3.2): what is late by two seconds was lost.
  static constexpr std::uint32_t kLifetimeMs = 2000;
  /// Nobody to pass later fragments on to.
  static constexpr std::uint16_t kNobody = 0xffff;

  struct Key {
    IpAddress source;
    IpAddress destination;
    std::uint32_t id = 0;
    /// Of IPv4; 0 of IPv6, where it does not belong to the datagram's identity (RFC 8200 4.5).
    std::uint8_t protocol = 0;
    /// Whether the fragments have been round the workers: on the pair's home they are looked at twice, as two datagrams.
    bool round = false;
    bool operator==(const Key&) const = default;
  };
  enum class State : std::uint8_t { kWaiting, kKnown, kDead };
  enum class Arrival : std::uint8_t { kNew, kDuplicate, kOverlap };

  struct Datagram {
    Key key;
    State state;
    std::uint8_t protocol;
    bool complete;
    /// A fragment of it waits for a neighbour and will come by again: not to be forgotten when complete.
    bool parked;
    be16 source_port;
    be16 destination_port;
    std::uint64_t hash;
    /// Worker that gets what finds no session here.
    std::uint16_t pass_to;

   private:
    friend class FragmentTracker;
    std::uint16_t chain;
    std::uint16_t previous, next;
    std::uint16_t held_first, held_last, held_count;
    /// In units of 8 bytes; total 0 while the last fragment has not come.
    std::uint16_t units, total;
    /// Beyond this nothing has come yet.
    std::uint16_t end;
    std::uint32_t deadline_ms;
    std::array<std::uint64_t, 128> seen;
  };

  /// `held_limit`: frames that may wait, at most kHeld. Errors: those of memory reservation.
  static Result<std::unique_ptr<FragmentTracker>> create(HashKey key, std::uint32_t held_limit);

  /// nullptr when nothing is known of this datagram.
  Datagram* find(const Key& key);
  /// A new datagram; the oldest is forgotten when there is no room. drop(packet) is called for the fragments that waited for it.
  template <class Drop>
  Datagram& begin(const Key& key, std::uint32_t now_ms, Drop drop) {
    if (free_count_ == 0) forget(older(), drop);
    return take(key, now_ms);
  }
  /// Notes that `length` bytes from `offset` have come (units of 8 bytes and bytes), the last ones if `more` is not set.
  Arrival record(Datagram& datagram, std::uint32_t offset, std::uint32_t length, bool more);

  /// Keeps a fragment until the first one comes. False when too many of this datagram wait already; the oldest datagram makes
  /// room when too many wait altogether.
  template <class Drop>
  bool hold(Datagram& datagram, const Packet& packet, Drop drop) {
    if (datagram.held_count == kHeldPerDatagram || datagram.held_count >= held_limit_) return false;
    while (held_ >= held_limit_) {
      const std::uint16_t oldest = lists_[kWaitingList].first;
      // This one has room, so another waits, or what was released has not gone on yet.
      if (oldest == kNone || &datagrams_[oldest] == &datagram) return false;
      forget(oldest, drop);
    }
    keep(datagram, packet);
    return true;
  }

  /// The first fragment has come: those that wait are to go on, after it.
  void become_known(Datagram& datagram);
  /// A fragment has been dealt with: if it was the last one missing, there is nothing to remember.
  void settle(Datagram& datagram);
  /// Overlap: nothing more of this datagram passes. drop(packet) is called for those that wait.
  template <class Drop>
  void kill(Datagram& datagram, Drop drop) {
    if (datagram.state == State::kWaiting) move_to_known(datagram);
    datagram.state = State::kDead;
    drop_held(datagram, drop);
  }

  /// Moves fragments whose first one has come into the batch, as many as fit.
  std::uint32_t release_into(Batch& batch);
  bool has_released() const { return released_first_ != kNone; }

  /// Forgets complete datagrams and those whose time is over, at most `budget`. drop(packet) is called for those that waited in
  /// vain.
  template <class Drop>
  void expire(std::uint32_t now_ms, std::uint32_t budget, Drop drop) {
    while (lists_[kCompleteList].first != kNone) forget(lists_[kCompleteList].first, drop);
    for (const std::uint32_t list : {kWaitingList, kKnownList}) {
      for (std::uint32_t left = budget; left != 0; left--) {
        const std::uint16_t oldest = lists_[list].first;
        if (oldest == kNone || static_cast<std::int32_t>(now_ms - datagrams_[oldest].deadline_ms) < 0) break;
        forget(oldest, drop);
      }
    }
  }

  /// Forgets everything: for the end of a run.
  template <class Drop>
  void give_up(Drop drop) {
    for (const List& list : lists_) {
      while (list.first != kNone) forget(list.first, drop);
    }
    while (released_first_ != kNone) drop(pop_held(released_first_));
  }

  /// Datagrams of which something is still missing.
  std::uint32_t datagrams() const { return kDatagrams - free_count_ - complete_count_; }
  /// Frames in here, released ones included.
  std::uint32_t held() const { return held_; }
  bool empty() const { return free_count_ == kDatagrams; }

 private:
  static constexpr std::uint16_t kNone = 0xffff;
  static constexpr std::uint32_t kWaitingList = 0, kKnownList = 1, kCompleteList = 2;
  static constexpr std::uint32_t kBuckets = 2048;

  struct HeldSlot {
    Packet packet;
    std::uint16_t next;
  };
  /// Oldest first.
  struct List {
    std::uint16_t first = kNone;
    std::uint16_t last = kNone;
  };

  FragmentTracker() = default;
  std::uint32_t bucket_of(const Key& key) const;
  static std::uint32_t list_of(const Datagram& datagram) {
    return datagram.complete ? kCompleteList : datagram.state == State::kWaiting ? kWaitingList : kKnownList;
  }
  std::uint16_t number_of(const Datagram& datagram) const { return static_cast<std::uint16_t>(&datagram - datagrams_.data()); }
  std::uint16_t older() const;
  Datagram& take(const Key& key, std::uint32_t now_ms);
  void link(std::uint32_t list, std::uint16_t number);
  void unlink(std::uint32_t list, std::uint16_t number);
  void move_to_known(Datagram& datagram);
  void keep(Datagram& datagram, const Packet& packet);
  /// The packet that waits first; its place is free then.
  Packet pop_held(std::uint16_t& first);
  void free_datagram(std::uint16_t number);

  template <class Drop>
  void drop_held(Datagram& datagram, Drop drop) {
    while (datagram.held_first != kNone) drop(pop_held(datagram.held_first));
    datagram.held_count = 0;
  }
  template <class Drop>
  void forget(std::uint16_t number, Drop drop) {
    drop_held(datagrams_[number], drop);
    free_datagram(number);
  }

  StableArray<Datagram> datagrams_;
  std::array<std::uint16_t, kBuckets> buckets_;
  std::array<List, 3> lists_;
  std::array<HeldSlot, kHeld> slots_;
  std::uint16_t free_datagrams_ = 0;
  std::uint32_t free_count_ = kDatagrams;
  std::uint32_t complete_count_ = 0;
  std::uint16_t free_slots_ = 0;
  std::uint16_t released_first_ = kNone, released_last_ = kNone;
  std::uint32_t held_ = 0;
  std::uint32_t held_limit_ = kHeld;
  HashKey hash_key_;
};

}  // namespace millrace
