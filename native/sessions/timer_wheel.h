// TimerWheel: ends sessions some time after their last packet, at a cost that does not depend on how many sessions there are.
//
//   level 0   256 slots of      64 ms     the next   16.4 s     fires
//   level 1   256 slots of  16.384 s      the next  70   min    moves its sessions to level 0 when it begins
//   level 2  1024 slots of      70 min    2^32 ms               moves its sessions to level 1 or 0 when it begins
//
// Lazy: a packet only writes Session::deadline_ms. When the slot of a session comes and the deadline has moved on meanwhile, the
// session is linked again; so a busy session is touched by the wheel once per timeout and not once per packet. Only a deadline
// that moves *earlier* (a connection that closes) must be told by shorten().
// The links are in the sessions (timer_next, timer_prev): no memory but the 6 KiB of list heads.
// Why 64 ms: a session may live that much longer than its timeout, which is invisible beside timeouts of seconds, and an idle
// worker wakes at most 16 times a second.
//
// Guarantees: never early; at most 64 ms late plus what the caller's budget delays. Arithmetic is modulo 2^32 milliseconds (49.7
// days): deadlines lie less than 2^31 - 64 ms (24.8 days) from now.
// Thread: the worker that owns the sessions. No locks, no allocation, no system calls.
#pragma once

#include <array>
#include <cstdint>

#include "sessions/session_table.h"

namespace millrace {

class TimerWheel {
 public:
  static constexpr std::uint32_t kTickMs = 64;
  /// next_due_ms() of a wheel without sessions.
  static constexpr std::uint32_t kNever = 0xffffffffu;

  /// Milliseconds on the worker's clock, modulo 2^32, here and below.
  TimerWheel(SessionTable& sessions, std::uint32_t now_ms);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Takes a session that is in no slot (new, or just expired) and will expire it when its deadline_ms has passed.
  void schedule(SessionId id, std::uint32_t now_ms) {
    if (size_ == 0) cursor_ms_ = tick_start(now_ms);  // an empty wheel needs no turning
    link(id);
    size_++;
  }

  /// After deadline_ms of a scheduled session was set to an earlier time than it had.
  void shorten(SessionId id, std::uint32_t now_ms) {
    cancel(id);
    schedule(id, now_ms);
  }

  /// Forgets a scheduled session: call it before SessionTable::erase. Not needed for a session handed to `expire`.
  void cancel(SessionId id) {
    unlink(id);
    size_--;
  }

  /// Turns to now_ms: calls expire(SessionId) for sessions whose deadline has passed (deadline_ms <= now_ms). The session is in
  /// no slot then: expire() erases it, or moves its deadline and calls schedule(). It may cancel and erase other sessions as
  /// well. At most `budget` sessions are looked at (expired or linked again), so that no loop turn becomes long; the next call
  /// goes on where this one stopped. Returns how many sessions were looked at; `budget` means that there may be more.
  template <class Expire>
  std::uint32_t advance(std::uint32_t now_ms, std::uint32_t budget, Expire expire);

  /// How long, from now_ms, nothing here needs a call of advance(): 0 when something waits already, kNever without sessions.
  std::uint32_t next_due_ms(std::uint32_t now_ms) const;

  /// Sessions in the wheel.
  std::uint32_t size() const { return size_; }

 private:
  static constexpr std::uint32_t kTickShift = 6;
  static constexpr std::uint32_t kLevel1Shift = 14;
  static constexpr std::uint32_t kLevel2Shift = 22;
  static constexpr std::uint32_t kLevel1 = 256;  // first slot number of level 1
  static constexpr std::uint32_t kLevel2 = kLevel1 + 256;
  static constexpr std::uint32_t kSlots = kLevel2 + 1024;
  /// In timer_prev: "I am first in the slot with this number".
  static constexpr std::uint32_t kFirst = 0x80000000u;

  static std::uint32_t tick_start(std::uint32_t ms) { return ms & ~(kTickMs - 1); }
  static std::uint32_t level0_slot(std::uint32_t ms) { return ms >> kTickShift & 255u; }
  static std::uint32_t level1_slot(std::uint32_t ms) { return kLevel1 + (ms >> kLevel1Shift & 255u); }
  static std::uint32_t level2_slot(std::uint32_t ms) { return kLevel2 + (ms >> kLevel2Shift); }

  std::uint32_t slot_for(std::uint32_t deadline_ms) const;
  /// The tick to look at after the one at cursor_ms_: not after now_ms, and not after the next begin of a level 1 slot.
  std::uint32_t next_tick(std::uint32_t now_ms) const;
  void link(SessionId id);
  void unlink(SessionId id);
  /// Links the sessions of a higher slot again, nearer; false when the budget ended before the slot did.
  bool spread(std::uint32_t slot, std::uint32_t& left);
  std::uint32_t next_filled(std::uint32_t first_slot, std::uint32_t slots, std::uint32_t from) const;

  SessionTable& sessions_;
  std::uint32_t cursor_ms_;  // start of the first tick whose slot was not emptied yet; a multiple of kTickMs
  std::uint32_t size_ = 0;
  std::array<SessionId, kSlots> heads_;
  std::array<std::uint64_t, kSlots / 64> filled_{};  // bit = slot has sessions
};

template <class Expire>
std::uint32_t TimerWheel::advance(std::uint32_t now_ms, std::uint32_t budget, Expire expire) {
  std::uint32_t left = budget;
  while (static_cast<std::int32_t>(now_ms - cursor_ms_) >= 0) {
    if (size_ == 0) {
      cursor_ms_ = tick_start(now_ms);
      break;
    }
    if ((cursor_ms_ & ((1u << kLevel1Shift) - 1)) == 0) {
      if ((cursor_ms_ & ((1u << kLevel2Shift) - 1)) == 0 && !spread(level2_slot(cursor_ms_), left)) break;
      if (!spread(level1_slot(cursor_ms_), left)) break;
    }
    const std::uint32_t slot = level0_slot(cursor_ms_);
    while (heads_[slot] != kNoSession && left != 0) {
      const SessionId id = heads_[slot];
      const Session& session = sessions_.at(id);
      if (session.timer_next != kNoSession) __builtin_prefetch(&sessions_.at(session.timer_next), 1, 3);
      unlink(id);
      left--;
      if (static_cast<std::int32_t>(session.deadline_ms - now_ms) > 0) {
        link(id);
      } else {
        size_--;
        expire(id);
      }
    }
    if (heads_[slot] != kNoSession) break;
    // The tick that contains now_ms stays open: a session scheduled into it must not wait for a whole turn of the wheel.
    if (cursor_ms_ == tick_start(now_ms)) break;
    cursor_ms_ = next_tick(now_ms);
  }
  return budget - left;
}

}  // namespace millrace
