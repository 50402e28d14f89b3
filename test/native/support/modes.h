// Modes: services of every forwarding mode for a Stage, and what a client's packet must be when its server gets it. Thread: any. Tests
// only.
#pragma once

#include <string>

#include "forwarders/registry.h"
#include "support/flow.h"

namespace millrace::test {

inline constexpr std::uint8_t kTestDscp = 11;

inline std::string_view mode_name(ForwardMode mode) {
  for (const ForwardModeInfo& info : kForwardModes) {
    if (info.mode == mode) return info.name;
  }
  return "?";
}

/// Two servers of one mode behind TCP 80 and UDP 53 of the VIP of one family; local addresses of both families for each worker. Full
/// NAT and NAT map the ports to 8080 and 5353.
inline TablesConfig mode_tables(std::uint32_t workers, ForwardMode mode, bool client6, bool server6) {
  TablesConfig config;
  for (const std::uint8_t protocol : {std::uint8_t{6}, std::uint8_t{17}}) {
    ServiceConfig service;
    service.name = protocol == 6 ? "web" : "dns";
    service.address = ip(client6 ? kVip6 : kVip);
    service.port = be16(protocol == 6 ? 80 : 53);
    service.protocol = protocol;
    service.scheduler = SchedulerKind::kRoundRobin;
    service.dscp = mode == ForwardMode::kL3Dsr ? kTestDscp : std::uint8_t{0};
    for (const char* last : {"11", "12"}) {
      ServerConfig server;
      server.address = ip((server6 ? "fd00:2::" : "10.0.2.") + std::string(last));
      server.port = be16(is_one_way(mode) ? (protocol == 6 ? 80 : 53) : (protocol == 6 ? 8080 : 5353));
      server.mode = mode;
      service.servers.push_back(server);
    }
    config.services.push_back(std::move(service));
  }
  for (const bool six : {false, true}) {
    for (std::uint32_t worker = 0; worker < workers; worker++) {
      config.local_addresses.push_back(ip((six ? "fd00:3::" : "10.0.3.") + std::to_string(worker + 1)));
    }
  }
  config.timeouts_ms = default_timeouts(TimeoutProfile::kIpvs);
  return config;
}

/// The frame without its outer headers; of other modes the frame as it is.
inline Bytes without_tunnel(ForwardMode mode, bool inner6, bool outer6, const Bytes& frame) {
  if (!is_tunnel(mode)) return frame;
  const std::size_t added = (outer6 ? 40u : 20u) + (mode == ForwardMode::kTunnelGre ? 4u : mode == ForwardMode::kTunnelGue ? 12u : 0u);
  Bytes out(frame.begin(), frame.begin() + 14);
  out[12] = inner6 ? 0x86 : 0x08;
  out[13] = inner6 ? 0xdd : 0x00;
  out.insert(out.end(), frame.begin() + 14 + static_cast<std::ptrdiff_t>(added), frame.end());
  return out;
}

/// What the server gets for `request`, tunnel taken off; the choice of server and local port is read from `out`.
inline Flow expected_at_server(ForwardMode mode, bool server6, const Flow& request, const Bytes& out) {
  Flow f = request;
  f.ttl--;
  f.eth_source = "02:00:00:00:00:02";
  f.eth_destination = "02:00:00:00:02:" + std::string(out[5] == 0x11 ? "11" : "12");
  const std::string server = (server6 ? "fd00:2::" : "10.0.2.") + f.eth_destination.substr(15);
  switch (mode) {
    case ForwardMode::kFullNat:
      f.six = server6;
      f.source = address_at(out, server6 ? 22 : 26, server6);
      f.source_port = read16(out, server6 ? 54 : 34);
      [[fallthrough]];
    case ForwardMode::kNat:
      f.destination = server;
      f.destination_port = request.tcp ? 8080 : 5353;
      break;
    case ForwardMode::kL3Dsr:
      f.destination = server;
      f.tos = static_cast<std::uint8_t>(kTestDscp << 2 | (request.tos & 3));
      break;
    default:
      break;
  }
  return f;
}

}  // namespace millrace::test
