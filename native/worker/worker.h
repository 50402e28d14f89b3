// Worker: one turn of the loop, from receive to transmit, run to completion. A template over the port, so that AF_XDP, captures and
// memory run the same code without a virtual call. Who calls turn() decides about threads, clocks and sleep (worker_thread.h, replay.h).
// Thread: one worker.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/packet_memory.h"
#include "pipeline/pipeline.h"
#include "pipeline/worker_state.h"
#include "ports/port.h"
#include "worker/links.h"

namespace millrace {

template <Port P>
class Worker {
 public:
  /// `receive_from`: the ports whose queues this worker drains. `send_by`: per interface, the port to send through.
  Worker(WorkerState& state, FramePool& frames, Links& links, std::vector<P*> receive_from, std::vector<P*> send_by)
      : state_(state), frames_(frames), links_(links), receive_from_(std::move(receive_from)), send_by_(std::move(send_by)),
        outgoing_(send_by_.size()) {}

  /// One turn under `snapshot` at `now_ms`. Returns how many packets it moved; 0 means there was nothing to do.
  std::uint32_t turn(const Snapshot* snapshot, std::uint32_t now_ms) {
    state_.now_ms = now_ms;
    state_.snapshot = snapshot;
    if (snapshot->services->generation != services_generation_) {
      services_generation_ = snapshot->services->generation;
      state_.schedulers->tables_changed();
    }
    std::uint32_t moved = 0;
    if (state_.workers > 1) {
      frames_.collect_returns();
      moved += take_handed_over();
    }
    for (P* port : receive_from_) moved += take_received(*port);
    if (snapshot->network_serial != network_serial_) {
      network_serial_ = snapshot->network_serial;
      retry_held();
    }
    moved += run_clock();
    flush();
    state_.counters.add(Counter::loop_turns);
    if (moved != 0) state_.counters.add(Counter::loop_turns_busy);
    return moved;
  }

  /// Whether a neighbour has handed something over. For the last look before sleep.
  bool has_work() const {
    for (std::uint32_t from = 0; from < state_.workers; from++) {
      if (from != state_.worker && !links_.handoff(from, state_.worker).empty()) return true;
    }
    return false;
  }

  WorkerState& state() { return state_; }

 private:
  struct Outgoing {
    std::uint32_t count = 0;
    std::array<Packet, kBatchSize> packets;
  };
  /// Marks a packet in Outgoing as our own answer, so that it is counted as such when it is sent.
  static constexpr std::uint8_t kReplyMark = 1;
  static constexpr std::uint32_t kTimersPerTurn = 64;

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
    return given_up;
  }

  void process() {
    run_pipeline(state_, batch_);
    bool handed_over = false;
    for (std::uint32_t i = 0; i < batch_.count; i++) {
      Packet& packet = batch_.packets[i];
      const Verdict verdict = batch_.verdicts[i];
      switch (verdict.action) {
        case Action::kForward:
        case Action::kReply: {
          packet.reserved = verdict.action == Action::kReply ? kReplyMark : 0;
          Outgoing& out = outgoing_[verdict.target];
          out.packets[out.count++] = packet;
          break;
        }
        case Action::kDrop:
          state_.counters.drop(verdict.reason);
          frames_.release(packet.data);
          break;
        case Action::kHandoff:
          hand_over(packet, verdict.target);
          handed_over = true;
          break;
        case Action::kHeld:
        case Action::kNone:
          break;
      }
    }
    for (std::size_t interface = 0; interface < outgoing_.size(); interface++) {
      if (outgoing_[interface].count != 0) send(interface);
    }
    if (handed_over) ring_bells();
  }

  void hand_over(const Packet& packet, std::uint32_t to) {
    if (links_.handoff(state_.worker, to).push(packet)) {
      state_.counters.add(Counter::handoff_sent);
      ring_mask_ |= 1ull << (to & 63u);
    } else {
      state_.counters.drop(DropReason::handoff_ring_full);
      frames_.release(packet.data);
    }
  }

  void ring_bells() {
    for (std::uint32_t to = 0; to < state_.workers; to++) {
      if ((ring_mask_ >> (to & 63u) & 1u) != 0 && to != state_.worker) links_.bell(to).ring();
    }
    ring_mask_ = 0;
  }

  void send(std::size_t interface) {
    Outgoing& out = outgoing_[interface];
    P* port = send_by_[interface];
    std::uint32_t sent = port == nullptr ? 0 : port->transmit(std::span<const Packet>(out.packets.data(), out.count));
    if (sent < out.count && port != nullptr) {
      // A full ring: start what is queued, take back what is done, and try once more.
      state_.counters.add(Counter::tx_kicks, port->flush());
      sent += port->transmit(std::span<const Packet>(out.packets.data() + sent, out.count - sent));
    }
    std::uint64_t bytes = 0;
    std::uint32_t replies = 0;
    for (std::uint32_t i = 0; i < sent; i++) {
      bytes += out.packets[i].length;
      replies += out.packets[i].reserved;
    }
    state_.counters.add(Counter::tx_packets, sent);
    state_.counters.add(Counter::tx_bytes, bytes);
    state_.counters.add(Counter::forwarded, sent - replies);
    state_.counters.add(Counter::consumed, replies);
    state_.counters.add(Counter::originated, replies);
    for (std::uint32_t i = sent; i < out.count; i++) {
      state_.counters.drop(port == nullptr ? DropReason::interface_gone : DropReason::tx_ring_full);
      frames_.release(out.packets[i].data);
    }
    out.count = 0;
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
};

}  // namespace millrace
