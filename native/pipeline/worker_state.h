// WorkerState: what one worker owns and what its stages work on. Plain data; the stages are functions over it.
// Thread: one worker. The pointers to tables are shared and read-only; everything else is this worker's alone.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/counters.h"
#include "core/hash.h"
#include "core/log_ring.h"
#include "core/packet_memory.h"
#include "core/siphash.h"
#include "core/spsc_ring.h"
#include "pipeline/accepted_headers.h"
#include "pipeline/fragment_homes.h"
#include "pipeline/fragment_tracker.h"
#include "pipeline/header_timers.h"
#include "pipeline/held_queue.h"
#include "pipeline/parse.h"
#include "pipeline/session_owners.h"
#include "schedulers/registry.h"
#include "sessions/local_ports.h"
#include "sessions/session_table.h"
#include "sessions/timer_wheel.h"
#include "tables/client_address.h"
#include "tables/load_table.h"
#include "tables/rate_limits.h"
#include "tables/resolve_request.h"
#include "tables/slots.h"
#include "tables/snapshot.h"
#include "tables/template_table.h"

namespace millrace {

/// Packets that the pipeline makes beside those of the batch: further fragments. Sent with the batch.
struct ExtraPackets {
  struct Item {
    Packet packet;
    std::uint16_t interface;
  };
  std::uint32_t count = 0;
  std::array<Item, 256> packets;

  bool push(const Packet& packet, std::uint16_t interface) {
    if (count == packets.size()) return false;
    packets[count++] = {packet, interface};
    return true;
  }
};

/// What the pipeline notes about each packet of the batch it works on. Kept here, and not on the stack of each call, so that it
/// is initialised once and not for every batch.
struct BatchNotes {
  std::array<PacketMeta, kBatchSize> metas;
  std::array<SessionRef, kBatchSize> candidates;
  /// Sessions created in this batch whose second entry is still to be made (create.h).
  struct Created {
    SessionId id;
    std::uint64_t hash_out;
  };
  std::array<Created, kBatchSize> created;
  std::uint32_t created_count = 0;
  /// The session just created is for the packet in hand only.
  bool one_packet = false;
  /// Which packets of the batch are fragments (fragments.h).
  std::array<std::uint8_t, kBatchSize> fragments;
  std::uint32_t fragment_count = 0;
};

/// Connection limits as this worker last took them over from its tables (connection_limits.h).
struct WorkerLimits {
  using Map = std::unordered_map<std::uint32_t, ConnectionLimits>;
  Map servers;
  Map services;
  /// Shared by all workers (tables/connection_gate.h); nullptr where nobody counts.
  std::uint32_t* server_gates = nullptr;
  std::uint32_t* service_gates = nullptr;
  /// This worker's sessions by service slot.
  std::uint32_t* service_sessions = nullptr;

  bool empty() const { return servers.empty() && services.empty(); }
};

/// Limits on packets and bits per second, by slot (rate_limits.h).
struct WorkerRates {
  RateLeases* servers = nullptr;
  RateLeases* services = nullptr;
  /// Shared by all workers (tables/rate_limits.h); nullptr where nobody counts.
  SharedRates* shared_servers = nullptr;
  SharedRates* shared_services = nullptr;
  /// The slots that have limits.
  std::vector<ServerSlot> rated_servers;
  std::vector<ServiceSlot> rated_services;
};

/// How many packets without a session a worker passes round in one millisecond (classify.h).
inline constexpr std::uint32_t kSearchesPerMs = 64;

struct WorkerState {
  WorkerState(std::uint32_t worker_number, std::uint32_t worker_count, HashKey key, std::uint64_t* counter_slots)
      : worker(worker_number),
        workers(worker_count),
        hash_key(key),
        counters(counter_slots),
        ip_id(static_cast<std::uint16_t>(worker_number * 0x9e37u)) {}

  const std::uint32_t worker;
  const std::uint32_t workers;
  const HashKey hash_key;

  // Shared, read-only for workers.
  const Snapshot* snapshot = nullptr;
  const ServiceIdentity* service_slots = nullptr;
  const ServerIdentity* server_slots = nullptr;
  const LocalIdentity* local_slots = nullptr;
  const ClientAddressRule* client_address_rules = nullptr;
  /// Shared by all workers (fragment_homes.h says who writes what); nullptr where there is one worker only.
  FragmentHomes* fragment_homes = nullptr;
  /// Shared by all workers; nullptr where there is one worker only, or nobody made it: then sessions are searched for.
  SessionOwners* session_owners = nullptr;
  /// Shared by all workers: where clients of persistent services went (template_table.h).
  TemplateTable* templates = nullptr;

  // This worker's own.
  Counters counters;
  LogWriter log;
  ServerStats* server_stats = nullptr;
  /// Sessions per local address slot.
  std::uint64_t* local_sessions = nullptr;
  SessionTable* sessions = nullptr;
  TimerWheel* timers = nullptr;
  LocalPorts* local_ports = nullptr;
  SchedulerStates* schedulers = nullptr;
  /// How busy the servers are, over all workers.
  ServerLoads loads;
  WorkerLimits limits;
  WorkerRates rates;
  /// The walk through the sessions of removed servers (removal.h).
  struct Cutting {
    SessionId cursor = kNoSession;
    bool had_some = false;
  };
  Cutting cutting;
  /// Key of numbers that nobody outside may foretell (client_address.cc).
  SipKey secret;
  HeaderTimers* header_timers = nullptr;
  AcceptedHeaders* accepted_headers = nullptr;
  /// By service slot: connections for whose client's address there was no room.
  std::uint64_t* crowded = nullptr;
  SpscRing<ResolveRequest>* requests = nullptr;
  HeldQueue held;
  FragmentTracker* fragments = nullptr;
  /// For packets of our own.
  FramePool* frames = nullptr;
  ExtraPackets extra;
  BatchNotes notes;

  /// The worker's clock: milliseconds modulo 2^32, set once per batch.
  std::uint32_t now_ms = 0;
  /// How many of them are left in this millisecond; the first may well be number 0, as in captures that were made by hand.
  std::uint32_t search_budget = kSearchesPerMs;
  std::uint32_t search_budget_ms = 0;
  /// The next identification of an IPv4 header that the balancer makes and others may fragment (RFC 6864 4.2): different ones for
  /// packets that follow each other, whatever their flow. Workers begin apart.
  std::uint16_t ip_id;
  /// Which stripe of the templates is swept next, and when the last was.
  std::uint32_t template_stripe = worker;
  std::uint32_t template_sweep_ms = 0;
  /// ICMP errors that may still be sent (icmp_error.h).
  std::uint32_t icmp_tokens = 100;
  std::uint32_t icmp_tokens_ms = 0;
};

}  // namespace millrace
