// A tiny balancer in memory for the pipeline's fuzz target: two workers, two interfaces, four services, 64 sessions per worker.
// The same parts as replay (worker/replay.cc), with the far ends of the ports in the target's hands.
// Guarantees: the same inputs make the same packets; check() holds whatever arrived. Thread: one; tests only.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/network.h"
#include "net/headers.h"
#include "pipeline/parse.h"
#include "ports/memory.h"
#include "check.h"
#include "tables/table_builder.h"
#include "worker/links.h"
#include "worker/worker.h"
#include "worker/worker_memory.h"

namespace millrace::fuzz {

inline constexpr std::uint32_t kWorkers = 2;
inline constexpr std::uint32_t kFrames = 256;

inline IpAddress address(const char* text) {
  bool ok = false;
  const IpAddress a = IpAddress::parse(text, ok);
  FUZZ_CHECK(ok);
  return a;
}
inline MacAddress mac(const char* text) {
  bool ok = false;
  const MacAddress m = MacAddress::parse(text, ok);
  FUZZ_CHECK(ok);
  return m;
}
inline Prefix prefix(const char* text) {
  bool ok = false;
  const Prefix p = Prefix::parse(text, ok);
  FUZZ_CHECK(ok);
  return p;
}

inline TablesConfig stage_tables() {
  TablesConfig tables;
  // One server of each service has no neighbour entry, so that packets for it are held.
  const auto service = [&](const char* name, const char* vip, std::uint16_t port, std::uint8_t protocol, const char* server,
                           const char* silent) {
    tables.services.push_back({name, address(vip), be16(port), protocol, SchedulerKind::kWeightedRoundRobin,
                               {{address(server), be16(8080), 3}, {address(silent), be16(8080), 1}}});
  };
  service("web", "203.0.113.10", 80, net::kProtocolTcp, "192.0.2.11", "192.0.2.99");
  service("dns", "203.0.113.10", 53, net::kProtocolUdp, "192.0.2.11", "192.0.2.99");
  service("web6", "2001:db8:f::10", 80, net::kProtocolTcp, "2001:db8:2::11", "2001:db8:2::99");
  service("dns6", "2001:db8:f::10", 53, net::kProtocolUdp, "2001:db8:2::11", "2001:db8:2::99");
  for (const char* local : {"192.0.2.101", "192.0.2.102", "2001:db8:2::101", "2001:db8:2::102"}) {
    tables.local_addresses.push_back(address(local));
  }
  tables.timeouts_ms.fill(2000);
  return tables;
}

inline NetworkConfig stage_network() {
  NetworkConfig network;
  network.interfaces.push_back({"wan", mac("02:00:00:00:01:01"), 1500, {prefix("198.51.100.1/24"), prefix("2001:db8:1::1/64")}});
  network.interfaces.push_back({"lan", mac("02:00:00:00:01:02"), 1280, {prefix("192.0.2.1/24"), prefix("2001:db8:2::1/64")}});
  network.neighbours.push_back({address("192.0.2.11"), mac("02:00:00:00:0a:11"), 1});
  network.neighbours.push_back({address("2001:db8:2::11"), mac("02:00:00:00:0a:11"), 1});
  network.neighbours.push_back({address("198.51.100.7"), mac("02:00:00:00:0c:07"), 0});
  network.neighbours.push_back({address("2001:db8:1::7"), mac("02:00:00:00:0c:07"), 0});
  return network;
}

class PipelineStage {
 public:
  PipelineStage() : PipelineStage(stage_tables()) {}
  explicit PipelineStage(const TablesConfig& tables) : builder_(kWorkers) {
    PacketMemory::Options memory;
    memory.workers = kWorkers;
    memory.frame_size = 2048;
    memory.frames_per_worker = kFrames;
    memory.huge_pages = false;
    packets_ = PacketMemory::create(memory).value();
    links_ = std::make_unique<Links>(*packets_);
    FUZZ_CHECK(builder_.reserve().ok());
    snapshot_.services = builder_.apply(tables).value();
    snapshot_.network = Network::from_configuration(stage_network());
    snapshot_.timeouts_ms = tables.timeouts_ms;
    snapshot_.serial = snapshot_.network_serial = 1;

    DataplaneOptions options;
    options.workers = kWorkers;
    options.max_sessions_per_worker = 64;
    options.local_port_low = 61000;
    options.local_port_high = 61007;
    for (std::uint32_t worker = 0; worker < kWorkers; worker++) add_worker(options, worker);
  }

  /// A frame arrives on one worker's queue. False when the worker has no free frame.
  bool arrive(std::uint32_t worker, std::uint16_t interface, std::span<const std::uint8_t> frame) {
    return ports_[worker][interface]->inject(frame);
  }

  void pass_time(std::uint32_t milliseconds) { now_ms_ += milliseconds; }

  /// Turns until nothing moves; `sent(frame, interface)` sees each packet that leaves.
  template <class Sent>
  void settle(Sent sent) {
    // Each packet is looked at by each worker once at most: a chain of handoffs ends.
    for (int turns = 0;; turns++) {
      FUZZ_CHECK(turns < 1000);
      std::uint32_t moved = 0;
      for (std::uint32_t worker = 0; worker < kWorkers; worker++) {
        moved += loops_[worker]->turn(&snapshot_, now_ms_);
        moved += take_sent(worker, sent);
      }
      if (moved == 0) break;
    }
  }

  /// Packets are accounted for, worker by worker, and no frame is lost.
  void check() {
    std::uint64_t frames = 0;
    for (std::uint32_t worker = 0; worker < kWorkers; worker++) {
      const WorkerState& state = memories_[worker]->state();
      const Counters& c = state.counters;
      std::uint64_t drops = 0;
      for (std::size_t reason = 0; reason < kDropReasons; reason++) drops += c.get(static_cast<DropReason>(reason));
      FUZZ_CHECK(c.get(Counter::rx_packets) + c.get(Counter::handoff_received) ==
                 c.get(Counter::forwarded) + c.get(Counter::consumed) + c.get(Counter::handoff_sent) +
                     c.get(Counter::held_packets) + drops);
      FUZZ_CHECK(c.get(Counter::tx_packets) == c.get(Counter::forwarded) + c.get(Counter::originated));
      FUZZ_CHECK(c.get(Counter::held_packets) == state.held.size() + state.fragments->held());
      FUZZ_CHECK(c.get(Counter::sessions) == state.sessions->size());
      FUZZ_CHECK(c.get(Counter::sessions) == c.get(Counter::sessions_created) - c.get(Counter::sessions_expired));
      FUZZ_CHECK(c.get(Counter::sessions_active) <= c.get(Counter::sessions));
      pools_[worker]->collect_returns();
      frames += pools_[worker]->available() + state.held.size() + state.fragments->held();
    }
    FUZZ_CHECK(frames == kWorkers * kFrames);
  }

 private:
  void add_worker(const DataplaneOptions& options, std::uint32_t worker) {
    pools_.push_back(std::make_unique<FramePool>(*packets_, links_->returns(), worker));
    memories_.push_back(WorkerMemory::create(options, worker, hash_key_from_seed(1), 0, *templates_).value());
    WorkerState& state = memories_.back()->state();
    state.service_slots = builder_.service_slots();
    state.server_slots = builder_.server_slots();
    state.local_slots = builder_.local_slots();
    state.client_address_rules = builder_.client_address_rules();
    std::vector<MemoryPort*> mine;
    auto& ports = ports_.emplace_back();
    for (std::uint16_t interface = 0; interface < 2; interface++) {
      ports.push_back(std::make_unique<MemoryPort>(*pools_.back(), MemoryPort::Options{interface, 64, false}));
      mine.push_back(ports.back().get());
    }
    loops_.push_back(std::make_unique<Worker<MemoryPort>>(state, *pools_.back(), *links_, mine, mine));
  }

  template <class Sent>
  std::uint32_t take_sent(std::uint32_t worker, Sent& sent) {
    std::uint32_t total = 0;
    for (std::uint16_t interface = 0; interface < 2; interface++) {
      std::array<Packet, kBatchSize> out;
      for (std::uint32_t n = ports_[worker][interface]->take(out); n != 0; n = ports_[worker][interface]->take(out)) {
        for (std::uint32_t i = 0; i < n; i++) {
          sent(std::span<const std::uint8_t>(out[i].data, out[i].length), interface);
          pools_[worker]->release(out[i].data);
        }
        total += n;
      }
    }
    return total;
  }

  TableBuilder builder_;
  Snapshot snapshot_;
  std::unique_ptr<PacketMemory> packets_;
  std::unique_ptr<Links> links_;
  std::vector<std::unique_ptr<FramePool>> pools_;
  std::unique_ptr<TemplateTable> templates_ = TemplateTable::create(hash_key_from_seed(1), 4096).value();
  std::vector<std::unique_ptr<WorkerMemory>> memories_;
  std::vector<std::vector<std::unique_ptr<MemoryPort>>> ports_;
  std::vector<std::unique_ptr<Worker<MemoryPort>>> loops_;
  std::uint32_t now_ms_ = 1;
};

}  // namespace millrace::fuzz
