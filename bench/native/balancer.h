// A balancer in memory: the production worker loop, tables and pipeline around a FlowPort, with one service of 16 servers and 16
// local addresses. Nothing in it is made for the benchmark but the port.
// Thread: the benchmark's only thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "control/network.h"
#include "flow_port.h"
#include "sessions/tcp_state.h"
#include "tables/table_builder.h"
#include "worker/links.h"
#include "worker/worker.h"
#include "worker/worker_memory.h"

namespace millrace::bench {

inline constexpr std::uint32_t kServers = 16;
inline constexpr std::uint32_t kLocals = 16;

/// Set-up in a benchmark either works or ends it.
template <typename T>
T need(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", result.error().code.c_str(), result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

inline IpAddress address(const std::string& text) {
  bool ok = false;
  const IpAddress parsed = IpAddress::parse(text, ok);
  if (!ok) std::abort();
  return parsed;
}

class Balancer {
 public:
  /// `session_timeout_ms` is that of every state.
  Balancer(const Traffic& traffic, std::uint32_t max_sessions, std::uint32_t session_timeout_ms, const ClientAddressConfig& told = {})
      : packets_(need(PacketMemory::create({.workers = 1, .frames_per_worker = 1024, .numa_nodes = {}, .huge_pages = true}))),
        port_(*packets_, traffic),
        links_(*packets_),
        pool_(*packets_, links_.returns(), 0),
        builder_(1) {
    TablesConfig tables = tables_config(traffic);
    tables.services[0].client_address = told;
    tables.timeouts_ms.fill(session_timeout_ms);
    if (auto reserved = builder_.reserve(); !reserved) std::abort();
    snapshot_.services = need(builder_.apply(tables));
    snapshot_.network = Network::from_configuration(network_config(traffic));
    snapshot_.timeouts_ms = tables.timeouts_ms;
    snapshot_.serial = 1;
    snapshot_.network_serial = 1;
    DataplaneOptions options;
    options.max_sessions_per_worker = max_sessions;
    memory_ = need(WorkerMemory::create(options, 0, hash_key_from_seed(1), 0, *templates_));
    WorkerState& s = memory_->state();
    s.service_slots = builder_.service_slots();
    s.server_slots = builder_.server_slots();
    s.local_slots = builder_.local_slots();
    s.client_address_rules = builder_.client_address_rules();
    loop_ = std::make_unique<Worker<FlowPort>>(s, pool_, links_, std::vector<FlowPort*>{&port_},
                                               std::vector<FlowPort*>{&port_, &port_});
  }

  FlowPort& port() { return port_; }
  WorkerState& state() { return memory_->state(); }
  std::uint64_t counter(Counter c) { return state().counters.get(c); }

  /// Turns until `packets` more were received. The clock goes on by one millisecond per `packets_per_ms` packets.
  void run(std::uint64_t packets, std::uint64_t packets_per_ms) {
    for (std::uint64_t done = 0; done < packets;) {
      const std::uint32_t moved = loop_->turn(&snapshot_, static_cast<std::uint32_t>(clock_ / packets_per_ms));
      done += moved;
      clock_ += moved;
    }
  }

  /// Ends the program unless every packet received was sent on.
  void require_lossless() {
    if (counter(Counter::forwarded) == counter(Counter::rx_packets)) return;
    std::fprintf(stderr, "%llu packets were received and %llu sent on\n",
                 static_cast<unsigned long long>(counter(Counter::rx_packets)),
                 static_cast<unsigned long long>(counter(Counter::forwarded)));
    for (std::size_t i = 0; i < kDropReasons; i++) {
      const std::uint64_t drops = state().counters.get(static_cast<DropReason>(i));
      if (drops == 0) continue;
      std::fprintf(stderr, "  %s: %llu\n", std::string(kCounterInfo[kPlainCounters + i].name).c_str(),
                   static_cast<unsigned long long>(drops));
    }
    std::exit(1);
  }

 private:
  static std::string server_text(bool ipv6, std::uint32_t i) {
    return (ipv6 ? "2001:db8:5::" : "192.168.1.") + std::to_string(i + 1);
  }
  static std::string local_text(bool ipv6, std::uint32_t i) {
    return (ipv6 ? "2001:db8:6::" : "192.168.2.") + std::to_string(i + 1);
  }

  static TablesConfig tables_config(const Traffic& traffic) {
    TablesConfig tables;
    ServiceConfig service;
    service.name = "bench";
    service.address = address(traffic.ipv6 ? kVip6 : kVip4);
    service.port = be16(kVipPort);
    service.protocol = traffic.protocol;
    for (std::uint32_t i = 0; i < kServers; i++)
      service.servers.push_back({address(server_text(traffic.ipv6, i)), be16(8053), 1});
    tables.services.push_back(service);
    for (std::uint32_t i = 0; i < kLocals; i++) tables.local_addresses.push_back(address(local_text(traffic.ipv6, i)));
    return tables;
  }

  static NetworkConfig network_config(const Traffic& traffic) {
    bool ok;
    NetworkConfig network;
    network.interfaces.push_back({"outside",
                                  MacAddress::parse("02:00:00:00:01:01", ok),
                                  1500,
                                  {Prefix::parse(traffic.ipv6 ? "2001:db8:e::1/64" : "192.0.2.1/24", ok)}});
    network.interfaces.push_back({"inside",
                                  MacAddress::parse("02:00:00:00:02:01", ok),
                                  1500,
                                  {Prefix::parse(traffic.ipv6 ? "2001:db8:5::fe/64" : "192.168.1.254/24", ok)}});
    const IpAddress gateway = address(traffic.ipv6 ? "2001:db8:e::fe" : "192.0.2.254");
    network.routes.push_back({Prefix::parse(traffic.ipv6 ? "::/0" : "0.0.0.0/0", ok), gateway, 0});
    network.neighbours.push_back({gateway, MacAddress::parse("02:00:00:00:01:fe", ok), 0});
    for (std::uint32_t i = 0; i < kServers; i++) {
      MacAddress mac = MacAddress::parse("02:00:00:00:03:00", ok);
      mac.bytes[5] = static_cast<std::uint8_t>(i);
      network.neighbours.push_back({address(server_text(traffic.ipv6, i)), mac, 1});
    }
    return network;
  }

  std::unique_ptr<PacketMemory> packets_;
  FlowPort port_;
  Links links_;
  FramePool pool_;
  TableBuilder builder_;
  Snapshot snapshot_;
  std::unique_ptr<TemplateTable> templates_ = need(TemplateTable::create(hash_key_from_seed(1)));
  std::unique_ptr<WorkerMemory> memory_;
  std::unique_ptr<Worker<FlowPort>> loop_;
  std::uint64_t clock_ = 0;
};

}  // namespace millrace::bench
