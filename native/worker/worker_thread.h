// WorkerThread: the thread around a Worker on AF_XDP: pinned, polling while there is work, asleep in poll() when there is none.
// Threads: start() and stop() on the control side; everything between runs on the thread it owns.
#pragma once

#include <poll.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "core/quiescence.h"
#include "ports/af_xdp.h"
#include "tables/snapshot.h"
#include "worker/options.h"
#include "worker/worker.h"

namespace millrace {

class WorkerThread {
 public:
  struct Parts {
    std::uint32_t worker = 0;
    int cpu = -1;
    Polling polling = Polling::kAdaptive;
    Worker<AfXdpPort>* loop = nullptr;
    std::vector<AfXdpPort*> ports;
    Links* links = nullptr;
    Published<Snapshot>* published = nullptr;
    /// Rung when the worker has asked the control thread for something.
    Bell* control_bell = nullptr;
  };
  explicit WorkerThread(Parts parts) : parts_(std::move(parts)) {}
  ~WorkerThread() { stop(); }
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  void start();
  /// Ends the loop and joins the thread. Idempotent.
  void stop();

 private:
  void run();
  /// Waits for packets, a neighbour's bell or the next timer; returns at once when there is work after all.
  void sleep();

  Parts parts_;
  /// What sleep() waits for: the bell, then every queue of every port.
  std::vector<pollfd> waiting_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

/// Milliseconds of CLOCK_MONOTONIC modulo 2^32, and nanoseconds.
struct Now {
  std::uint64_t ns;
  std::uint32_t ms() const { return static_cast<std::uint32_t>(ns / 1'000'000u); }
  static Now read();
};

}  // namespace millrace
