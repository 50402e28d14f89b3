// What a live IPVS sent on, byte for byte (recordings/exchanges.txt): the same packets through this pipeline must leave the same,
// except for
// the differences that docs/ipvs-differences.md lists; each is named here where it is allowed for.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace {
namespace {

using namespace test;

struct Step {
  bool in;
  bool client;
  Bytes packet;
};
struct RecordedExchange {
  std::string name;
  ForwardMode mode;
  std::string vip, server;
  /// MTU on the way to the server.
  std::uint32_t mtu;
  std::vector<Step> steps;
};

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<RecordedExchange> read_exchanges() {
  std::ifstream in(std::filesystem::absolute(__FILE__).parent_path() / "recordings" / "exchanges.txt");
  EXPECT_TRUE(in.is_open());
  std::vector<RecordedExchange> all;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first, second, third;
    words >> first >> second >> third;
    if (first == "exchange") {
      RecordedExchange exchange{second, *forward_mode(third), {}, {}, 0, {}};
      words >> exchange.vip >> exchange.server;
      if (!(words >> exchange.mtu)) exchange.mtu = 1500;
      all.push_back(exchange);
    } else if (first == "in" || first == "out") {
      all.back().steps.push_back({first == "in", second == "client", from_hex(third)});
    }
  }
  return all;
}

bool is_v6(const Bytes& packet) { return packet[0] >> 4 == 6; }
std::size_t l4_at(const Bytes& packet) { return is_v6(packet) ? 40 : (packet[0] & 15u) * 4; }
std::uint8_t protocol_of(const Bytes& packet) { return is_v6(packet) ? packet[6] : packet[9]; }
std::uint16_t port_at(const Bytes& packet, std::size_t offset) { return read16(packet, l4_at(packet) + offset); }

/// The service of the exchange, with every protocol and port that its client asked for and what they led to.
TablesConfig tables_of(const RecordedExchange& exchange) {
  TablesConfig config;
  std::map<std::uint8_t, std::uint16_t> server_ports;
  for (const Step& step : exchange.steps) {
    if (step.in || step.client || exchange.mode != ForwardMode::kNat) continue;
    server_ports.emplace(protocol_of(step.packet), port_at(step.packet, 2));
  }
  std::map<std::pair<int, int>, bool> seen;
  for (const Step& step : exchange.steps) {
    const std::uint8_t protocol = protocol_of(step.packet);
    if (!step.in || !step.client || (protocol != 6 && protocol != 17)) continue;
    if (!seen.emplace(std::pair<int, int>{protocol, port_at(step.packet, 2)}, true).second) continue;
    ServiceConfig service;
    service.name = std::to_string(seen.size());
    service.address = ip(exchange.vip);
    service.protocol = protocol;
    service.port = be16(port_at(step.packet, 2));
    ServerConfig server;
    server.address = ip(exchange.server);
    server.port = server_ports.contains(protocol) ? be16(server_ports[protocol]) : service.port;
    server.mode = exchange.mode;
    service.servers = {server};
    config.services.push_back(service);
  }
  config.local_addresses = {ip("10.0.2.1")};
  config.timeouts_ms = default_timeouts(TimeoutProfile::kIpvs);
  return config;
}

NetworkTables network_with(const std::string& server, std::uint32_t mtu) {
  NetworkTables network = default_network();
  const NextHopId hop = network.neighbours.at({ip("10.0.2.11"), kServerSide});
  network.neighbours[{ip(server), kServerSide}] = hop;
  network.next_hops[hop].mtu = static_cast<decltype(network.next_hops[hop].mtu)>(mtu);
  return network;
}

void blank(Bytes& packet, std::size_t at, std::size_t length = 2) {
  for (std::size_t i = at; i < at + length && i < packet.size(); i++) packet[i] = 0;
}

/// Takes out of both packets what may differ, and why.
void allow_differences(Bytes& packet) {
  const std::size_t l4 = l4_at(packet);
  if (!is_v6(packet) && protocol_of(packet) == net::kProtocolIcmp) {
    if (packet[l4] == 11) {
      // Our own error: its identification is ours, and its TOS is internetwork control whatever the packet had.
      blank(packet, 4);
      packet[1] = 0;
      blank(packet, 10);
    } else if (packet[l4] == 3 && packet[l4 + 1] == 4) {
      // Our own, too: it quotes the packet as it came, not with its TTL taken down.
      blank(packet, 4);
      blank(packet, 10);
      blank(packet, l4 + 2);
      blank(packet, l4 + 8 + 8, 1);
      blank(packet, l4 + 8 + 10);
    } else {
      // The quoted transport checksum is translated back, too, so the checksum of the whole is another.
      blank(packet, l4 + 2);
      blank(packet, l4 + 8 + 20 + 6);
    }
  }
}

/// GUE packets: the source port tells flows apart for the server's queues, by a hash that is each balancer's own.
void allow_other_flow_port(ForwardMode mode, Bytes& packet) {
  if (mode == ForwardMode::kTunnelGue && protocol_of(packet) == net::kProtocolUdp) blank(packet, l4_at(packet));
}

TEST(RecordedExchanges, LeaveAsTheyLeftALiveIpvs) {
  std::size_t compared = 0;
  for (const RecordedExchange& exchange : read_exchanges()) {
    SCOPED_TRACE(exchange.name);
    Stage stage({}, tables_of(exchange));
    stage.network(network_with(exchange.server, exchange.mtu));
    std::vector<Bytes> sent[2], expected[2];
    for (const Step& step : exchange.steps) {
      if (!step.in) {
        expected[step.client ? 0 : 1].push_back(step.packet);
        continue;
      }
      Bytes frame = step.client ? Bytes{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 12} : Bytes{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 2, 17};
      packet_detail::put16(frame, is_v6(step.packet) ? 0x86dd : 0x0800);
      packet_detail::append(frame, step.packet);
      for (const Sent& out : stage.pass_through(frame, step.client ? kClientSide : kServerSide)) {
        sent[out.interface == kClientSide ? 0 : 1].push_back(Bytes(out.bytes.begin() + 14, out.bytes.end()));
      }
    }
    for (const int side : {0, 1}) {
      ASSERT_EQ(sent[side].size(), expected[side].size()) << (side == 0 ? "to clients" : "to servers");
      for (std::size_t i = 0; i < sent[side].size(); i++) {
        allow_differences(sent[side][i]);
        allow_other_flow_port(exchange.mode, sent[side][i]);
        allow_differences(expected[side][i]);
        allow_other_flow_port(exchange.mode, expected[side][i]);
        // A UDP checksum that the sender left out stays left out; IPVS computes one.
        const bool udp = protocol_of(sent[side][i]) == net::kProtocolUdp;
        if (udp && port_at(sent[side][i], 6) == 0) blank(expected[side][i], l4_at(expected[side][i]) + 6);
        EXPECT_EQ(sent[side][i], expected[side][i]) << (side == 0 ? "to client, packet " : "to server, packet ") << i;
        compared++;
      }
    }
    stage.expect_accounted();
  }
  EXPECT_GT(compared, 40u);
}

}  // namespace
}  // namespace millrace
