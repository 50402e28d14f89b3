// Worker: one turn of the loop, from receive to transmit, run to completion. A template over the port, so that AF_XDP, captures
// and memory run the same code without a virtual call. Who calls turn() decides about threads, clocks and sleep (worker_thread.h,
// replay.h). Thread: one worker.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "core/packet_memory.h"
#include "pipeline/connection_limits.h"
#include "pipeline/log_flow.h"
#include "pipeline/rate_limits.h"
#include "pipeline/pipeline.h"
#include "pipeline/removal.h"
#include "pipeline/session_query.h"
#include "pipeline/worker_state.h"
#include "ports/port.h"
#include "worker/links.h"

namespace millrace {

template <Port P>
class alignas(kCacheLine) Worker {
 public:
  /// `receive_from`: the ports whose queues this worker drains. `send_by`: per interface, the port to send through.
  Worker(WorkerState& state, FramePool& frames, Links& links, std::vector<P*> receive_from, std::vector<P*> send_by)
      : state_(state),
        frames_(frames),
        links_(links),
        receive_from_(std::move(receive_from)),
        send_by_(std::move(send_by)),
        outgoing_(send_by_.size()) {
    state_.frames = &frames_;
    if (state_.workers > 1) state_.fragment_homes = &links_.fragment_homes();
  }

  /// One turn under `snapshot` at `now_ms`. Returns how many packets it moved; 0 means there was nothing to do.
  std::uint32_t turn(const Snapshot* snapshot, std::uint32_t now_ms) {
    state_.now_ms = now_ms;
    state_.log.advance(now_ms);
    state_.snapshot = snapshot;
    if (snapshot->services->generation != services_generation_) {
      services_generation_ = snapshot->services->generation;
      state_.schedulers->tables_changed();
      follow_limits(state_);
      follow_rates(state_);
      begin_cutting(state_);
    }
    std::uint32_t moved = continue_cutting(state_) ? 1 : 0;
    moved += continue_query();
    if (state_.workers > 1) {
      frames_.collect_returns();
      moved += take_handed_over();
    }
    for (P* port : receive_from_) moved += take_received(*port);
    if (snapshot->network_serial != network_serial_) {
      network_serial_ = snapshot->network_serial;
      retry_held();
    }
    if (state_.fragments->has_released()) release_fragments();
    moved += run_clock();
    flush();
    state_.counters.add(Counter::loop_turns);
    if (moved != 0) state_.counters.add(Counter::loop_turns_busy);
    return moved;
  }

  /// From another thread: has this answered in the turns to come, one query at a time. The asker rings the worker's bell and waits for
  /// query.done().
  void ask(SessionQuery& query) { query_.store(&query, std::memory_order_release); }

  /// Whether a neighbour has handed something over, or somebody has asked. For the last look before sleep.
  bool has_work() const {
    if (query_.load(std::memory_order_acquire) != nullptr) return true;
    for (std::uint32_t from = 0; from < state_.workers; from++) {
      if (from != state_.worker && !links_.handoff(from, state_.worker).empty()) return true;
    }
    return false;
  }

  /// Whether all of this worker's frames are out: then no packet can arrive, and none will wake it when they come home.
  bool starved() const { return frames_.available() == 0; }

  WorkerState& state() { return state_; }

 private:
  struct Outgoing {
    std::uint32_t count = 0;
    std::array<Packet, kBatchSize> packets;
  };
  /// Mark packets that are sent, so that they are counted as what they are: an answer that ends a received packet's life, or a
  /// packet of our own beside one that is counted already.
  static constexpr std::uint8_t kReplyMark = 1;
  static constexpr std::uint8_t kOwnMark = 128;
  static_assert(kBatchSize < kOwnMark);
  /// A turn may create 64 sessions per port, and the timer looks at each twice or more: as its slot comes nearer and at its end.
  static constexpr std::uint32_t kTimersPerTurn = 2 * kBatchSize;

  std::uint32_t continue_query() {
    SessionQuery* query = query_.load(std::memory_order_acquire);
    if (query == nullptr) return 0;
    if (query->advance(state_)) {
      query_.store(nullptr, std::memory_order_relaxed);
      query->finish();
    }
    return 1;
  }

  /// Held packets wait for next hops: tries each once with the new ones.
  void retry_held() {
    for (std::uint32_t left = state_.held.size(); left != 0;) {
      batch_.clear();
      state_.held.release_into(batch_);
      left = left > batch_.count ? left - batch_.count : 0;
      state_.counters.sub(Counter::held_packets, batch_.count);
      process();
    }
  }

  /// Fragments whose first one has come meanwhile. They cannot release others.
  void release_fragments() {
    while (state_.fragments->has_released()) {
      batch_.clear();
      const std::uint32_t released = state_.fragments->release_into(batch_);
      state_.counters.sub(Counter::held_packets, released);
      state_.counters.sub(Counter::fragments_held, released);
      process();
    }
  }

  std::uint32_t take_handed_over() {
    std::uint32_t total = 0;
    for (std::uint32_t from = 0; from < state_.workers; from++) {
      if (from == state_.worker) continue;
      batch_.count = static_cast<std::uint32_t>(links_.handoff(from, state_.worker).pop(std::span<Packet>(batch_.packets)));
      if (batch_.count == 0) continue;
      for (std::uint32_t i = 0; i < batch_.count; i++) batch_.packets[i].hops++;
      state_.counters.add(Counter::handoff_received, batch_.count);
      total += batch_.count;
      process();
    }
    return total;
  }

  std::uint32_t take_received(P& port) {
    batch_.clear();
    const std::uint32_t received = port.receive(batch_);
    if (received == 0) return 0;
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < received; i++) bytes += batch_.packets[i].length;
    state_.counters.add(Counter::rx_packets, received);
    state_.counters.add(Counter::rx_bytes, bytes);
    process();
    return received;
  }

  std::uint32_t run_clock() {
    batch_.clear();
    const std::uint32_t given_up = run_timers(state_, kTimersPerTurn, batch_);
    for (std::uint32_t i = 0; i < given_up; i++) frames_.release(batch_.packets[i].data);
    const std::uint32_t own = state_.extra.count;
    if (own != 0) [[unlikely]] {
      send_extra();
      for (std::size_t interface = 0; interface < outgoing_.size(); interface++) send_queued(interface);
    }
    return given_up + own;
  }

  /// Neighbours in a batch mostly share their verdict, so it is carried out for runs of packets; a batch that goes one way as a
  /// whole, as most do, is sent from where it is.
  void process() {
    run_pipeline(state_, batch_);
    for (std::uint32_t begin = 0; begin < batch_.count;) {
      const Verdict verdict = batch_.verdicts[begin];
      std::uint32_t end = begin + 1;
      while (end < batch_.count && batch_.verdicts[end] == verdict) end++;
      const std::span<Packet> run(batch_.packets.data() + begin, end - begin);
      if (verdict.action == Action::kForward && run.size() == batch_.count) {
        send(verdict.target, run);
      } else {
        carry_out(verdict, run);
      }
      begin = end;
    }
    send_extra();
    for (std::size_t interface = 0; interface < outgoing_.size(); interface++) send_queued(interface);
    if (ring_mask_ != 0) ring_bells();
  }

  void send_extra() {
    for (std::uint32_t i = 0; i < state_.extra.count; i++)
      queue_own(state_.extra.packets[i].packet, state_.extra.packets[i].interface);
    state_.extra.count = 0;
  }

  void send_queued(std::size_t interface) {
    Outgoing& out = outgoing_[interface];
    if (out.count == 0) return;
    send(interface, std::span<Packet>(out.packets.data(), out.count));
    out.count = 0;
  }

  /// A packet beside those of the batch: the queue may be full.
  void queue_own(Packet packet, std::size_t interface) {
    Outgoing& out = outgoing_[interface];
    if (out.count == out.packets.size()) send_queued(interface);
    packet.reserved = kOwnMark;
    out.packets[out.count++] = packet;
  }

  /// Packets of the batch: there is room for all of them.
  void queue(std::size_t interface, std::span<const Packet> run) {
    Outgoing& out = outgoing_[interface];
    std::copy(run.begin(), run.end(), out.packets.begin() + out.count);
    out.count += static_cast<std::uint32_t>(run.size());
  }

  void carry_out(Verdict verdict, std::span<Packet> run) {
    switch (verdict.action) {
      case Action::kReply:
        for (Packet& packet : run) packet.reserved = kReplyMark;
        queue(verdict.target, run);
        break;
      case Action::kRefuse:
        state_.counters.drop(verdict.reason, run.size());
        for (Packet& packet : run) packet.reserved = kOwnMark;
        queue(verdict.target, run);
        break;
      case Action::kForward:
        queue(verdict.target, run);
        break;
      case Action::kDrop:
        state_.counters.drop(verdict.reason, run.size());
        for (const Packet& packet : run) frames_.release(packet.data);
        break;
      case Action::kConsumed:
        state_.counters.add(Counter::consumed, run.size());
        for (const Packet& packet : run) frames_.release(packet.data);
        break;
      case Action::kHandoff:
        for (const Packet& packet : run) hand_over(packet, verdict.target);
        break;
      case Action::kHeld:
      case Action::kNone:
        break;
    }
  }

  void hand_over(const Packet& packet, std::uint32_t to) {
    if (links_.handoff(state_.worker, to).push(packet)) {
      state_.counters.add(Counter::handoff_sent);
      ring_mask_ |= 1ull << (to & 63u);
    } else {
      state_.counters.drop(DropReason::handoff_ring_full);
      log_place(state_, LogEvent::handoff_ring_full, DropReason::handoff_ring_full, to);
      frames_.release(packet.data);
    }
  }

  void ring_bells() {
    for (std::uint32_t to = 0; to < state_.workers; to++) {
      if ((ring_mask_ >> (to & 63u) & 1u) != 0 && to != state_.worker) links_.bell(to).ring();
    }
    ring_mask_ = 0;
  }

  void send(std::size_t interface, std::span<Packet> packets) {
    P* port = send_by_[interface];
    std::uint32_t sent = port == nullptr ? 0 : port->transmit(packets);
    if (sent < packets.size() && port != nullptr) {
      // A full ring: start what is queued, take back what is done, and try once more.
      state_.counters.add(Counter::tx_kicks, port->flush());
      sent += port->transmit(packets.subspan(sent));
    }
    std::uint64_t bytes = 0;
    std::uint32_t marks = 0;  // both counts in one sum
    for (const Packet& packet : packets.first(sent)) {
      bytes += packet.length;
      marks += packet.reserved;
    }
    const std::uint32_t replies = marks % kOwnMark;
    const std::uint32_t own = marks / kOwnMark;
    state_.counters.add(Counter::tx_packets, sent);
    state_.counters.add(Counter::tx_bytes, bytes);
    state_.counters.add(Counter::forwarded, sent - replies - own);
    state_.counters.add(Counter::consumed, replies);
    state_.counters.add(Counter::originated, replies + own);
    for (const Packet& packet : packets.subspan(sent)) {
      // A packet of our own is not a received one: it is missing from what was sent, and that is all.
      if (packet.reserved != kOwnMark) {
        const bool gone = port == nullptr;
        const DropReason reason = gone ? DropReason::interface_gone : DropReason::tx_ring_full;
        state_.counters.drop(reason);
        log_place(state_, gone ? LogEvent::interface_gone : LogEvent::tx_ring_full, reason, interface);
      }
      frames_.release(packet.data);
    }
  }

  void flush() {
    std::uint32_t calls = 0;
    for (P* port : receive_from_) calls += port->flush();
    if (calls != 0) state_.counters.add(Counter::tx_kicks, calls);
  }

  WorkerState& state_;
  FramePool& frames_;
  Links& links_;
  const std::vector<P*> receive_from_;
  const std::vector<P*> send_by_;
  std::vector<Outgoing> outgoing_;
  Batch batch_;
  std::uint64_t ring_mask_ = 0;
  std::uint64_t network_serial_ = 0;
  std::uint64_t services_generation_ = 0;
  /// Written by whoever asks, and by the worker when it has answered: on a line that nothing else shares.
  alignas(kCacheLine) std::atomic<SessionQuery*> query_{nullptr};
};

}  // namespace millrace
