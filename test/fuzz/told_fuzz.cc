// Fuzz target: connections and datagrams whose servers are told of their clients, and whose balancers in front send PROXY headers. The
// input is a rule and a list of steps:
//
//   method (1 byte) | options (1 byte) |  kind (1 byte) | argument (1 byte) | offset (1 byte) | length (1 byte) | bytes
//
//   0 SYN of a client     2 segment of the client    4 datagram of the client    6 datagram of the server
//   1 SYN-ACK             3 segment of the server    5 a fragment of one         7 time passes
//
// Segments lie within a window of their connection, so that numbers, headers and retransmissions meet. After each step: every packet is
// accounted for, no frame is lost, and what leaves is whole, no longer than its link carries, and has right checksums.
#include "support/check.h"
#include "support/packet_builder.h"
#include "support/pipeline_stage.h"

namespace millrace::fuzz::told {
namespace {

using test::Bytes;
using test::PacketBuilder;

constexpr std::size_t kL3 = 14;

TablesConfig told_tables(std::uint8_t method, std::uint8_t options) {
  TablesConfig tables = stage_tables();
  for (ServiceConfig& service : tables.services) {
    ClientAddressConfig& rule = service.client_address;
    rule.method = static_cast<ClientAddressMethod>(method % 5);
    rule.on_syn = (options & 1) != 0;
    rule.server_first = (options & 2) != 0;
    rule.carrier = (options & 4) != 0 ? UoaCarrier::kOption : UoaCarrier::kProtocol;
    rule.when_too_big = (options & 8) != 0 ? WhenTooBig::kDrop : WhenTooBig::kFragment;
    rule.datagrams = (options & 16) != 0 ? std::uint8_t{2} : kEveryDatagram;
    rule.unique_id = rule.crc32c = (options & 32) != 0;
    if ((options & 32) != 0) rule.tlvs = {{0xe0, Bytes(40, 'v')}};
    if ((options & 64) != 0) rule.accept_from = {prefix("198.51.100.0/24"), prefix("2001:db8:1::/64")};
  }
  return tables;
}

/// What has left for the servers, by protocol and family.
struct Seen {
  std::string local[2] = {"192.0.2.101", "2001:db8:2::101"};
  std::uint16_t port = 61000;
  std::uint32_t sequence = 0;
};

struct Step {
  std::uint8_t argument, offset;
  Bytes body;
  bool six() const { return (argument & 0x80) != 0; }
};

PacketBuilder from_client(const Step& step, const Bytes& ip_options = {}) {
  PacketBuilder b;
  b.eth({.destination = "02:00:00:00:01:01"});
  if (step.six()) {
    b.ipv6({.source = "2001:db8:1::7", .destination = "2001:db8:f::10"});
  } else {
    b.ipv4({.source = "198.51.100.7", .destination = "203.0.113.10", .dont_fragment = (step.argument & 0x40) != 0, .options = ip_options});
  }
  return b;
}

PacketBuilder from_server(const Step& step, const Seen& seen) {
  PacketBuilder b;
  b.eth({.source = "02:00:00:00:0a:11", .destination = "02:00:00:00:01:02"});
  if (step.six()) {
    b.ipv6({.source = "2001:db8:2::11", .destination = seen.local[1]});
  } else {
    b.ipv4({.source = "192.0.2.11", .destination = seen.local[0]});
  }
  return b;
}

/// Options: the first byte of the body says how many of the next ones.
Bytes options_of(const Step& step) {
  const std::size_t count = step.body.empty() ? 0 : std::min<std::size_t>(step.body[0] % 41u, step.body.size() - 1);
  return {step.body.begin() + (step.body.empty() ? 0 : 1), step.body.begin() + static_cast<std::ptrdiff_t>(step.body.empty() ? 0 : 1 + count)};
}
Bytes rest_of(const Step& step) {
  const std::size_t used = step.body.empty() ? 0 : 1 + options_of(step).size();
  return {step.body.begin() + static_cast<std::ptrdiff_t>(used), step.body.end()};
}

Bytes frame_of(std::uint8_t kind, const Step& step, const Seen& seen) {
  const auto port = static_cast<std::uint16_t>(40000 + (step.argument & 1));
  const std::size_t more = (step.argument & 2) != 0 ? 1150u : 0u;
  const auto flags = static_cast<std::uint8_t>(step.argument & 0x3c);
  switch (kind & 7) {
    case 0:
      return from_client(step).tcp({.source_port = port, .destination_port = 80, .seq = 1000u + (step.offset & 1u), .flags = 2, .options = {options_of(step)}}).payload(rest_of(step)).build();
    case 1:
      return from_server(step, seen)
          .tcp({.source_port = 8080, .destination_port = seen.port, .seq = 5000, .ack = seen.sequence + 1 + (step.offset & 1u), .flags = 0x12, .options = {options_of(step)}})
          .build();
    case 2:
      return from_client(step)
          .tcp({.source_port = port, .destination_port = 80, .seq = 990u + step.offset, .ack = 5001u + ((step.argument & 0x40) != 0 ? 10u : 0u),
                .flags = static_cast<std::uint8_t>(flags | 0x10 | (step.offset == 77 ? 1 : 0)), .urgent = step.offset, .options = {options_of(step)}})
          .payload(rest_of(step))
          .payload_of(more)
          .build();
    case 3:
      return from_server(step, seen)
          .tcp({.source_port = 8080, .destination_port = seen.port, .seq = 5001u + step.offset, .ack = seen.sequence + step.offset, .flags = static_cast<std::uint8_t>(flags | 0x10), .options = {options_of(step)}})
          .payload(rest_of(step))
          .build();
    case 4:
      return from_client(step, options_of(step)).udp({.source_port = port, .destination_port = 53}).payload(rest_of(step)).payload_of(more).build();
    case 5: {
      Bytes frame = from_client({static_cast<std::uint8_t>(step.argument & 0x3f), step.offset, {}}).udp({.source_port = port, .destination_port = 53}).payload(rest_of(step)).payload_of(64).build();
      frame[kL3 + 6] = static_cast<std::uint8_t>(0x20 | (step.offset & 1));
      frame[kL3 + 10] = frame[kL3 + 11] = 0;
      const std::uint32_t sum = ~test::packet_detail::sum(Bytes(frame.begin() + kL3, frame.begin() + kL3 + 20)) & 0xffffu;
      frame[kL3 + 10] = static_cast<std::uint8_t>(sum >> 8);
      frame[kL3 + 11] = static_cast<std::uint8_t>(sum);
      return frame;
    }
    default:
      return from_server(step, seen).udp({.source_port = 8080, .destination_port = seen.port}).payload(rest_of(step)).build();
  }
}

/// Computed by the builder's own sum.
void check_transport(std::span<const std::uint8_t> frame, const PacketMeta& meta) {
  if (meta.fragment != 0 || (meta.protocol != net::kProtocolTcp && meta.protocol != net::kProtocolUdp)) return;
  const std::size_t size = meta.ipv6 ? 16 : 4, source = meta.l3_offset + (meta.ipv6 ? 8u : 12u);
  const auto part = [&](std::size_t from, std::size_t to) { return Bytes(frame.begin() + static_cast<std::ptrdiff_t>(from), frame.begin() + static_cast<std::ptrdiff_t>(to)); };
  std::size_t end = frame.size();
  if (meta.protocol == net::kProtocolUdp) {
    end = meta.l4_offset + static_cast<std::size_t>(frame[meta.l4_offset + 4] << 8 | frame[meta.l4_offset + 5]);
    if (frame[meta.l4_offset + 6] == 0 && frame[meta.l4_offset + 7] == 0) return;
  }
  const Bytes segment = part(meta.l4_offset, end);
  const std::uint32_t pseudo = test::packet_detail::pseudo_sum(part(source, source + size), part(source + size, source + 2 * size), meta.protocol, segment.size());
  FUZZ_CHECK(test::packet_detail::sum(segment, pseudo) == 0xffff);
}

void check_sent(std::span<const std::uint8_t> frame, std::uint16_t interface, Seen& seen) {
  FUZZ_CHECK(frame.size() <= (interface == 1 ? 1280u : 1500u) + 14u);
  const bool six = frame[12] == 0x86;
  // UOA: what is behind its header is a datagram like others.
  Bytes copy(frame.begin(), frame.end());
  const std::size_t l4 = kL3 + (six ? 40u : (copy[kL3] & 15u) * 4u), protocol = kL3 + (six ? 6u : 9u);
  if (copy.size() > l4 && copy[protocol] == 248) {
    FUZZ_CHECK(copy.size() >= l4 + 12 && copy[l4 + 1] == 17 && copy[l4 + 2] == 0);
    FUZZ_CHECK(copy[l4 + 3] == (copy[l4] == 0x10 ? 12 : 24) && copy[l4 + 4] == 31);
    return;
  }
  const auto exact = exact_copy(copy.data(), copy.size());
  Packet packet{exact.get(), static_cast<std::uint32_t>(copy.size()), interface, 0, 0};
  PacketMeta meta;
  DropReason reason{};
  if (!parse_packet(packet, meta, reason)) {
    FUZZ_CHECK(reason == DropReason::ttl_expired);
    return;
  }
  FUZZ_CHECK(packet.length == copy.size());
  check_transport(frame, meta);
  if (interface != 1 || is_later_fragment(meta) || (meta.protocol != net::kProtocolTcp && meta.protocol != net::kProtocolUdp)) return;
  FUZZ_CHECK(meta.source_port.host() >= 61000 && meta.source_port.host() <= 61007);
  seen.local[six] = meta.source.to_string();
  seen.port = meta.source_port.host();
  if (meta.protocol == net::kProtocolTcp && (meta.tcp_flags & net::tcp_flag::kSyn) != 0) {
    seen.sequence = reinterpret_cast<const net::Tcp*>(exact.get() + meta.l4_offset)->sequence.host();
  }
}

}  // namespace
}  // namespace millrace::fuzz::told

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  using namespace millrace::fuzz;
  InputReader in(data, size);
  const std::uint8_t method = in.byte(), options = in.byte();
  PipelineStage stage(told::told_tables(method, options));
  told::Seen seen;
  const auto on_sent = [&](std::span<const std::uint8_t> frame, std::uint16_t interface) { told::check_sent(frame, interface, seen); };
  for (int count = 0; in.left() != 0 && count < 200; count++) {
    const std::uint8_t kind = in.byte();
    told::Step step{in.byte(), in.byte(), {}};
    std::size_t length = 0;
    const std::size_t wanted = in.byte();
    const std::uint8_t* bytes = in.bytes(wanted, length);
    step.body.assign(bytes, bytes + length);
    if ((kind & 7) == 7) {
      stage.pass_time(static_cast<std::uint32_t>(step.argument) * 16);
    } else {
      const test::Bytes frame = told::frame_of(kind, step, seen);
      const bool of_server = (kind & 7) == 1 || (kind & 7) == 3 || (kind & 7) == 6;
      stage.arrive((kind >> 3) & 1u, of_server ? 1 : 0, frame);
    }
    stage.settle(on_sent);
    stage.check();
  }
  return 0;
}
