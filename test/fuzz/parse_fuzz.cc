// Fuzz target: the packet parser on any frame. It must read only inside the frame, and what it accepts must be whole and consistent,
// because no later stage checks again.
#include "pipeline/parse.h"

#include "support/check.h"

namespace millrace::fuzz {
namespace {

void check_accepted(const Packet& packet, const PacketMeta& meta, std::size_t size) {
  FUZZ_CHECK(packet.length <= size);
  FUZZ_CHECK(packet.length == static_cast<std::uint32_t>(meta.l3_offset) + meta.l3_length);
  FUZZ_CHECK(meta.l4_offset >= meta.l3_offset + (meta.ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4)));
  FUZZ_CHECK(meta.l4_offset <= packet.length);
  // What has come its whole way may be answered here, but not sent on.
  const bool icmp = meta.protocol == (meta.ipv6 ? net::kProtocolIcmpv6 : net::kProtocolIcmp);
  FUZZ_CHECK(meta.ttl > 1 || (meta.ttl == 1 && icmp && meta.source_port.raw == 0 && meta.destination_port.raw == 0));
  FUZZ_CHECK(meta.source.is_v4() != meta.ipv6);
  const std::uint32_t room = packet.length - meta.l4_offset;
  if (is_later_fragment(meta)) {
    FUZZ_CHECK(room != 0 && meta.source_port.raw == 0 && meta.destination_port.raw == 0);
    FUZZ_CHECK((meta.fragment & kMoreFragments) == 0 || room % 8 == 0);
    return;
  }
  if (meta.protocol == net::kProtocolTcp) {
    FUZZ_CHECK(room >= sizeof(net::Tcp));
    const auto* tcp = reinterpret_cast<const net::Tcp*>(packet.data + meta.l4_offset);
    FUZZ_CHECK(tcp->header_length() >= sizeof(net::Tcp) && tcp->header_length() <= room);
    FUZZ_CHECK(meta.tcp_flags != 0);
  } else if (meta.protocol == net::kProtocolUdp) {
    FUZZ_CHECK(room >= sizeof(net::Udp));
  } else if (meta.protocol == net::kProtocolSctp) {
    FUZZ_CHECK(room >= sizeof(net::Sctp) + sizeof(net::SctpChunk));
  } else if (meta.protocol == net::kProtocolEsp || meta.protocol == net::kProtocolAh) {
    FUZZ_CHECK(meta.source_port.raw == 0 && meta.destination_port.raw == 0);
    return;
  } else {
    FUZZ_CHECK(icmp);
    FUZZ_CHECK(room >= sizeof(net::Icmp));
    // Of echo that may be sent on, one port is the identifier and the other says that it is echo.
    const bool portless = meta.source_port.raw == 0 && meta.destination_port.raw == 0;
    FUZZ_CHECK(portless || meta.source_port == kEchoPort || meta.destination_port == kEchoPort);
    return;
  }
  FUZZ_CHECK(meta.source_port.raw != 0 && meta.destination_port.raw != 0);
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  if (size > 4096) return 0;
  const auto frame = fuzz::exact_copy(data, size);
  Packet packet{frame.get(), static_cast<std::uint32_t>(size), 0, 0, 0};
  PacketMeta meta;
  auto reason = DropReason::kCount;
  if (parse_packet(packet, meta, reason)) {
    fuzz::check_accepted(packet, meta, size);
  } else {
    FUZZ_CHECK(reason < DropReason::kCount);
  }
  for (std::size_t i = 0; i < size; i++) FUZZ_CHECK(frame[i] == data[i]);
  return 0;
}
