// Fuzz target: ICMP errors about sessions of every mode, and fragments, on two workers. The input is a list of steps:
//
//   kind (1 byte) | argument (1 byte) | length (1 byte) | bytes
//
//   0 a client's datagram    2 an ICMP error about the last packet to a server    4 two fragments of a client's datagram
//   1 the server's answer    3 an ICMP error about the last packet to a client    5 an ICMP error about free bytes
//   6, 7 time passes
//
// The quoted packets are real ones, cut and damaged by the bytes. After each step: every packet is accounted for, no frame is lost,
// what leaves is whole, no larger than its link, and an error that leaves has a right checksum.
#include "support/check.h"
#include "support/fragmenting.h"
#include "support/packet_builder.h"
#include "support/pipeline_stage.h"

namespace millrace::fuzz {
namespace {

using test::Bytes;
using test::PacketBuilder;

constexpr ForwardMode kModes[] = {ForwardMode::kFullNat,   ForwardMode::kNat,       ForwardMode::kDirect, ForwardMode::kTunnelIpip,
                                  ForwardMode::kTunnelGre, ForwardMode::kTunnelGue, ForwardMode::kL3Dsr};

/// One service per mode and families: port 1000 + 2 * mode, one more where the server is of the other family.
TablesConfig mode_tables() {
  TablesConfig tables = stage_tables();
  tables.services.clear();
  for (const bool six : {false, true}) {
    for (std::uint16_t mode = 0; mode < 7; mode++) {
      for (const bool other : {false, true}) {
        const ForwardMode m = kModes[mode];
        if (other && m != ForwardMode::kFullNat && !is_tunnel(m)) continue;
        ServiceConfig service;
        service.name = "s";
        service.address = address(six ? "2001:db8:f::10" : "203.0.113.10");
        service.port = be16(static_cast<std::uint16_t>(1000 + 2 * mode + (other ? 1 : 0)));
        service.protocol = net::kProtocolUdp;
        service.scheduler = SchedulerKind::kRoundRobin;
        service.dscp = m == ForwardMode::kL3Dsr ? 11 : 0;
        ServerConfig server;
        server.address = address(six != other ? "2001:db8:2::11" : "192.0.2.11");
        server.port = is_one_way(m) ? service.port : be16(8080);
        server.mode = m;
        service.servers.push_back(server);
        tables.services.push_back(std::move(service));
      }
    }
  }
  return tables;
}

struct Last {
  Bytes to_server;
  Bytes to_client;
};

/// The last frames that were no ICMP errors.
void remember(std::span<const std::uint8_t> frame, std::uint16_t interface, Last& last) {
  const bool six = test::frame_is_ipv6(Bytes(frame.begin(), frame.end()));
  if (frame[six ? 20 : 23] == (six ? net::kProtocolIcmpv6 : net::kProtocolIcmp)) return;
  (interface == 1 ? last.to_server : last.to_client) = Bytes(frame.begin(), frame.end());
}

void check_sent(std::span<const std::uint8_t> frame, std::uint16_t interface, Last& last) {
  FUZZ_CHECK(frame.size() <= (interface == 1 ? 1280u : 1500u) + 14u);
  const auto copy = exact_copy(frame.data(), frame.size());
  Packet packet{copy.get(), static_cast<std::uint32_t>(frame.size()), interface, 0, 0};
  PacketMeta meta;
  DropReason reason{};
  const bool whole = parse_packet(packet, meta, reason);
  // Tunnels are protocols that nobody here parses; the next hop may be the last.
  FUZZ_CHECK(whole || reason == DropReason::ttl_expired || reason == DropReason::protocol_unsupported);
  FUZZ_CHECK(meta.ttl != 0);
  if (whole) FUZZ_CHECK(packet.length == frame.size());
  const bool icmp = meta.protocol == (meta.ipv6 ? net::kProtocolIcmpv6 : net::kProtocolIcmp);
  if (whole && icmp) {
    const Bytes bytes(frame.begin() + meta.l4_offset, frame.end());
    const std::size_t l3 = 14;
    const Bytes source(frame.begin() + l3 + 8, frame.begin() + l3 + 24);
    const Bytes destination(frame.begin() + l3 + 24, frame.begin() + l3 + 40);
    const std::uint32_t start = meta.ipv6 ? test::packet_detail::pseudo_sum(source, destination, 58, bytes.size()) : 0;
    FUZZ_CHECK(test::packet_detail::sum(bytes, start) == 0xffff);
  }
  remember(frame, interface, last);
}

Bytes client_frame(std::uint8_t argument, const Bytes& body) {
  const bool six = (argument & 0x80) != 0;
  PacketBuilder b;
  b.eth({.destination = "02:00:00:00:01:01"});
  if (six) {
    b.ipv6();
  } else {
    b.ipv4({.dont_fragment = (argument & 0x20) != 0});
  }
  b.udp({.source_port = static_cast<std::uint16_t>(40000 + (argument >> 4 & 1)),
         .destination_port = static_cast<std::uint16_t>(1000 + (argument & 15) % 14)});
  return b.payload(body).payload_of((argument & 0x40) != 0 ? 1240 : 0).build();
}

/// The way back of a frame: addresses and ports exchanged.
Bytes answer_to(const Bytes& frame, const Bytes& body) {
  const bool six = test::frame_is_ipv6(frame);
  const std::size_t l4 = six ? 54 : 34;
  if (frame.size() < l4 + 8 || frame[six ? 20 : 23] != net::kProtocolUdp) return frame;
  const auto text = [&](std::size_t at) {
    IpAddress a;
    if (six) {
      a = IpAddress::v6(frame.data() + at);
    } else {
      std::uint32_t raw;
      std::memcpy(&raw, frame.data() + at, 4);
      a = IpAddress::v4(be32::from_raw(raw));
    }
    return a.to_string();
  };
  const auto word = [&](std::size_t at) { return static_cast<std::uint16_t>(frame[at] << 8 | frame[at + 1]); };
  PacketBuilder b;
  b.eth({.source = "02:00:00:00:0a:11", .destination = "02:00:00:00:01:02"});
  if (six) {
    b.ipv6({.source = text(38), .destination = text(22)});
  } else {
    b.ipv4({.source = text(30), .destination = text(26)});
  }
  return b.udp({.source_port = word(l4 + 2), .destination_port = word(l4)}).payload(body).build();
}

/// An error about `frame`, whose quote is cut and damaged: `body` is type, code, rest (2 bytes), cut (2), pairs of place and value.
Bytes error_about(const Bytes& frame, bool from_server_side, const Bytes& body, bool free_bytes) {
  const bool six = test::frame_is_ipv6(frame);
  Bytes quote(frame.begin() + 14, frame.end());
  const auto at = [&](std::size_t i) { return i < body.size() ? body[i] : std::uint8_t{0}; };
  std::size_t cut = static_cast<std::size_t>(at(4) << 8 | at(5));
  if (cut != 0 && cut < quote.size()) quote.resize(cut);
  for (std::size_t i = 6; i + 1 < body.size() && !quote.empty(); i += 2) quote[body[i] % quote.size()] ^= body[i + 1];
  if (free_bytes) quote = body;
  IpAddress source;
  if (six) {
    source = IpAddress::v6(frame.data() + 22);
  } else {
    std::uint32_t raw;
    std::memcpy(&raw, frame.data() + 26, 4);
    source = IpAddress::v4(be32::from_raw(raw));
  }
  PacketBuilder b;
  b.eth({.destination = from_server_side ? "02:00:00:00:01:02" : "02:00:00:00:01:01"});
  const std::uint8_t ttl = static_cast<std::uint8_t>(1 + (at(0) >> 5));
  if (six) {
    b.ipv6({.source = "2001:db8:9::1", .destination = source.to_string(), .hop_limit = ttl});
  } else {
    b.ipv4({.source = "198.51.100.200", .destination = source.to_string(), .ttl = ttl});
  }
  const std::uint8_t types4[] = {3, 11, 12, 3};
  const auto type = static_cast<std::uint8_t>(six ? 1 + (at(0) & 3) : types4[at(0) & 3]);
  const std::uint32_t rest = static_cast<std::uint32_t>(at(2) << 8 | at(3)) << (at(1) & 16);
  return b.icmp({.type = type, .code = static_cast<std::uint8_t>(at(1) & 15), .rest = rest}).payload(quote).build();
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  using fuzz::Bytes;
  static const TablesConfig tables = fuzz::mode_tables();
  fuzz::PipelineStage stage(tables);
  fuzz::Last last{fuzz::client_frame(0, {}), fuzz::answer_to(fuzz::client_frame(0, {}), {})};
  fuzz::InputReader in(data, size);
  const auto on_sent = [&](std::span<const std::uint8_t> frame, std::uint16_t interface) {
    fuzz::check_sent(frame, interface, last);
  };
  for (int step = 0; in.left() != 0 && step < 200; step++) {
    const std::uint8_t kind = in.byte();
    const std::uint8_t argument = in.byte();
    std::size_t length = 0;
    const std::uint8_t wanted = in.byte();
    const std::uint8_t* bytes = in.bytes(wanted, length);
    const Bytes body(bytes, bytes + length);
    const std::uint32_t worker = kind >> 3 & 1;
    switch (kind & 7) {
      case 0: {
        const Bytes frame = fuzz::client_frame(argument, body);
        stage.arrive(worker, 0, frame);
        last.to_client = fuzz::answer_to(frame, {});  // in one-way modes it passes by
        break;
      }
      case 1:
        stage.arrive(worker, 1, fuzz::answer_to(last.to_server, body));
        break;
      case 2:
        stage.arrive(worker, 1, fuzz::error_about(last.to_server, true, body, false));
        break;
      case 3:
        stage.arrive(worker, 0, fuzz::error_about(last.to_client, false, body, false));
        break;
      case 4: {
        const Bytes frame = fuzz::client_frame(argument | 0x40, body);
        const std::size_t cut = 8u * (1u + argument % 100u);
        const bool later_first = (kind & 0x40) != 0;
        const std::size_t payload = frame.size() - (test::frame_is_ipv6(frame) ? 54u : 34u);
        const Bytes parts[2] = {test::fragment_of(frame, 0, cut, argument), test::fragment_of(frame, cut, payload, argument)};
        stage.arrive(worker, 0, parts[later_first ? 1 : 0]);
        stage.arrive(kind >> 4 & 1, 0, parts[later_first ? 0 : 1]);
        break;
      }
      case 5:
        stage.arrive(worker, 1, fuzz::error_about(last.to_server, true, body, true));
        break;
      default:
        stage.pass_time(argument * 16u);
    }
    if ((kind & 0x80) == 0) stage.settle(on_sent);
  }
  stage.settle(on_sent);
  stage.check();
  for (int i = 0; i < 4; i++) {
    stage.pass_time(1500);
    stage.settle(on_sent);
  }
  stage.check();
  return 0;
}
