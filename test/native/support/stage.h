// Stage: workers over memory ports, with tables that a test writes. The addresses are those that PacketBuilder uses when a test does
// not name any:
//
//   client 198.51.100.7, 2001:db8:1::7 --- interface 0 [02:..:01] workers [02:..:02] interface 1 --- servers 10.0.2.11 to .14, fd00:2::11 to ::14
//   VIP 203.0.113.10, 2001:db8:f::10 (TCP 80, UDP 53)      local addresses 10.0.3.1 + worker, fd00:3::1 + worker
//
// Guarantees: at destruction every frame is back in its pool, or the test fails.
// Thread: one, unless a test runs the loops on threads of its own. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/memory.h"
#include "sessions/tcp_state.h"
#include "support/packet_builder.h"
#include "tables/table_builder.h"
#include "worker/worker.h"
#include "worker/worker_memory.h"

namespace millrace::test {

inline IpAddress ip(const std::string& text) {
  bool ok = false;
  const IpAddress address = IpAddress::parse(text, ok);
  if (!ok) packet_detail::refuse("an IP address", text);
  return address;
}

inline MacAddress mac(const std::string& text) {
  bool ok = false;
  const MacAddress address = MacAddress::parse(text, ok);
  if (!ok) packet_detail::refuse("an Ethernet address", text);
  return address;
}

inline constexpr std::uint16_t kClientSide = 0;
inline constexpr std::uint16_t kServerSide = 1;
inline const std::string kVip = "203.0.113.10";
inline const std::string kVip6 = "2001:db8:f::10";

/// Two servers behind a TCP and a UDP service of both families, and one local address per worker and family.
inline TablesConfig default_tables(std::uint32_t workers) {
  TablesConfig config;
  for (const bool six : {false, true}) {
    for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
      ServiceConfig service;
      service.name = std::string(protocol == 6 ? "web" : "dns") + (six ? "6" : "");
      service.address = ip(six ? kVip6 : kVip);
      service.port = be16(protocol == 6 ? 80 : 53);
      service.protocol = protocol;
      service.scheduler = SchedulerKind::kRoundRobin;
      for (const char* last : {"11", "12"}) {
        service.servers.push_back({ip((six ? "fd00:2::" : "10.0.2.") + std::string(last)), be16(protocol == 6 ? 8080 : 5353), 1});
      }
      config.services.push_back(std::move(service));
    }
    for (std::uint32_t worker = 0; worker < workers; worker++) {
      config.local_addresses.push_back(ip((six ? "fd00:3::" : "10.0.3.") + std::to_string(worker + 1)));
    }
  }
  config.timeouts_ms = default_timeouts(TimeoutProfile::kIpvs);
  return config;
}

/// Default routes to the client's router, the servers' networks on-link, everything resolved.
inline NetworkTables default_network() {
  NetworkTables network;
  network.interfaces = {{mac("02:00:00:00:00:01"), 1500, true, 2}, {mac("02:00:00:00:00:02"), 1500, true, 3}};
  network.next_hops.resize(1);
  const auto add_hop = [&](const std::string& destination, std::uint16_t interface) {
    NextHop hop;
    hop.destination = mac(destination);
    hop.source = network.interfaces[interface].mac;
    hop.interface = interface;
    hop.mtu = 1500;
    hop.resolved = true;
    network.next_hops.push_back(hop);
    return static_cast<NextHopId>(network.next_hops.size() - 1);
  };
  const NextHopId router = add_hop("02:00:00:00:00:0c", kClientSide);
  network.routes.add({ip("0.0.0.0"), 96, router, kClientSide, false});
  network.routes.add({ip("::"), 0, router, kClientSide, false});
  network.routes.add({ip("10.0.2.0"), 120, 0, kServerSide, false});
  network.routes.add({ip("fd00:2::"), 64, 0, kServerSide, false});
  for (const int n : {11, 12, 13, 14}) {
    const NextHopId hop = add_hop("02:00:00:00:02:" + std::to_string(n), kServerSide);
    network.neighbours[{ip("10.0.2." + std::to_string(n)), kServerSide}] = hop;
    network.neighbours[{ip("fd00:2::" + std::to_string(n)), kServerSide}] = hop;
  }
  return network;
}

struct Sent {
  std::uint32_t worker;
  std::uint16_t interface;
  Bytes bytes;
};

class Stage {
 public:
  struct Options {
    std::uint32_t workers = 1;
    std::uint32_t frames_per_worker = 256;
    std::uint32_t ring_size = 256;
    std::uint32_t max_sessions = 4096;
    std::uint16_t local_port_low = 1025;
    std::uint16_t local_port_high = 65535;
    std::uint32_t now_ms = 1000;
    std::uint32_t max_templates = 4096;
  };

  explicit Stage(const Options& options) : Stage(options, default_tables(options.workers)) {}
  Stage(const Options& options, const TablesConfig& tables) : options_(options), builder_(options.workers), now_ms_(options.now_ms) {
    PacketMemory::Options memory;
    memory.workers = options.workers;
    memory.frames_per_worker = options.frames_per_worker;
    memory.huge_pages = false;
    packets_ = std::move(PacketMemory::create(memory)).value();
    links_ = std::make_unique<Links>(*packets_);
    if (!builder_.reserve().ok()) std::abort();
    loads_ = std::move(LoadTable::create(options.workers)).value();
    network(default_network());
    apply(tables);
    DataplaneOptions dataplane;
    dataplane.workers = options.workers;
    dataplane.frames_per_worker = options.frames_per_worker;
    dataplane.max_sessions_per_worker = options.max_sessions;
    dataplane.local_port_low = options.local_port_low;
    dataplane.local_port_high = options.local_port_high;
    if (options.workers > 1) owners_ = std::move(SessionOwners::create(options.max_sessions * options.workers)).value();
    templates_ = std::move(TemplateTable::create(hash_key_from_seed(7), options.max_templates)).value();
    for (std::uint32_t worker = 0; worker < options.workers; worker++) {
      pools_.push_back(std::make_unique<FramePool>(*packets_, links_->returns(), worker));
      memories_.push_back(
          std::move(WorkerMemory::create(dataplane, worker, hash_key_from_seed(7), now_ms_, *templates_, loads_.get())).value());
      WorkerState& s = memories_.back()->state();
      s.service_slots = builder_.service_slots();
      s.server_slots = builder_.server_slots();
      s.local_slots = builder_.local_slots();
      s.client_address_rules = builder_.client_address_rules();
      s.session_owners = owners_.get();
      s.snapshot = &snapshot_;
      std::vector<MemoryPort*> mine;
      auto& ports = ports_.emplace_back();
      for (std::uint16_t i = 0; i < 2; i++) {
        ports.push_back(std::make_unique<MemoryPort>(*pools_.back(), MemoryPort::Options{i, options.ring_size, false}));
        mine.push_back(ports.back().get());
      }
      loops_.push_back(std::make_unique<Worker<MemoryPort>>(s, *pools_.back(), *links_, mine, mine));
    }
  }

  ~Stage() {
    take();
    for (const auto& memory : memories_) {
      // What is still held has no owner but the queue.
      Batch batch;
      memory->state().held.release_into(batch);
      memory->state().fragments->give_up([&](const Packet& packet) { memory->state().frames->release(packet.data); });
      for (std::uint32_t i = 0; i < batch.count; i++) pools_[memory->state().worker]->release(batch.packets[i].data);
    }
    ports_.clear();
    EXPECT_EQ(frames_at_home(), std::uint64_t{options_.workers} * options_.frames_per_worker) << "frames were lost";
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  std::uint32_t workers() const { return options_.workers; }
  WorkerState& state(std::uint32_t worker = 0) { return memories_[worker]->state(); }
  WorkerMemory& memory(std::uint32_t worker = 0) { return *memories_[worker]; }
  Worker<MemoryPort>& loop(std::uint32_t worker = 0) { return *loops_[worker]; }
  FramePool& pool(std::uint32_t worker = 0) { return *pools_[worker]; }
  MemoryPort& port(std::uint32_t worker, std::uint16_t interface) { return *ports_[worker][interface]; }
  Links& links() { return *links_; }
  TemplateTable& templates() { return *templates_; }
  LoadTable& loads() { return *loads_; }
  TableBuilder& builder() { return builder_; }
  Snapshot& snapshot() { return snapshot_; }
  std::uint32_t now_ms() const { return now_ms_; }
  void pass(std::uint32_t ms) { now_ms_ += ms; }

  void apply(const TablesConfig& tables) {
    auto built = builder_.apply(tables);
    if (!built) std::abort();
    snapshot_.services = std::move(built).value();
    snapshot_.timeouts_ms = tables.timeouts_ms;
    snapshot_.serial++;
  }
  /// Frees slots without sessions, as the control thread does between turns.
  void reclaim() {
    auto tables = builder_.reclaim(
        [&](ServerSlot slot) {
          std::uint64_t sum = 0;
          for (const auto& m : memories_) sum += sessions_now(m->statistics()->servers[slot]);
          return sum;
        },
        [&](LocalSlot slot) {
          std::uint64_t sum = 0;
          for (const auto& m : memories_) sum += load_acquire(m->statistics()->locals[slot]);
          return sum;
        });
    if (tables) snapshot_.services = std::move(tables);
  }
  void network(NetworkTables tables) {
    snapshot_.network = std::make_shared<const NetworkTables>(std::move(tables));
    snapshot_.serial++;
    snapshot_.network_serial = snapshot_.serial;
  }

  bool inject(const Bytes& bytes, std::uint16_t interface = kClientSide, std::uint32_t worker = 0) {
    return ports_[worker][interface]->inject(bytes);
  }
  std::uint32_t turn(std::uint32_t worker = 0) { return loops_[worker]->turn(&snapshot_, now_ms_); }
  /// Turns of all workers until nobody has anything left to do.
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::uint32_t worker = 0; worker < options_.workers; worker++) moved = turn(worker) != 0 || moved;
    }
  }
  /// What has been sent since the last call, by worker and interface.
  std::vector<Sent> take() {
    std::vector<Sent> sent;
    for (std::uint32_t worker = 0; worker < ports_.size(); worker++) {
      for (Sent& one : take(worker)) sent.push_back(std::move(one));
    }
    return sent;
  }
  /// The same of one worker. On its thread.
  std::vector<Sent> take(std::uint32_t worker) {
    std::vector<Sent> sent;
    std::array<Packet, kBatchSize> packets;
    for (std::uint16_t i = 0; i < ports_[worker].size(); i++) {
      for (std::uint32_t n = ports_[worker][i]->take(packets); n != 0; n = ports_[worker][i]->take(packets)) {
        for (std::uint32_t p = 0; p < n; p++) {
          sent.push_back({worker, i, Bytes(packets[p].data, packets[p].data + packets[p].length)});
          pools_[worker]->release(packets[p].data);
        }
      }
    }
    return sent;
  }
  /// One packet through one worker until all is quiet; what came out.
  std::vector<Sent> pass_through(const Bytes& bytes, std::uint16_t interface = kClientSide, std::uint32_t worker = 0) {
    EXPECT_TRUE(inject(bytes, interface, worker));
    settle();
    return take();
  }

  std::uint64_t count(Counter counter) const { return sum([&](const Counters& c) { return c.get(counter); }); }
  std::uint64_t count(DropReason reason) const { return sum([&](const Counters& c) { return c.get(reason); }); }
  std::uint64_t drops() const {
    std::uint64_t all = 0;
    for (std::size_t r = 0; r < kDropReasons; r++) all += count(static_cast<DropReason>(r));
    return all;
  }
  /// The sums that counters.def promises, for each worker.
  void expect_accounted() {
    for (std::uint32_t worker = 0; worker < options_.workers; worker++) {
      const Counters& c = state(worker).counters;
      std::uint64_t dropped = 0;
      for (std::size_t r = 0; r < kDropReasons; r++) dropped += c.get(static_cast<DropReason>(r));
      EXPECT_EQ(c.get(Counter::rx_packets) + c.get(Counter::handoff_received),
                c.get(Counter::forwarded) + c.get(Counter::consumed) + c.get(Counter::handoff_sent) +
                    c.get(Counter::held_packets) + dropped)
          << "worker " << worker;
      EXPECT_EQ(c.get(Counter::tx_packets), c.get(Counter::forwarded) + c.get(Counter::originated)) << "worker " << worker;
      EXPECT_EQ(c.get(Counter::sessions), state(worker).sessions->size());
      EXPECT_EQ(c.get(Counter::sessions_created), c.get(Counter::sessions) + c.get(Counter::sessions_expired));
      EXPECT_EQ(c.get(Counter::held_packets), state(worker).held.size() + state(worker).fragments->held());
      EXPECT_EQ(c.get(Counter::fragments_held), state(worker).fragments->held());
    }
    EXPECT_EQ(count(Counter::handoff_sent), count(Counter::handoff_received));
  }
  std::uint64_t frames_at_home() {
    std::uint64_t frames = 0;
    for (const auto& pool : pools_) {
      pool->collect_returns();
      frames += pool->available();
    }
    return frames;
  }

 private:
  template <class Get>
  std::uint64_t sum(Get get) const {
    std::uint64_t all = 0;
    for (const auto& memory : memories_) all += get(memory->state().counters);
    return all;
  }

  const Options options_;
  TableBuilder builder_;
  std::uint32_t now_ms_;
  Snapshot snapshot_;
  std::unique_ptr<PacketMemory> packets_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<SessionOwners> owners_;
  std::unique_ptr<LoadTable> loads_;
  std::vector<std::unique_ptr<FramePool>> pools_;
  std::unique_ptr<TemplateTable> templates_;
  std::vector<std::unique_ptr<WorkerMemory>> memories_;
  std::vector<std::vector<std::unique_ptr<MemoryPort>>> ports_;
  std::vector<std::unique_ptr<Worker<MemoryPort>>> loops_;
};

}  // namespace millrace::test
