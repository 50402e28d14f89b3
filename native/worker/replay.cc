// The replay loop: one captured packet at a time, then turns of all workers until the dust has settled.
#include "worker/replay.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "control/network.h"
#include "net/headers.h"
#include "pipeline/parse.h"
#include "ports/memory.h"
#include "ports/outbound_selection.h"
#include "ports/pcap.h"
#include "ports/selection.h"
#include "worker/worker.h"
#include "worker/worker_memory.h"

namespace millrace {

namespace {

Result<NetworkConfig> network_of(const DataplaneOptions& options, const TablesConfig& tables) {
  NetworkConfig config;
  const auto number = [&](const std::string& name) {
    const auto found =
        std::find_if(options.interfaces.begin(), options.interfaces.end(), [&](const InterfaceOptions& i) { return i.name == name; });
    return static_cast<std::uint16_t>(found - options.interfaces.begin());
  };
  for (const InterfaceOptions& interface : options.interfaces) {
    if (interface.mac.is_zero()) {
      return Error{"config_invalid", "interface " + interface.name + " has no mac: replay asks no kernel, give it one", 0};
    }
    config.interfaces.push_back({interface.name, interface.mac, interface.mtu, interface.addresses});
  }
  for (const StaticRouteConfig& route : tables.routes) {
    StaticRoute r{Prefix{route.prefix, route.length}, std::nullopt, number(route.interface)};
    if (route.has_gateway) r.via = route.gateway;
    config.routes.push_back(r);
  }
  for (const StaticNeighbourConfig& neighbour : tables.neighbours) {
    config.neighbours.push_back({neighbour.address, neighbour.mac, number(neighbour.interface)});
  }
  return config;
}

/// Workers on one thread, with a port per worker and interface.
class Stage {
 public:
  static Result<std::unique_ptr<Stage>> create(const DataplaneOptions& options, const TablesConfig& tables);

  Result<ReplayResult> run(const ReplayOptions& options);

 private:
  explicit Stage(std::uint32_t workers) : builder_(workers), workers_(workers) {}

  /// What af_xdp.bpf.c finds: an address of the kernel inside a prefix of VIPs is the kernel's.
  const OwnedAddress* owner_of(const IpAddress& destination) const {
    const ServiceTables& tables = *snapshot_.services;
    if (kernel_addresses_.contains(destination) && !tables.owned.contains(destination)) return nullptr;
    return tables.owner_of(destination);
  }
  /// Errors about tunnels' packets are sent there.
  bool is_tunnel_source(const IpAddress& destination) const {
    const auto& ranges = snapshot_.services->tunnel_sources;
    return ranges[destination.is_v4() ? 0 : 1].contains(destination) && !kernel_addresses_.contains(destination);
  }
  /// `owned`: what the destination is; nullptr for an error about a tunnel's packet, for an answer of a NAT server and for a packet to the outside.
  std::uint32_t worker_for(const OwnedAddress* owned, std::span<const std::uint8_t> frame, ReplaySteering steering) const;
  std::uint16_t interface_for(std::span<const std::uint8_t> frame) const;
  void expire();
  Result<void> settle(std::uint64_t time_ns, PcapWriter& writer, ReplayResult& result);

  TableBuilder builder_;
  const std::uint32_t workers_;
  std::uint64_t seed_ = 0;
  std::unordered_set<IpAddress, AddressHash> kernel_addresses_;
  Snapshot snapshot_;
  AnswerSelection answers_;
  OutboundSelection outbound_;
  std::unique_ptr<PacketMemory> packets_;
  std::unique_ptr<Links> links_;
  std::vector<std::unique_ptr<FramePool>> pools_;
  std::unique_ptr<LoadTable> loads_;
  std::unique_ptr<SessionOwners> owners_;
  std::unique_ptr<TemplateTable> templates_;
  std::vector<const ServerStats*> statistics_;
  std::vector<std::unique_ptr<WorkerMemory>> memories_;
  std::vector<std::vector<std::unique_ptr<MemoryPort>>> ports_;
  std::vector<std::unique_ptr<Worker<MemoryPort>>> loops_;
  std::uint32_t now_ms_ = 0;
};

Result<std::unique_ptr<Stage>> Stage::create(const DataplaneOptions& options, const TablesConfig& tables) {
  std::unique_ptr<Stage> stage(new Stage(options.workers));
  stage->seed_ = options.seed;
  PacketMemory::Options memory;
  memory.workers = options.workers;
  memory.frame_size = options.frame_size == 0 ? 4096 : options.frame_size;
  memory.frames_per_worker = 1024;
  memory.huge_pages = false;
  auto packets = PacketMemory::create(memory);
  if (!packets) return packets.error();
  stage->packets_ = std::move(packets).value();
  stage->links_ = std::make_unique<Links>(*stage->packets_);

  auto network = network_of(options, tables);
  if (!network) return network.error();
  for (const InterfaceConfig& interface : network.value().interfaces) {
    for (const Prefix& prefix : interface.addresses) stage->kernel_addresses_.insert(prefix.address);
  }
  if (auto r = stage->builder_.reserve(); !r) return r.error();
  auto built = stage->builder_.apply(tables);
  if (!built) return built.error();
  stage->snapshot_.services = std::move(built).value();
  std::vector<IpAddress> kernel;
  for (const InterfaceOptions& interface : options.interfaces) {
    for (const Prefix& prefix : interface.addresses) kernel.push_back(prefix.address);
  }
  stage->answers_ = AnswerSelection(stage->builder_.nat_servers(), kernel);
  stage->outbound_ = OutboundSelection(stage->builder_.outbound_matches(), kernel);
  stage->snapshot_.network = Network::from_configuration(network.value());
  stage->snapshot_.timeouts_ms = tables.timeouts_ms;
  stage->snapshot_.serial = 1;
  stage->snapshot_.network_serial = 1;

  if (options.workers > 1) {
    auto owners = SessionOwners::create(std::uint64_t{options.workers} * options.max_sessions_per_worker);
    if (!owners) return owners.error();
    stage->owners_ = std::move(owners).value();
  }
  auto loads = LoadTable::create(options.workers);
  if (!loads) return loads.error();
  stage->loads_ = std::move(loads).value();

  const HashKey key = hash_key_from_seed(options.seed);
  auto templates = TemplateTable::create(key);
  if (!templates) return templates.error();
  stage->templates_ = std::move(templates).value();
  for (std::uint32_t worker = 0; worker < options.workers; worker++) {
    stage->pools_.push_back(std::make_unique<FramePool>(*stage->packets_, stage->links_->returns(), worker));
    auto made = WorkerMemory::create(options, worker, key, 0, *stage->templates_, stage->loads_.get());
    if (!made) return made.error();
    stage->memories_.push_back(std::move(made).value());
    stage->statistics_.push_back(stage->memories_.back()->statistics()->servers.data());
    WorkerState& state = stage->memories_.back()->state();
    state.session_owners = stage->owners_.get();
    state.service_slots = stage->builder_.service_slots();
    state.server_slots = stage->builder_.server_slots();
    state.local_slots = stage->builder_.local_slots();
    state.client_address_rules = stage->builder_.client_address_rules();
    std::vector<MemoryPort*> mine;
    auto& ports = stage->ports_.emplace_back();
    for (std::size_t i = 0; i < options.interfaces.size(); i++) {
      ports.push_back(std::make_unique<MemoryPort>(*stage->pools_.back(),
                                                   MemoryPort::Options{static_cast<std::uint16_t>(i), 256, false}));
      mine.push_back(ports.back().get());
    }
    stage->loops_.push_back(std::make_unique<Worker<MemoryPort>>(state, *stage->pools_.back(), *stage->links_, mine, mine));
  }
  return stage;
}

std::uint32_t Stage::worker_for(const OwnedAddress* owned, std::span<const std::uint8_t> frame, ReplaySteering steering) const {
  std::uint32_t worker;
  if (owned != nullptr && owned->kind == OwnedAddress::Kind::kLocal) {
    worker = builder_.local_slots()[owned->local].worker;
  } else {
    // Any function of the flow will do, if it is the same for all its packets: addresses and the four bytes behind the headers. Cards
    // spread fragments by addresses alone, the first one too.
    Packet packet{const_cast<std::uint8_t*>(frame.data()), static_cast<std::uint32_t>(frame.size()), 0, 0, 0};
    PacketMeta meta;
    DropReason reason;
    const bool parsed = parse_packet(packet, meta, reason);
    const std::uint16_t port = meta.fragment == 0 ? meta.source_port.raw : std::uint16_t{0};
    worker = parsed ? static_cast<std::uint32_t>(mix64(meta.source.low ^ meta.source.high ^ port) % workers_) : 0;
  }
  return steering == ReplaySteering::kWrong ? (worker + 1) % workers_ : worker;
}

std::uint16_t Stage::interface_for(std::span<const std::uint8_t> frame) const {
  const auto& interfaces = snapshot_.network->interfaces;
  for (std::size_t i = 0; i < interfaces.size(); i++) {
    if (std::memcmp(frame.data(), interfaces[i].mac.bytes.data(), 6) == 0) return static_cast<std::uint16_t>(i);
  }
  return 0;
}

/// Everything that is due goes before the next packet comes. A worker's loop looks at few timers per turn, so there a session may go late;
/// here that would make the result depend on how many turns happened to be made.
void Stage::expire() {
  for (std::uint32_t worker = 0; worker < workers_; worker++) {
    WorkerState& state = memories_[worker]->state();
    state.now_ms = now_ms_;
    state.snapshot = &snapshot_;
    Batch released;
    std::uint32_t before;
    do {
      before = state.fragments->datagrams();
      (void)run_timers(state, UINT32_MAX, released);
    } while (state.fragments->datagrams() != before);
    for (std::uint32_t i = 0; i < released.count; i++) pools_[worker]->release(released.packets[i].data);
  }
}

Result<void> Stage::settle(std::uint64_t time_ns, PcapWriter& writer, ReplayResult& result) {
  expire();
  for (bool moved = true; moved;) {
    moved = false;
    loads_->refresh(statistics_, snapshot_.services->counted);
    for (std::uint32_t worker = 0; worker < workers_; worker++) {
      WorkerState& state = memories_[worker]->state();
      const std::uint32_t sessions = state.sessions->size();
      moved = loops_[worker]->turn(&snapshot_, now_ms_) != 0 || state.sessions->size() != sessions || moved;
      for (const auto& port : ports_[worker]) {
        std::array<Packet, kBatchSize> sent;
        for (std::uint32_t n = port->take(sent); n != 0; n = port->take(sent)) {
          for (std::uint32_t i = 0; i < n; i++) {
            if (auto r = writer.write(time_ns, std::span<const std::uint8_t>(sent[i].data, sent[i].length)); !r) return r;
            pools_[worker]->release(sent[i].data);
            result.sent++;
          }
        }
      }
    }
  }
  return {};
}

Result<ReplayResult> Stage::run(const ReplayOptions& options) {
  auto reader = PcapReader::open(options.input);
  if (!reader) return reader.error();
  auto writer = PcapWriter::create(options.output);
  if (!writer) return writer.error();
  ReplayResult result;
  std::uint64_t time_ns = 0;
  for (;;) {
    auto next = reader.value().next();
    if (!next) return next.error();
    if (!next.value().has_value()) break;
    const CapturedPacket& captured = *next.value();
    time_ns = std::max(time_ns, captured.time_ns);
    now_ms_ = static_cast<std::uint32_t>(time_ns / 1'000'000u);
    if (auto r = settle(time_ns, writer.value(), result); !r) return r.error();
    result.packets++;
    const std::optional<IpAddress> destination = steerable_destination(captured.bytes);
    const OwnedAddress* owned = destination ? owner_of(*destination) : nullptr;
    const bool passes = owned != nullptr || (destination && is_tunnel_source(*destination)) || answers_.wants(captured.bytes) || outbound_.wants(captured.bytes, interface_for(captured.bytes));
    if (!passes) {
      result.passed_to_kernel++;
      continue;
    }
    const std::uint32_t worker = worker_for(owned, captured.bytes, options.steering);
    if (!ports_[worker][interface_for(captured.bytes)]->inject(captured.bytes)) {
      return Error{"pcap_invalid", options.input + ": packet " + std::to_string(result.packets) + " has " +
                                       std::to_string(captured.bytes.size()) + " bytes, more than one frame of " +
                                       std::to_string(packets_->frame_size()) + " holds; capture with segmentation offload off (ethtool -K tso off gso off gro off)",
                   0};
    }
    if (auto r = settle(time_ns, writer.value(), result); !r) return r.error();
  }
  // Nobody will resolve anything any more: give held packets the time to be given up.
  now_ms_ += HeldQueue::kWaitMs;
  if (auto r = settle(time_ns + std::uint64_t{HeldQueue::kWaitMs} * 1'000'000u, writer.value(), result); !r) return r.error();
  const bool fragments_wait =
      std::any_of(memories_.begin(), memories_.end(), [](const auto& memory) { return memory->state().fragments->held() != 0; });
  if (fragments_wait) {
    static_assert(FragmentTracker::kLifetimeMs > HeldQueue::kWaitMs);
    now_ms_ += FragmentTracker::kLifetimeMs - HeldQueue::kWaitMs;
    if (auto r = settle(time_ns + std::uint64_t{FragmentTracker::kLifetimeMs} * 1'000'000u, writer.value(), result); !r) return r.error();
  }
  if (auto r = writer.value().close(); !r) return r.error();

  for (const auto& memory : memories_) {
    auto& counters = result.counters.emplace_back();
    for (std::size_t i = 0; i < kCounterSlots; i++) counters[i] = memory->statistics()->counters[i];
  }
  for (const SlotMap::Service& service : builder_.slot_map().services) {
    for (const SlotMap::Server& server : service.servers) {
      ServerStats sum{};
      for (const auto& memory : memories_) {
        const ServerStats& s = memory->statistics()->servers[server.slot];
        sum.connections += s.connections;
        sum.in_packets += s.in_packets;
        sum.in_bytes += s.in_bytes;
        sum.out_packets += s.out_packets;
        sum.out_bytes += s.out_bytes;
        sum.active += s.active;
        sum.inactive += s.inactive;
      }
      const std::string host = server.address.is_v4() ? server.address.to_string() : "[" + server.address.to_string() + "]";
      result.servers.push_back({service.name, host + ":" + std::to_string(server.port.host()), sum});
    }
  }
  return result;
}

}  // namespace

Result<ReplayResult> replay(const DataplaneOptions& options, const TablesConfig& tables, const ReplayOptions& replay_options) {
  auto stage = Stage::create(options, tables);
  if (!stage) return stage.error();
  return stage.value()->run(replay_options);
}

}  // namespace millrace
