// Putting the parts together, and taking them apart in the opposite order.
#include "worker/dataplane.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "worker/control_thread.h"
#include "worker/worker_thread.h"

namespace millrace {

// Declared in the order of construction; destroyed in reverse: threads before what they use, sockets before packet memory.
struct Dataplane::Parts {
  DataplaneOptions options;
  std::unique_ptr<PacketMemory> packets;
  std::unique_ptr<Links> links;
  std::unique_ptr<Published<Snapshot>> published;
  std::unique_ptr<LoadTable> loads;
  std::unique_ptr<SessionOwners> owners;
  std::unique_ptr<TemplateTable> templates;
  std::vector<std::unique_ptr<WorkerMemory>> memories;
  std::shared_ptr<LogSource> logs;
  std::vector<std::unique_ptr<FramePool>> pools;
  std::vector<std::unique_ptr<XdpAttachment>> attachments;
  /// [worker][interface]
  std::vector<std::vector<std::unique_ptr<AfXdpPort>>> ports;
  std::vector<std::unique_ptr<Worker<AfXdpPort>>> loops;
  std::unique_ptr<ControlThread> control;
  std::vector<std::unique_ptr<WorkerThread>> threads;

  /// Guards the parts that interfaces() reads against stop().
  mutable std::mutex mutex;
  bool stopped = false;

  Result<void> open_interfaces();
  Result<void> open_ports();
  void make_workers();
};

namespace {

std::uint64_t seed_of(const DataplaneOptions& options) {
  if (options.seed != 0) return options.seed;
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) seed = Now::read().ns;
  return seed;
}

constexpr auto kQueryPoll = std::chrono::microseconds(200);

Result<std::uint32_t> frame_size_of(const DataplaneOptions& options) {
  if (options.frame_size != 0) return options.frame_size;
  auto probes = probe_interfaces();
  if (!probes) return probes.error();
  std::uint32_t mtu = 0;
  for (const InterfaceProbe& probe : probes.value()) {
    for (const InterfaceOptions& interface : options.interfaces) {
      if (interface.name == probe.name) mtu = std::max(mtu, probe.mtu);
    }
  }
  return mtu <= largest_mtu(2048) ? 2048u : 4096u;
}

std::uint32_t queues_of_worker(std::uint32_t queues, std::uint32_t worker, std::uint32_t workers) {
  return queues / workers + (worker < queues % workers ? 1 : 0);
}

}  // namespace

Result<void> Dataplane::Parts::open_interfaces() {
  for (const InterfaceOptions& interface : options.interfaces) {
    XdpAttachment::Options wanted{interface.name,
                                  {options.workers, packets->frame_size(), options.attach_mode, options.zero_copy}};
    auto attachment = XdpAttachment::attach(wanted);
    if (!attachment) return attachment.error();
    attachments.push_back(std::move(attachment).value());
  }
  return {};
}

Result<void> Dataplane::Parts::open_ports() {
  ports.resize(options.workers);
  for (std::uint32_t worker = 0; worker < options.workers; worker++) {
    std::uint32_t sockets = 0;
    for (const auto& attachment : attachments) sockets += queues_of_worker(attachment->queues(), worker, options.workers);
    for (std::size_t i = 0; i < attachments.size(); i++) {
      AfXdpPort::Options wanted;
      wanted.interface = options.interfaces[i].name;
      wanted.interface_index = static_cast<std::uint16_t>(i);
      for (std::uint32_t q = worker; q < attachments[i]->queues(); q += options.workers) wanted.queues.push_back(q);
      wanted.worker_sockets = sockets;
      wanted.ring_size = options.ring_size;
      wanted.zero_copy = attachments[i]->mode() == XdpMode::kSkb ? ZeroCopy::kOff : options.zero_copy;
      wanted.busy_poll_budget = options.busy_poll_budget;
      auto port = AfXdpPort::open(*pools[worker], wanted);
      if (!port) return port.error();
      for (const AfXdpPort::Socket& socket : port.value()->sockets()) {
        if (auto r = attachments[i]->set_socket(socket.queue, socket.fd); !r) return r;
      }
      ports[worker].push_back(std::move(port).value());
    }
  }
  return {};
}

void Dataplane::Parts::make_workers() {
  for (std::uint32_t worker = 0; worker < options.workers; worker++) {
    std::vector<AfXdpPort*> mine;
    for (const auto& port : ports[worker]) mine.push_back(port.get());
    WorkerState& state = memories[worker]->state();
    state.session_owners = owners.get();
    state.log.start_clock(Now::read().ns / 1'000'000u);
    state.service_slots = control->builder().service_slots();
    state.server_slots = control->builder().server_slots();
    state.local_slots = control->builder().local_slots();
    state.client_address_rules = control->builder().client_address_rules();
    loops.push_back(std::make_unique<Worker<AfXdpPort>>(state, *pools[worker], *links, mine, mine));
    const int cpu = worker < options.cpus.size() ? options.cpus[worker] : -1;
    threads.push_back(std::make_unique<WorkerThread>(WorkerThread::Parts{
        worker, cpu, options.polling, loops.back().get(), mine, links.get(), published.get(), &control->bell()}));
  }
}

Result<std::unique_ptr<Dataplane>> Dataplane::start(const DataplaneOptions& options) {
  auto parts = std::make_unique<Parts>();
  parts->options = options;
  auto frame_size = frame_size_of(options);
  if (!frame_size) return frame_size.error();
  PacketMemory::Options memory;
  memory.workers = options.workers;
  memory.frame_size = frame_size.value();
  memory.frames_per_worker = options.frames_per_worker;
  memory.huge_pages = options.huge_pages;
  auto packets = PacketMemory::create(memory);
  if (!packets) return packets.error();
  parts->packets = std::move(packets).value();
  parts->links = std::make_unique<Links>(*parts->packets);
  parts->published = std::make_unique<Published<Snapshot>>(options.workers);

  if (options.workers > 1) {
    auto owners = SessionOwners::create(std::uint64_t{options.workers} * options.max_sessions_per_worker);
    if (!owners) return owners.error();
    parts->owners = std::move(owners).value();
  }
  auto loads = LoadTable::create(options.workers);
  if (!loads) return loads.error();
  parts->loads = std::move(loads).value();

  const HashKey key = hash_key_from_seed(seed_of(options));
  auto templates = TemplateTable::create(key);
  if (!templates) return templates.error();
  parts->templates = std::move(templates).value();
  std::vector<WorkerMemory*> memories;
  for (std::uint32_t worker = 0; worker < options.workers; worker++) {
    auto made = WorkerMemory::create(options, worker, key, Now::read().ms(), *parts->templates, parts->loads.get());
    if (!made) return made.error();
    parts->memories.push_back(std::move(made).value());
    memories.push_back(parts->memories.back().get());
    parts->pools.push_back(std::make_unique<FramePool>(*parts->packets, parts->links->returns(), worker));
  }
  if (auto r = parts->open_interfaces(); !r) return r.error();
  if (auto r = parts->open_ports(); !r) return r.error();

  std::vector<XdpAttachment*> attachments;
  for (const auto& attachment : parts->attachments) attachments.push_back(attachment.get());
  auto control = ControlThread::create({options.interfaces, attachments, memories, parts->published.get(), parts->loads.get()});
  if (!control) return control.error();
  parts->control = std::move(control).value();
  parts->control->publish_first();
  std::vector<std::shared_ptr<WorkerLog>> logs;
  for (const auto& made : parts->memories) logs.push_back(made->log());
  parts->logs = std::make_shared<LogSource>(std::move(logs));
  parts->make_workers();
  parts->control->start();
  for (const auto& thread : parts->threads) thread->start();
  return std::unique_ptr<Dataplane>(new Dataplane(std::move(parts)));
}

Dataplane::Dataplane(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Dataplane::~Dataplane() { stop(); }

Result<ApplyOutcome> Dataplane::update(ServicesUpdate update) { return parts_->control->update(std::move(update)); }

Result<ApplyOutcome> Dataplane::apply(TablesConfig config) { return parts_->control->apply(std::move(config)); }

Result<SessionPage> Dataplane::sessions(const SessionRequest& request) {
  SessionPage page;
  for (SessionCursor at = request.from; at.worker < parts_->options.workers; at = {at.worker + 1, 0}) {
    const auto left = static_cast<std::uint32_t>(request.limit - page.rows.size());
    SessionQuery query(request.filter, at.id, left, request.end);
    parts_->loops[at.worker]->ask(query);
    parts_->links->bell(at.worker).ring();
    // Its turns go on as long as the thread does, and stop() waits for this call.
    while (!query.done()) std::this_thread::sleep_for(kQueryPoll);
    page.rows.insert(page.rows.end(), query.rows().begin(), query.rows().end());
    page.matched += query.matched();
    if (query.cursor() != kNoSession) {
      page.next = SessionCursor{at.worker, query.cursor()};
      return page;
    }
    if (request.limit != 0 && page.rows.size() == request.limit && at.worker + 1 < parts_->options.workers) {
      page.next = SessionCursor{at.worker + 1, 0};
      return page;
    }
  }
  return page;
}

void Dataplane::stop() {
  // First nobody changes tables, then no packet comes in, then nobody works on packets; memory goes with the parts.
  parts_->control->stop();
  const std::lock_guard lock(parts_->mutex);
  if (parts_->stopped) return;
  parts_->stopped = true;
  parts_->attachments.clear();
  for (const auto& thread : parts_->threads) thread->stop();
  parts_->threads.clear();
  parts_->loops.clear();
  parts_->ports.clear();
}

std::uint32_t Dataplane::workers() const { return parts_->options.workers; }

std::shared_ptr<SharedStatistics> Dataplane::statistics(std::uint32_t worker) const { return parts_->memories[worker]->statistics(); }

std::shared_ptr<LogSource> Dataplane::logs() const { return parts_->logs; }

std::vector<InterfaceStatus> Dataplane::interfaces() const {
  const std::lock_guard lock(parts_->mutex);
  std::vector<InterfaceStatus> list;
  for (std::size_t i = 0; i < parts_->attachments.size(); i++) {
    const XdpAttachment& attachment = *parts_->attachments[i];
    InterfaceStatus status;
    status.name = parts_->options.interfaces[i].name;
    status.index = attachment.probe().index;
    status.mode = attachment.mode();
    status.fallback_reason = attachment.fallback_reason();
    status.queues = attachment.queues();
    status.mtu = attachment.probe().mtu;
    status.mac = attachment.probe().mac;
    status.xdp = attachment.counters();
    for (const auto& ports : parts_->ports) {
      const AfXdpStatistics s = ports[i]->statistics();
      status.zero_copy = ports[i]->zero_copy();
      status.sockets.rx_dropped += s.rx_dropped;
      status.sockets.rx_invalid += s.rx_invalid;
      status.sockets.tx_invalid += s.tx_invalid;
      status.sockets.rx_ring_full += s.rx_ring_full;
      status.sockets.fill_ring_empty += s.fill_ring_empty;
    }
    list.push_back(std::move(status));
  }
  return list;
}

}  // namespace millrace
