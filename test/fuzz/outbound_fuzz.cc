// Fuzz target: the outbound gateway on two workers. The input is a list of steps:
//
//   kind (1 byte) | argument (1 byte) | length (1 byte) | bytes
//
//   0 free bytes to the outside    3 echo of an inside host                      6 an ICMP error about the last packet that came in
//   1 TCP of an inside host        4 what answers the last packet that left      7 time passes
//   2 UDP of an inside host        5 an ICMP error about that packet
//
// Answers and quotes are real ones, cut and damaged by the bytes. After each step: every packet is accounted for, no frame is lost, what
// leaves is whole and has a right ICMP checksum where it quotes; nothing leaves with an inside address, nothing comes in but for inside
// hosts.
#include "pipeline/icmp_translate.h"
#include "support/check.h"
#include "support/packet_builder.h"
#include "support/pipeline_stage.h"

namespace millrace::fuzz::outbound {
namespace {

using test::Bytes;
using test::PacketBuilder;

constexpr std::size_t kL3 = 14;

TablesConfig gateway_tables() {
  TablesConfig tables = stage_tables();
  ServiceConfig rule;
  rule.name = "office";
  rule.outbound = true;
  rule.scheduler = SchedulerKind::kRoundRobin;
  rule.matches = {{prefix("192.0.2.0/24"), prefix("0.0.0.0/0")}, {prefix("2001:db8:2::/64"), prefix("::/0")}};
  for (const char* pool : {"198.51.100.201", "198.51.100.202", "2001:db8:1::201", "2001:db8:1::202"}) rule.pool.push_back(address(pool));
  rule.servers = {{address("0.0.0.0"), be16(0), 1, 0, ForwardMode::kSnat}};
  tables.services.push_back(rule);
  return tables;
}

struct Last {
  Bytes outside;
  Bytes inside;
};

bool is_six(std::span<const std::uint8_t> frame) { return frame[12] == 0x86; }
std::uint8_t protocol_of(std::span<const std::uint8_t> frame) { return frame[kL3 + (is_six(frame) ? 6 : 9)]; }
bool is_icmp(std::span<const std::uint8_t> frame) { return protocol_of(frame) == (is_six(frame) ? net::kProtocolIcmpv6 : net::kProtocolIcmp); }
std::size_t l4_of(std::span<const std::uint8_t> frame) { return kL3 + (is_six(frame) ? 40u : (frame[kL3] & 15u) * 4u); }

std::string address_at(std::span<const std::uint8_t> frame, bool destination) {
  if (is_six(frame)) return IpAddress::v6(frame.data() + kL3 + (destination ? 24 : 8)).to_string();
  std::uint32_t raw;
  std::memcpy(&raw, frame.data() + kL3 + (destination ? 16 : 12), 4);
  return IpAddress::v4(be32::from_raw(raw)).to_string();
}

PacketBuilder from_inside(std::uint8_t argument) {
  PacketBuilder b;
  b.eth({.source = "02:00:00:00:0a:11", .destination = "02:00:00:00:01:02"});
  const auto ttl = static_cast<std::uint8_t>((argument & 0x40) != 0 ? 1 : 64);
  if ((argument & 0x80) != 0) {
    b.ipv6({.source = "2001:db8:2::11", .destination = "2001:db8:1::7", .hop_limit = ttl});
  } else {
    b.ipv4({.source = "192.0.2.11", .destination = "198.51.100.7", .dont_fragment = (argument & 0x20) != 0, .ttl = ttl});
  }
  return b;
}

/// Free bytes behind right addresses and, over IPv4, a right header checksum.
Bytes free_bytes(std::uint8_t argument, const Bytes& body) {
  const bool six = (argument & 0x80) != 0;
  Bytes frame = PacketBuilder()
                    .eth({.destination = "02:00:00:00:01:02", .type = static_cast<std::uint16_t>(six ? 0x86dd : 0x0800)})
                    .payload(body)
                    .build();
  const auto put = [&](std::size_t at, const char* text) {
    const Bytes bytes = test::packet_detail::ip_bytes(text);
    std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<std::ptrdiff_t>(kL3 + at));
  };
  if (frame.size() < kL3 + (six ? 40u : 20u)) return frame;
  put(six ? 8 : 12, six ? "2001:db8:2::11" : "192.0.2.11");
  put(six ? 24 : 16, six ? "2001:db8:1::7" : "198.51.100.7");
  if (six) return frame;
  const std::size_t header = std::min<std::size_t>((frame[kL3] & 0x0fu) * 4u, frame.size() - kL3);
  if (header < 20) return frame;
  frame[kL3 + 10] = frame[kL3 + 11] = 0;
  const Bytes bytes(frame.begin() + kL3, frame.begin() + static_cast<std::ptrdiff_t>(kL3 + header));
  const std::uint32_t sum = ~test::packet_detail::sum(bytes) & 0xffffu;
  frame[kL3 + 10] = static_cast<std::uint8_t>(sum >> 8);
  frame[kL3 + 11] = static_cast<std::uint8_t>(sum);
  return frame;
}

Bytes echo(std::uint8_t argument, const Bytes& body) {
  const bool six = (argument & 0x80) != 0;
  const auto identifier = static_cast<std::uint32_t>(body.empty() ? 7 : body[0]);
  PacketBuilder b = from_inside(argument);
  const auto type = static_cast<std::uint8_t>((argument & 0x10) != 0 ? argument & 15 : six ? 128 : 8);
  return b.icmp({.type = type, .code = static_cast<std::uint8_t>((argument & 0x11) == 1 ? 1 : 0), .rest = identifier << 16}).payload(body).build();
}

/// The way back of a frame that left; the argument's low bits are TCP flags.
Bytes answer_to(const Bytes& frame, std::uint8_t argument, const Bytes& body) {
  const bool six = is_six(frame);
  const std::size_t l4 = l4_of(frame);
  if (frame.size() < l4 + 8) return frame;
  const auto word = [&](std::size_t at) { return static_cast<std::uint16_t>(frame[l4 + at] << 8 | frame[l4 + at + 1]); };
  PacketBuilder b;
  b.eth({.destination = "02:00:00:00:01:01"});
  if (six) {
    b.ipv6({.source = address_at(frame, true), .destination = address_at(frame, false)});
  } else {
    b.ipv4({.source = address_at(frame, true), .destination = address_at(frame, false)});
  }
  if (is_icmp(frame)) {
    const auto identifier = static_cast<std::uint32_t>(word(4));
    b.icmp({.type = static_cast<std::uint8_t>(six ? 129 : 0), .rest = identifier << 16});
  } else if (protocol_of(frame) == net::kProtocolTcp) {
    b.tcp({.source_port = word(2), .destination_port = word(0), .flags = static_cast<std::uint8_t>(argument & 0x3f)});
  } else {
    b.udp({.source_port = word(2), .destination_port = word(0)});
  }
  return b.payload(body).payload_of((argument & 0x80) != 0 ? 1300 : 0).build();
}

/// An error about `frame`, whose quote is cut and damaged: `body` is type, code, rest (2 bytes), cut, pairs of place and value.
Bytes error_about(const Bytes& frame, bool from_the_inside, const Bytes& body) {
  const bool six = is_six(frame);
  const auto at = [&](std::size_t i) { return i < body.size() ? body[i] : std::uint8_t{0}; };
  Bytes quote(frame.begin() + kL3, frame.end());
  if (at(4) != 0 && at(4) < quote.size()) quote.resize(at(4));
  for (std::size_t i = 5; i + 1 < body.size() && !quote.empty(); i += 2) quote[body[i] % quote.size()] ^= body[i + 1];
  PacketBuilder b;
  b.eth({.destination = from_the_inside ? "02:00:00:00:01:02" : "02:00:00:00:01:01"});
  const char* const source4 = from_the_inside ? "192.0.2.11" : "198.51.100.250";
  const char* const source6 = from_the_inside ? "2001:db8:2::11" : "2001:db8:1::fa";
  if (six) {
    b.ipv6({.source = source6, .destination = address_at(frame, false)});
  } else {
    b.ipv4({.source = source4, .destination = address_at(frame, false)});
  }
  constexpr std::uint8_t types4[] = {3, 11, 12, 3};
  const auto type = static_cast<std::uint8_t>(six ? 1 + (at(0) & 3) : types4[at(0) & 3]);
  const auto rest = static_cast<std::uint32_t>(at(2) << 8 | at(3));
  return b.icmp({.type = type, .code = static_cast<std::uint8_t>(at(1) & 15), .rest = rest}).payload(quote).build();
}

void check_sent(std::span<const std::uint8_t> frame, std::uint16_t interface, Last& last) {
  FUZZ_CHECK(frame.size() <= (interface == 1 ? 1280u : 1500u) + kL3);
  const auto copy = exact_copy(frame.data(), frame.size());
  Packet packet{copy.get(), static_cast<std::uint32_t>(frame.size()), interface, 0, 0};
  PacketMeta meta;
  DropReason reason{};
  const bool whole = parse_packet(packet, meta, reason);
  // The next hop may be the last; a large echo reply was cut for the link, and fragments of it are nobody's but its host's.
  FUZZ_CHECK(whole || reason == DropReason::ttl_expired || (reason == DropReason::fragment_unsupported && is_icmp(frame)));
  if (!whole) return;
  FUZZ_CHECK(packet.length == frame.size());
  const std::string source = meta.source.to_string(), destination = meta.destination.to_string();
  const bool to_host = destination == "192.0.2.11" || destination == "2001:db8:2::11";
  FUZZ_CHECK((interface == 1) == to_host);
  if (interface == 0) FUZZ_CHECK(source.starts_with("198.51.100.20") || source.starts_with("2001:db8:1::20"));
  if (is_icmp_error(meta)) {
    const Bytes bytes(frame.begin() + meta.l4_offset, frame.end());
    const Bytes from(frame.begin() + kL3 + 8, frame.begin() + kL3 + 24), to(frame.begin() + kL3 + 24, frame.begin() + kL3 + 40);
    const std::uint32_t start = meta.ipv6 ? test::packet_detail::pseudo_sum(from, to, 58, bytes.size()) : 0;
    FUZZ_CHECK(test::packet_detail::sum(bytes, start) == 0xffff);
    return;
  }
  if (!is_later_fragment(meta)) (interface == 1 ? last.inside : last.outside) = Bytes(frame.begin(), frame.end());
}

Bytes frame_of(std::uint8_t kind, std::uint8_t argument, const Bytes& body, const Last& last) {
  const auto port = static_cast<std::uint16_t>(2000 + (body.empty() ? 0 : body[0] & 15));
  switch (kind & 7) {
    case 0: return free_bytes(argument, body);
    case 1: return from_inside(argument).tcp({.source_port = port, .flags = static_cast<std::uint8_t>(argument & 0x1f)}).payload(body).build();
    case 2: return from_inside(argument).udp({.source_port = port}).payload(body).payload_of((argument & 1) != 0 ? 1240 : 0).build();
    case 3: return echo(argument, body);
    case 4: return answer_to(last.outside, argument, body);
    case 5: return error_about(last.outside, false, body);
    default: return error_about(last.inside, true, body);
  }
}

}  // namespace
}  // namespace millrace::fuzz::outbound

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  static const TablesConfig tables = fuzz::outbound::gateway_tables();
  fuzz::PipelineStage stage(tables);
  const test::Bytes first = fuzz::outbound::from_inside(0).udp({}).payload_of(16).build();
  fuzz::outbound::Last last{first, first};
  fuzz::InputReader in(data, size);
  const auto on_sent = [&](std::span<const std::uint8_t> frame, std::uint16_t interface) {
    fuzz::outbound::check_sent(frame, interface, last);
  };
  for (int step = 0; in.left() != 0 && step < 200; step++) {
    const std::uint8_t kind = in.byte();
    const std::uint8_t argument = in.byte();
    std::size_t length = 0;
    const std::uint8_t wanted = in.byte();
    const std::uint8_t* bytes = in.bytes(wanted, length);
    if ((kind & 7) == 7) {
      stage.pass_time(argument * 16u);
    } else {
      const bool from_outside = (kind & 7) == 4 || (kind & 7) == 5;
      stage.arrive(kind >> 3 & 1, from_outside ? 0 : 1, fuzz::outbound::frame_of(kind, argument, test::Bytes(bytes, bytes + length), last));
    }
    // Sometimes several packets arrive before the workers turn.
    if ((kind & 0x80) == 0) stage.settle(on_sent);
  }
  stage.settle(on_sent);
  stage.check();
  // Long after: every session has gone, nothing is held, all frames are free.
  for (int i = 0; i < 4; i++) {
    stage.pass_time(1500);
    stage.settle(on_sent);
  }
  stage.check();
  return 0;
}
