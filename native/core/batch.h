// Batch: up to 64 packets that go through the pipeline together, and what was decided for each.
// A packet is a view into packet memory; whoever holds the Packet holds the frame.
// Thread: a batch belongs to one worker.
#pragma once

#include <array>
#include <cstdint>

#include "core/counters.h"

namespace millrace {

inline constexpr std::uint32_t kBatchSize = 64;

struct Packet {
  /// First byte of the Ethernet header.
  std::uint8_t* data = nullptr;
  /// Bytes from `data` to the end of the frame, without frame check sequence.
  std::uint32_t length = 0;
  /// Index of the interface it arrived on (Snapshot::interfaces).
  std::uint16_t interface = 0;
  /// Workers that have already looked at it and passed it on.
  std::uint8_t hops = 0;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(Packet) == 16);

enum class Action : std::uint8_t {
  kNone,     ///< not decided yet
  kForward,  ///< send on interface `target`
  kDrop,     ///< count `reason`, release the frame
  kHandoff,  ///< push to worker `target`
  kHeld,     ///< the pipeline keeps the frame until its next hop is resolved
  kConsumed, ///< ends here: release the frame
  kReply,    ///< the frame now holds our answer: send it on interface `target`
  kRefuse    ///< dropped for `reason`; the frame now holds an ICMP error about it: send it on interface `target`
};

struct Verdict {
  Action action = Action::kNone;
  DropReason reason = DropReason::frame_truncated;
  std::uint16_t target = 0;

  bool operator==(const Verdict&) const = default;

  static Verdict forward(std::uint16_t interface) { return {Action::kForward, DropReason::frame_truncated, interface}; }
  static Verdict drop(DropReason reason) { return {Action::kDrop, reason, 0}; }
  static Verdict handoff(std::uint32_t worker) {
    return {Action::kHandoff, DropReason::frame_truncated, static_cast<std::uint16_t>(worker)};
  }
  static Verdict consumed() { return {Action::kConsumed, DropReason::frame_truncated, 0}; }
  static Verdict held() { return {Action::kHeld, DropReason::frame_truncated, 0}; }
  static Verdict refuse(std::uint16_t interface, DropReason reason) { return {Action::kRefuse, reason, interface}; }
  static Verdict reply(std::uint16_t interface) { return {Action::kReply, DropReason::frame_truncated, interface}; }
};
static_assert(sizeof(Verdict) == 4);

struct Batch {
  std::uint32_t count = 0;
  std::array<Packet, kBatchSize> packets;
  std::array<Verdict, kBatchSize> verdicts;

  bool full() const { return count == kBatchSize; }
  std::uint32_t room() const { return kBatchSize - count; }
  void push(const Packet& packet) { packets[count++] = packet; }
  void clear() { count = 0; }
};

}  // namespace millrace
