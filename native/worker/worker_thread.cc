// The thread's life: pin, loop, sleep, end.
#include "worker/worker_thread.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdio>

namespace millrace {

namespace {

/// How long a worker looks for packets before it sleeps: about what one wake-up costs, so that it never costs twice what it must.
constexpr std::uint64_t kSpinNs = 30'000;
constexpr int kLongestSleepMs = 1000;
/// While packets are held, their deadlines are looked at this often.
constexpr int kHeldSleepMs = 20;
/// Frames come home without a bell; a worker that has none left looks for them this often.
constexpr int kStarvedSleepMs = 1;

void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace

Now Now::read() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec)};
}

void WorkerThread::start() {
  waiting_.push_back({parts_.links->bell(parts_.worker).fd(), POLLIN, 0});
  for (AfXdpPort* port : parts_.ports) {
    for (const int fd : port->descriptors()) waiting_.push_back({fd, POLLIN, 0});
  }
  thread_ = std::thread([this] { run(); });
}

void WorkerThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  parts_.links->bell(parts_.worker).ring();
  thread_.join();
}

void WorkerThread::run() {
  char name[16];
  std::snprintf(name, sizeof(name), "millrace-w%u", parts_.worker % 1000u);
  (void)pthread_setname_np(pthread_self(), name);
  pin(parts_.cpu);

  Published<Snapshot>& published = *parts_.published;
  published.wake(parts_.worker);
  std::uint64_t last_work_ns = Now::read().ns;
  std::uint64_t requests_told = 0;
  while (!stopping_.load(std::memory_order_acquire)) {
    const Snapshot* snapshot = published.enter(parts_.worker);
    const Now now = Now::read();
    const std::uint32_t moved = snapshot == nullptr ? 0 : parts_.loop->turn(snapshot, now.ms());
    const std::uint64_t requests = parts_.loop->state().counters.get(Counter::neighbour_requests);
    if (requests != requests_told) {
      requests_told = requests;
      parts_.control_bell->ring();
    }
    if (moved != 0) {
      last_work_ns = now.ns;
    } else if (parts_.polling != Polling::kBusy &&
               (parts_.polling == Polling::kInterrupt || now.ns - last_work_ns > kSpinNs)) {
      sleep();
      last_work_ns = Now::read().ns;
    }
  }
  published.leave(parts_.worker);
}

void WorkerThread::sleep() {
  Bell& bell = parts_.links->bell(parts_.worker);
  bell.announce_sleep();
  const bool sending = std::any_of(parts_.ports.begin(), parts_.ports.end(), [](AfXdpPort* p) { return p->transmit_pending() != 0; });
  if (sending || parts_.loop->has_work() || stopping_.load(std::memory_order_acquire)) {
    bell.awake();
    return;
  }
  WorkerState& state = parts_.loop->state();
  const std::uint32_t due = state.timers->next_due_ms(Now::read().ms());
  int timeout = due > static_cast<std::uint32_t>(kLongestSleepMs) ? kLongestSleepMs : static_cast<int>(due);
  if (state.held.size() != 0) timeout = std::min(timeout, kHeldSleepMs);
  if (parts_.loop->starved()) timeout = std::min(timeout, kStarvedSleepMs);
  state.counters.add(Counter::sleeps);
  parts_.published->leave(parts_.worker);
  (void)poll(waiting_.data(), waiting_.size(), timeout);
  parts_.published->wake(parts_.worker);
  bell.awake();
}

}  // namespace millrace
