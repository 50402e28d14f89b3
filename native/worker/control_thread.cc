// The control thread's loop.
#include "worker/control_thread.h"

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <span>

#include "worker/worker_thread.h"

namespace millrace {

namespace {

constexpr std::uint64_t kResolveWaitMs = 1000;
constexpr std::uint64_t kReclaimEveryMs = 200;
/// While something waits for workers to pass on, they are asked this often.
constexpr std::uint64_t kShortWaitMs = 2;
constexpr std::uint64_t kLongWaitMs = 1000;

std::uint64_t now_ms() { return Now::read().ns / 1'000'000u; }

std::uint16_t interface_number(const std::vector<InterfaceOptions>& interfaces, const std::string& name) {
  const auto found = std::find_if(interfaces.begin(), interfaces.end(), [&](const InterfaceOptions& i) { return i.name == name; });
  return static_cast<std::uint16_t>(found - interfaces.begin());
}

}  // namespace

Result<std::unique_ptr<ControlThread>> ControlThread::create(Parts parts) {
  NetworkConfig config;
  for (const InterfaceOptions& interface : parts.interfaces) {
    config.interfaces.push_back({interface.name, interface.mac, interface.mtu, interface.addresses});
  }
  auto network = Network::open(std::move(config), now_ms());
  if (!network) return network.error();
  auto announcer = Announcer::open();
  if (!announcer) return announcer.error();
  std::unique_ptr<ControlThread> control(
      new ControlThread(std::move(parts), std::move(network).value(), std::move(announcer).value()));
  if (auto r = control->builder_.reserve(); !r) return r.error();
  control->builder_.on_server_slot_taken([c = control.get()](ServerSlot slot) {
    for (WorkerMemory* worker : c->parts_.workers) worker->statistics()->servers[slot] = ServerStats{};
    if (c->parts_.loads != nullptr) c->parts_.loads->clear(slot);
  });
  auto tables = control->builder_.apply(TablesConfig{});
  if (!tables) return tables.error();
  control->next_.services = std::move(tables).value();
  control->next_.network = control->network_->tables();
  (void)control->network_->take_changed();
  control->next_.network_serial = 1;
  return control;
}

ControlThread::ControlThread(Parts parts, std::unique_ptr<Network> network, std::unique_ptr<Announcer> announcer)
    : parts_(std::move(parts)), network_(std::move(network)), announcer_(std::move(announcer)),
      builder_(static_cast<std::uint32_t>(parts_.workers.size())) {
  for (WorkerMemory* worker : parts_.workers) statistics_.push_back(worker->statistics()->servers.data());
}

ControlThread::~ControlThread() { stop(); }

void ControlThread::publish_first() { publish(); }

void ControlThread::publish() {
  // Servers that are counted from now on were not refreshed before.
  if (counts_loads()) parts_.loads->refresh(statistics_, next_.services->counted);
  next_.serial++;
  parts_.published->publish(std::make_unique<const Snapshot>(next_));
}

void ControlThread::start() {
  thread_ = std::thread([this] { run(); });
}

void ControlThread::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  bell_.ring();
  thread_.join();
  const std::lock_guard lock(mutex_);
  for (Task* task : waiting_) {
    task->outcome = Error{"not_running", "the balancer stopped before the configuration was applied", 0};
    task->done = true;
  }
  for (Task* task : published_tasks_) task->done = true;
  waiting_.clear();
  published_tasks_.clear();
  done_.notify_all();
}

Result<ApplyOutcome> ControlThread::perform(Change change) {
  Task task;
  task.change = std::move(change);
  std::unique_lock lock(mutex_);
  if (stopping_) return Error{"not_running", "the balancer has been stopped; create a new one", 0};
  waiting_.push_back(&task);
  bell_.ring();
  done_.wait(lock, [&] { return task.done; });
  return std::move(task.outcome);
}

void ControlThread::run() {
  (void)pthread_setname_np(pthread_self(), "millrace-ctl");
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    std::uint64_t now = now_ms();
    wait_for_events(now);
    now = now_ms();
    refresh_loads(now);
    network_->process(now);
    announcer_->process(now);
    take_requests(now);
    take_tasks(now);
    network_->tick(now);
    announcer_->tick(now);
    follow_network(now);
    finish_tasks(now);
    free_leavers(now);
    (void)parts_.published->reclaim();
  }
}

void ControlThread::wait_for_events(std::uint64_t now) {
  std::uint64_t until = std::min({network_->next_tick_ms(), announcer_->next_tick_ms(), now + kLongWaitMs});
  if (builder_.has_leavers()) until = std::min(until, std::max(next_reclaim_ms_, now));
  if (counts_loads()) until = std::min(until, std::max(next_loads_ms_, now));
  bell_.announce_sleep();
  bool work = false;
  for (WorkerMemory* worker : parts_.workers) work = work || !worker->requests().empty();
  {
    const std::lock_guard lock(mutex_);
    work = work || stopping_ || !waiting_.empty();
    if (!published_tasks_.empty()) until = std::min(until, now + kShortWaitMs);
  }
  if (!work) {
    std::array<pollfd, 3> waiting = {{{bell_.fd(), POLLIN, 0}, {network_->fd(), POLLIN, 0}, {announcer_->fd(), POLLIN, 0}}};
    (void)poll(waiting.data(), waiting.size(), until <= now ? 0 : static_cast<int>(until - now));
  }
  bell_.awake();
}

void ControlThread::take_requests(std::uint64_t now) {
  for (WorkerMemory* worker : parts_.workers) {
    // Bounded: a worker asks again for each packet to a silent neighbour, and the rest of the loop must have its turn.
    std::array<ResolveRequest, 256> requests;
    const std::size_t n = worker->requests().pop(std::span<ResolveRequest>(requests));
    for (std::size_t i = 0; i < n; i++) network_->request(requests[i], now);
  }
}

void ControlThread::take_tasks(std::uint64_t now) {
  for (;;) {
    Task* task = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) return;
      task = waiting_.front();
      waiting_.pop_front();
    }
    const Result<void> applied = std::visit([&](const auto& change) { return apply_now(*task, change, now); }, task->change);
    const std::lock_guard lock(mutex_);
    if (applied) {
      published_tasks_.push_back(task);
    } else {
      task->outcome = applied.error();
      task->done = true;
      done_.notify_all();
    }
  }
}

Result<void> ControlThread::apply_now(Task& task, const ServicesUpdate& update, std::uint64_t now) {
  const std::uint64_t membership = builder_.membership();
  auto tables = builder_.update(update);
  if (!tables) return tables.error();
  if (auto r = publish_tables(task, std::move(tables).value(), builder_.membership() != membership, now); !r) return r;
  task.outcome = ApplyOutcome{next_.services->generation, builder_.slot_map(update.services)};
  return {};
}

Result<void> ControlThread::publish_tables(Task& task, std::shared_ptr<const ServiceTables> tables, bool servers_changed,
                                           std::uint64_t now) {
  if (servers_changed) network_->set_servers(builder_.server_addresses(), now);
  next_.services = std::move(tables);
  // Workers know an address before its packets come, and still know it when the last ones do.
  publish();
  tables_epoch_ = parts_.published->epoch();
  task.servers_changed = servers_changed;
  task.epoch = tables_epoch_;
  task.deadline_ms = now + kResolveWaitMs;
  return servers_changed ? own_addresses(now) : Result<void>();
}

Result<void> ControlThread::apply_now(Task& task, const TablesConfig& config, std::uint64_t now) {
  for (const ServiceConfig& service : config.services) {
    // Of a prefix the kernel may hold some: they stay its own.
    for (const Prefix& vips : vips_of(service)) {
      if (!vips.is_host()) continue;
      if (auto r = network_->check_not_on_kernel(vips.address); !r) return r;
    }
  }
  std::vector<IpAddress> locals = config.local_addresses;
  for (const ServiceConfig& service : config.services) locals.insert(locals.end(), service.pool.begin(), service.pool.end());
  for (const IpAddress& local : locals) {
    if (auto r = network_->check_not_on_kernel(local); !r) return r;
  }
  auto tables = builder_.apply(config);
  if (!tables) return tables.error();

  std::vector<StaticRoute> routes;
  for (const StaticRouteConfig& route : config.routes) {
    StaticRoute r{Prefix{route.prefix, route.length}, std::nullopt, interface_number(parts_.interfaces, route.interface)};
    if (route.has_gateway) r.via = route.gateway;
    routes.push_back(r);
  }
  std::vector<StaticNeighbour> neighbours;
  for (const StaticNeighbourConfig& neighbour : config.neighbours) {
    neighbours.push_back({neighbour.address, neighbour.mac, interface_number(parts_.interfaces, neighbour.interface)});
  }
  network_->configure(std::move(routes), std::move(neighbours), now);
  next_.timeouts_ms = config.timeouts_ms;
  if (auto r = publish_tables(task, std::move(tables).value(), true, now); !r) return r;
  task.outcome = ApplyOutcome{next_.services->generation, builder_.slot_map()};
  return {};
}

Result<void> ControlThread::own_addresses(std::uint64_t now) {
  const std::vector<IpAddress> owned = builder_.owned_addresses();
  const std::vector<ServiceKey> nat_servers = builder_.nat_servers();
  leave_to_kernel();
  for (XdpAttachment* attachment : parts_.attachments) {
    if (auto r = attachment->set_nat_servers(nat_servers); !r) return r;
    if (auto r = attachment->set_owned_addresses(owned); !r) return r;
  }
  if (auto r = own_prefixes(); !r) return r;
  if (auto r = own_outbound(); !r) return r;
  announcer_->set_owned(builder_.announced_addresses(), now);
  return {};
}

Result<void> ControlThread::own_prefixes() {
  const std::vector<Prefix> prefixes = builder_.owned_prefixes();
  std::vector<IpAddress> kernel;
  for (const HostAddress& host : network_->kernel_addresses()) kernel.push_back(host.prefix.address);
  for (XdpAttachment* attachment : parts_.attachments) {
    if (auto r = attachment->set_owned_prefixes(prefixes, kernel); !r) return r;
  }
  return {};
}

Result<void> ControlThread::own_outbound() {
  const std::vector<ServiceMatch> rules = builder_.outbound_matches();
  for (std::size_t i = 0; i < parts_.attachments.size(); i++) {
    std::vector<ServiceMatch> here;
    std::copy_if(rules.begin(), rules.end(), std::back_inserter(here),
                 [&](const ServiceMatch& rule) { return rule.interface == kAnyInterface || rule.interface == i; });
    if (auto r = parts_.attachments[i]->set_outbound(here); !r) return r;
  }
  return {};
}

void ControlThread::leave_to_kernel() {
  std::vector<IpAddress> addresses;
  for (const HostAddress& host : network_->kernel_addresses()) addresses.push_back(host.prefix.address);
  // What does not fit now is tried again with the next change.
  for (XdpAttachment* attachment : parts_.attachments) (void)attachment->set_kernel_addresses(addresses);
}

void ControlThread::finish_tasks(std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(published_tasks_, [&](Task* task) {
    const bool reached =
        parts_.published->all_reached(task->epoch) && (!task->servers_changed || network_->pending_servers() == 0);
    if (!reached && now < task->deadline_ms) return false;
    task->done = true;
    done_.notify_all();
    return true;
  });
}

void ControlThread::follow_network(std::uint64_t now) {
  if (network_->take_interfaces_changed()) {
    // An interface whose socket cannot be opened now is tried again with its next change; the others are served.
    (void)announcer_->set_interfaces(network_->interfaces(), network_->kernel_addresses(), now);
    // The kernel may have got addresses inside prefixes of VIPs, or lost some.
    (void)own_prefixes();
    leave_to_kernel();
  }
  if (!network_->take_changed()) return;
  next_.network = network_->tables();
  next_.network_serial = next_.serial + 1;
  publish();
}

bool ControlThread::counts_loads() const {
  return parts_.loads != nullptr && parts_.loads->has_others() && !next_.services->counted.empty();
}

void ControlThread::refresh_loads(std::uint64_t now) {
  if (!counts_loads() || now < next_loads_ms_) return;
  // Half the promised age: poll() may wake up a little late, and what it finds is worked off before the next round.
  next_loads_ms_ = now + kLoadRefreshMs / 2;
  parts_.loads->refresh(statistics_, next_.services->counted);
}

void ControlThread::free_leavers(std::uint64_t now) {
  if (!builder_.has_leavers() || now < next_reclaim_ms_) return;
  next_reclaim_ms_ = now + kReclaimEveryMs;
  if (!parts_.published->all_reached(tables_epoch_)) return;
  auto tables = builder_.reclaim(
      [&](ServerSlot slot) {
        std::uint64_t sum = 0;
        for (WorkerMemory* worker : parts_.workers) {
          sum += sessions_now(worker->statistics()->servers[slot]);
        }
        return sum;
      },
      [&](LocalSlot slot) {
        std::uint64_t sum = 0;
        for (WorkerMemory* worker : parts_.workers) sum += load_acquire(worker->statistics()->locals[slot]);
        return sum;
      });
  if (!tables) return;
  next_.services = std::move(tables);
  publish();
  tables_epoch_ = parts_.published->epoch();
  (void)own_addresses(now);  // only removes
}

}  // namespace millrace
