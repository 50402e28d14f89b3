// TimerWheel's lists: where a deadline belongs, linking and unlinking, and the search for the next thing to do.
// Thread: the worker that owns the sessions.
#include "sessions/timer_wheel.h"

#include <bit>

namespace millrace {

TimerWheel::TimerWheel(SessionTable& sessions, std::uint32_t now_ms) : sessions_(sessions), cursor_ms_(tick_start(now_ms)) {
  heads_.fill(kNoSession);
}

std::uint32_t TimerWheel::slot_for(std::uint32_t deadline_ms) const {
  // Rounded up, so that a slot never comes before a deadline in it. What is overdue goes into the slot that comes next.
  const std::uint32_t due =
      static_cast<std::int32_t>(deadline_ms - cursor_ms_) <= 0 ? cursor_ms_ : tick_start(deadline_ms + kTickMs - 1);
  if ((due - cursor_ms_) >> kTickShift < 256) return level0_slot(due);
  const std::uint32_t level1_distance =
      ((due >> kLevel1Shift) - (cursor_ms_ >> kLevel1Shift)) & ((1u << (32 - kLevel1Shift)) - 1);
  return level1_distance < 256 ? level1_slot(due) : level2_slot(due);
}

std::uint32_t TimerWheel::next_tick(std::uint32_t now_ms) const {
  if ((filled_[0] | filled_[1] | filled_[2] | filled_[3]) != 0) return cursor_ms_ + kTickMs;
  // Nothing on level 0: after a long sleep this makes 256 ticks one.
  const std::uint32_t level1_begins = ((cursor_ms_ >> kLevel1Shift) + 1) << kLevel1Shift;
  return static_cast<std::int32_t>(now_ms - level1_begins) < 0 ? tick_start(now_ms) : level1_begins;
}

void TimerWheel::link(SessionId id) {
  Session& session = sessions_.at(id);
  const std::uint32_t slot = slot_for(session.deadline_ms);
  const SessionId next = heads_[slot];
  session.timer_next = next;
  session.timer_prev = kFirst | slot;
  if (next != kNoSession) sessions_.at(next).timer_prev = id;
  heads_[slot] = id;
  filled_[slot / 64] |= std::uint64_t{1} << (slot % 64);
}

void TimerWheel::unlink(SessionId id) {
  const Session& session = sessions_.at(id);
  const SessionId next = session.timer_next;
  const std::uint32_t previous = session.timer_prev;
  if (next != kNoSession) sessions_.at(next).timer_prev = previous;
  if ((previous & kFirst) == 0) {
    sessions_.at(previous).timer_next = next;
    return;
  }
  const std::uint32_t slot = previous & ~kFirst;
  heads_[slot] = next;
  if (next == kNoSession) filled_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
}

bool TimerWheel::spread(std::uint32_t slot, std::uint32_t& left) {
  while (heads_[slot] != kNoSession) {
    if (left == 0) return false;
    const SessionId id = heads_[slot];
    const SessionId next = sessions_.at(id).timer_next;
    if (next != kNoSession) __builtin_prefetch(&sessions_.at(next), 1, 3);
    unlink(id);
    link(id);  // the slot has begun, so a deadline in it lies on a lower level now
    left--;
  }
  return true;
}

std::uint32_t TimerWheel::next_filled(std::uint32_t first_slot, std::uint32_t slots, std::uint32_t from) const {
  // Slots of a level in the order in which they come: the words from the one with `from` on, and that one's low bits at the end.
  const std::uint32_t words = slots / 64;
  for (std::uint32_t step = 0; step <= words; step++) {
    const std::uint32_t word = (from / 64 + step) % words;
    std::uint64_t bits = filled_[first_slot / 64 + word];
    if (step == 0) bits &= ~std::uint64_t{0} << (from % 64);
    if (step == words) bits &= ~(~std::uint64_t{0} << (from % 64));
    if (bits != 0) return (word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)) - from) & (slots - 1);
  }
  return kNever;
}

std::uint32_t TimerWheel::next_due_ms(std::uint32_t now_ms) const {
  if (size_ == 0) return kNever;
  std::uint32_t wait = kNever;  // from cursor_ms_
  const auto consider = [&](std::uint32_t first_slot, std::uint32_t slots, std::uint32_t shift) {
    const std::uint32_t distance = next_filled(first_slot, slots, cursor_ms_ >> shift & (slots - 1));
    if (distance == kNever) return;
    const std::uint32_t begins = ((cursor_ms_ >> shift) + distance) << shift;
    // A slot of a higher level that is filled at distance 0 begins now: cursor_ms_ is its first millisecond.
    if (begins - cursor_ms_ < wait) wait = begins - cursor_ms_;
  };
  consider(0, 256, kTickShift);
  consider(kLevel1, 256, kLevel1Shift);
  consider(kLevel2, 1024, kLevel2Shift);
  const auto due = static_cast<std::int32_t>(cursor_ms_ + wait - now_ms);
  return due <= 0 ? 0 : static_cast<std::uint32_t>(due);
}

}  // namespace millrace
