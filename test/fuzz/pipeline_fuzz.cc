// Fuzz target: the whole pipeline, two workers, whatever arrives. The input is a list of steps:
//
//   kind (1 byte) | argument (1 byte) | length (1 byte) | bytes
//
//   0 any frame              3 TCP of a client    5 packet of the server to the last local port    7 time passes
//   1, 2 IPv4, IPv6 to us    4 UDP of a client    6 as 5, but UDP
//
// After each step: every packet is accounted for, no frame is lost, and what leaves is whole, has a right IPv4 header checksum and
// goes to a client or a server.
#include "support/check.h"
#include "support/packet_builder.h"
#include "support/pipeline_stage.h"

namespace millrace::fuzz {
namespace {

using test::Bytes;
using test::PacketBuilder;

/// What the target remembers of packets that left: where the server's answers must go.
struct Seen {
  std::string local[2] = {"192.0.2.101", "2001:db8:2::101"};
  std::uint16_t local_port = 61000;
};

const char* const kLocals[2][2] = {{"192.0.2.101", "192.0.2.102"}, {"2001:db8:2::101", "2001:db8:2::102"}};

/// A frame of free bytes behind a right Ethernet header, addressed to the VIP and with a right IPv4 checksum, so that it gets beyond
/// the first checks.
Bytes addressed(bool ipv6, const Bytes& body) {
  Bytes frame = PacketBuilder().eth({.type = static_cast<std::uint16_t>(ipv6 ? 0x86dd : 0x0800)}).payload(body).build();
  const std::size_t l3 = 14;
  if (ipv6 && frame.size() >= l3 + 40) {
    const Bytes vip = test::packet_detail::ip_bytes("2001:db8:f::10");
    std::copy(vip.begin(), vip.end(), frame.begin() + l3 + 24);
  }
  if (ipv6 || frame.size() < l3 + 20) return frame;
  const Bytes vip = test::packet_detail::ip_bytes("203.0.113.10");
  std::copy(vip.begin(), vip.end(), frame.begin() + l3 + 16);
  const std::size_t header = std::min<std::size_t>((frame[l3] & 0x0fu) * 4u, frame.size() - l3);
  if (header < 20) return frame;
  frame[l3 + 10] = frame[l3 + 11] = 0;
  const Bytes bytes(frame.begin() + l3, frame.begin() + static_cast<std::ptrdiff_t>(l3 + header));
  const std::uint32_t sum = ~test::packet_detail::sum(bytes) & 0xffffu;
  frame[l3 + 10] = static_cast<std::uint8_t>(sum >> 8);
  frame[l3 + 11] = static_cast<std::uint8_t>(sum);
  return frame;
}

/// `argument`: bit 7 IPv6, bit 6 another client port, low bits TCP flags. `body`: 8 bytes of options at most, then data.
Bytes from_client(bool tcp, std::uint8_t argument, const Bytes& body) {
  const bool ipv6 = (argument & 0x80) != 0;
  const auto port = static_cast<std::uint16_t>(40000 + (body.empty() ? 0 : body[0] & 15));
  PacketBuilder builder;
  builder.eth({.destination = "02:00:00:00:01:01"});
  if (ipv6) {
    builder.ipv6();
  } else {
    builder.ipv4({.source = (argument & 0x40) != 0 ? "198.51.100.9" : "198.51.100.7"});
  }
  const std::size_t options = std::min<std::size_t>(body.size(), 8);
  if (tcp) {
    const auto flags = static_cast<std::uint8_t>(argument & 0x3f);
    builder.tcp({.source_port = port, .flags = flags, .options = {Bytes(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(options))}});
  } else {
    builder.udp({.source_port = port});
  }
  // Every fourth packet is larger than the servers' link carries.
  return builder.payload(body).payload_of((argument & 3) == 3 ? 1300 : 0).build();
}

Bytes from_server(bool tcp, std::uint8_t argument, const Bytes& body, const Seen& seen) {
  const bool ipv6 = (argument & 0x80) != 0;
  const std::string to = (argument & 0x40) != 0 ? kLocals[ipv6][0] : seen.local[ipv6];
  PacketBuilder builder;
  builder.eth({.source = "02:00:00:00:0a:11", .destination = "02:00:00:00:01:02"});
  if (ipv6) {
    builder.ipv6({.source = "2001:db8:2::11", .destination = to});
  } else {
    builder.ipv4({.source = "192.0.2.11", .destination = to});
  }
  if (tcp) {
    builder.tcp({.source_port = 8080, .destination_port = seen.local_port, .flags = static_cast<std::uint8_t>(argument & 0x3f)});
  } else {
    builder.udp({.source_port = 8080, .destination_port = seen.local_port});
  }
  return builder.payload(body).build();
}

void check_sent(std::span<const std::uint8_t> frame, std::uint16_t interface, Seen& seen) {
  const auto copy = exact_copy(frame.data(), frame.size());
  Packet packet{copy.get(), static_cast<std::uint32_t>(frame.size()), interface, 0, 0};
  PacketMeta meta;
  DropReason reason{};
  const bool whole = parse_packet(packet, meta, reason);
  // The last hop of a packet's life may be the next one.
  FUZZ_CHECK(whole || reason == DropReason::ttl_expired);
  if (!whole) return;
  FUZZ_CHECK(packet.length == frame.size());
  const std::string destination = meta.destination.to_string();
  if (meta.protocol == net::kProtocolIcmp || meta.protocol == net::kProtocolIcmpv6) return;
  const bool to_server = destination == "192.0.2.11" || destination == "2001:db8:2::11";
  FUZZ_CHECK((interface == 1) == to_server);
  if (to_server) FUZZ_CHECK(frame.size() <= 1280 + 14);
  if (is_later_fragment(meta)) return;
  if (to_server) {
    FUZZ_CHECK(meta.destination_port.host() == 8080);
    FUZZ_CHECK(meta.source_port.host() >= 61000 && meta.source_port.host() <= 61007);
    seen.local[meta.ipv6] = meta.source.to_string();
    seen.local_port = meta.source_port.host();
  } else {
    FUZZ_CHECK(meta.source_port.host() == 80 || meta.source_port.host() == 53);
  }
}

Bytes frame_of(std::uint8_t kind, std::uint8_t argument, const Bytes& body, const Seen& seen) {
  switch (kind & 7) {
    case 1: return addressed(false, body);
    case 2: return addressed(true, body);
    case 3: return from_client(true, argument, body);
    case 4: return from_client(false, argument, body);
    case 5: return from_server(true, argument, body, seen);
    case 6: return from_server(false, argument, body, seen);
    default: return body;
  }
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  fuzz::PipelineStage stage;
  fuzz::Seen seen;
  fuzz::InputReader in(data, size);
  const auto on_sent = [&](std::span<const std::uint8_t> frame, std::uint16_t interface) { fuzz::check_sent(frame, interface, seen); };
  for (int step = 0; in.left() != 0 && step < 200; step++) {
    const std::uint8_t kind = in.byte();
    const std::uint8_t argument = in.byte();
    std::size_t length = 0;
    const std::uint8_t wanted = in.byte();
    const std::uint8_t* bytes = in.bytes(wanted, length);
    if ((kind & 7) == 7) {
      stage.pass_time(argument * 16u);
    } else {
      const auto interface = static_cast<std::uint16_t>((kind & 7) >= 5 ? 1 : 0);
      stage.arrive(kind >> 3 & 1, interface, fuzz::frame_of(kind, argument, fuzz::Bytes(bytes, bytes + length), seen));
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
