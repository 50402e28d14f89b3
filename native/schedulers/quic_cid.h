// QUIC by connection id: a server writes itself into the connection ids that it issues, so a client that changes its address or
// port still reaches it. What has no such id (the first packets, foreign ids, ids of servers that are gone) goes by Maglev
// hashing.
//
// Format `dpvs` (include/ipvs/quic.h of DPVS 1.9.8): the end of the server's address, and its port if wanted, shifted by half a
// byte; an id has at least 7 bytes, and address + port + 6 of them:
//
//   | any (8) | bytes of address - 1 (3) | port follows (1) | end of the address (8 to 64) | port (16)? | nonce (32 or more) |
//
// Format `katran` (CID versions 1 to 3 of Katran's QUIC server ids), at least 8 bytes; 0 is no server:
//
//   | version 1 (2) | id (16) | ... |     | version 2 (2) | 0 (6) | id (24) | ... |     | version 3 (2) | 0 (6) | id (32) | ... |
//
// An id leads to its server whatever the server's weight: the connection is an old one. Of two servers that an address end fits
// the one added last is taken. Threads: build() on the control thread, find() and pick() on workers. No state.
#pragma once

#include "schedulers/mh.h"
#include "schedulers/support/quic_header.h"

namespace millrace {

class QuicConnectionId : public SchedulerBase {
 public:
  static constexpr std::string_view kName = "quic-cid";
  static constexpr SchedulerKind kKind = scheduler_named(kName);
  static constexpr std::string_view kSummary = "the server that the QUIC connection id names, else Maglev hashing";
  static constexpr std::string_view kOptions = "connectionId fallback port key tableSize serverPorts";

  static void build(std::span<const BuildServer> servers, const SchedulerOptions& options, SchedulerTable& table);

  /// Index of the server that a packet's connection id names, -1 if it names none.
  static std::int32_t find(const SchedulerTable& table, ConnectionIdFormat format, std::span<const std::uint8_t> payload);

  std::int32_t pick(std::span<const ServerView> servers, const PickContext& context) {
    if (context.table == nullptr) return -1;
    const std::int32_t named = find(*context.table, context.options->connection_id, context.payload);
    return named >= 0 ? named : pick_maglev(servers, context);
  }
};

}  // namespace millrace
