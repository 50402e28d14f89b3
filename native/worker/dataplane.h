// Dataplane: everything native of one load balancer: packet memory, XDP attachments, ports, worker threads, control thread.
// Guarantees: start() leaves either a running dataplane or nothing; stop() leaves nothing; a configuration reaches all workers at once.
// Threads: start(), apply() and stop() may block and are called from a thread that may (not the JavaScript thread: the addon uses its
// pool). Everything else may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "pipeline/session_query.h"
#include "ports/af_xdp.h"
#include "ports/xdp_attachment.h"
#include "tables/configuration.h"
#include "tables/table_builder.h"
#include "worker/options.h"
#include "worker/worker_memory.h"

namespace millrace {

struct ApplyOutcome {
  std::uint64_t generation = 0;
  SlotMap slots;
};

struct InterfaceStatus {
  std::string name;
  std::uint32_t index = 0;
  XdpMode mode = XdpMode::kNative;
  std::string fallback_reason;
  bool zero_copy = false;
  std::uint32_t queues = 0;
  std::uint32_t mtu = 0;
  MacAddress mac;
  XdpCounters xdp;
  AfXdpStatistics sockets;
};

/// A place in the walk over all workers' sessions.
struct SessionCursor {
  std::uint32_t worker = 0;
  SessionId id = 0;
};

struct SessionRequest {
  SessionFilter filter;
  SessionCursor from;
  /// Rows; 0 counts without listing.
  std::uint32_t limit = 0;
  /// Ends the sessions that are met.
  bool end = false;
};

struct SessionPage {
  std::vector<SessionRow> rows;
  std::uint64_t matched = 0;
  /// Absent: there is nothing more.
  std::optional<SessionCursor> next;
};

class Dataplane {
 public:
  static Result<std::unique_ptr<Dataplane>> start(const DataplaneOptions& options);
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  /// Makes `config` the current one. Returns when every worker has it and the servers' next hops are resolved, or a second later.
  /// Errors: address_on_kernel, limit_exceeded, not_running, those of XdpAttachment::set_owned_addresses.
  Result<ApplyOutcome> apply(TablesConfig config);
  /// The same for some services of the configuration in force, at a cost that does not depend on the sizes of the others.
  /// Errors: unknown_service, limit_exceeded, not_running.
  Result<ApplyOutcome> update(ServicesUpdate update);
  /// Sessions of all workers, one worker after the other, from where `from` says on. Waits for the workers, some turns each.
  Result<SessionPage> sessions(const SessionRequest& request);
  void stop();

  std::uint32_t workers() const;
  std::shared_ptr<SharedStatistics> statistics(std::uint32_t worker) const;
  /// The logs of all workers, which may be read after this is gone.
  std::shared_ptr<LogSource> logs() const;
  std::vector<InterfaceStatus> interfaces() const;

 private:
  struct Parts;
  explicit Dataplane(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
