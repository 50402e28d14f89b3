// A look at a worker's sessions from outside: which there are, how many, and ending those that somebody wants to end. The worker walks its
// own table a few sessions a turn, as it does for removals, so that packets wait no longer than for a batch.
// Guarantees: a session that lives all the time is met exactly once; the worker allocates nothing, takes no lock and makes no system call.
// Threads: made and read by one that waits for done(); in between the worker alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "net/prefix.h"
#include "pipeline/worker_state.h"

namespace millrace {

/// Sessions for which all of this holds.
struct SessionFilter {
  std::optional<Prefix> client{};
  be16 client_port{};
  /// 0: any.
  std::uint8_t protocol = 0;
  /// Slots, ascending; empty: any.
  std::vector<ServiceSlot> services{};
  std::vector<ServerSlot> servers{};
};

/// A session as it was when the worker came by.
struct SessionRow {
  IpAddress client, vip, local, server;
  /// Of modes that keep the client's address towards the server, `local` and its port are those of the client.
  be16 client_port, vip_port, local_port, server_port;
  ServiceSlot service;
  ServerSlot server_slot;
  std::uint32_t worker;
  SessionId id;
  /// Until it goes if no packet comes; 0 where it is due.
  std::uint32_t expires_ms;
  std::uint32_t packets_in, packets_out;
  std::uint8_t protocol;
  SessionState state;
  ForwardMode mode;
};

class SessionQuery {
 public:
  /// At most `limit` rows, from `cursor` on. With `end` each session met is ended: of TCP both sides are reset with its next packet,
  /// others are gone at once.
  SessionQuery(SessionFilter filter, SessionId cursor, std::uint32_t limit, bool end);

  /// Worker: some more. True when it has come to the end, or has as many rows as it may.
  bool advance(WorkerState& state);
  /// Worker: nothing of this is touched by it from now on.
  void finish() { done_.store(true, std::memory_order_release); }
  bool done() const { return done_.load(std::memory_order_acquire); }

  // After done().
  const std::vector<SessionRow>& rows() const { return rows_; }
  std::uint64_t matched() const { return matched_; }
  /// Where the next query goes on; kNoSession: there is nothing more.
  SessionId cursor() const { return cursor_; }

 private:
  bool matches(const Session& session) const;

  SessionFilter filter_;
  SessionId cursor_;
  std::uint32_t limit_;
  bool end_;
  std::vector<SessionRow> rows_;
  std::uint64_t matched_ = 0;
  std::atomic<bool> done_{false};
};

}  // namespace millrace
