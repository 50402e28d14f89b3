// Fuzz target: the walks over TCP options: clamping of MSS, pruning for TOA, removal of forged addresses. Input: MTU (2 bytes), IPv6 or not
// (1 byte), options (up to 40 bytes). Whatever the options are, the packet keeps its length where nothing is inserted, only the MSS value
// and the checksum may change, and the checksum stays right; pruned options fit and are sound.
#include "pipeline/client_address.h"
#include "pipeline/mss.h"
#include "pipeline/toa.h"

#include "net/tcp_options.h"
#include "support/check.h"
#include "support/packet_builder.h"

namespace millrace::fuzz {
namespace {

/// The TCP checksum verifies; computed by the test builder's own sum.
bool tcp_checksum_right(const test::Bytes& frame, const PacketMeta& meta) {
  const std::uint8_t* l3 = frame.data() + meta.l3_offset;
  const std::size_t address = meta.ipv6 ? 16 : 4;
  const std::uint8_t* source = l3 + (meta.ipv6 ? 8 : 12);
  const test::Bytes from(source, source + address), to(source + address, source + 2 * address);
  const test::Bytes segment(frame.begin() + meta.l4_offset, frame.end());
  return test::packet_detail::sum(segment, test::packet_detail::pseudo_sum(from, to, 6, segment.size())) == 0xffff;
}

void check_pruning(std::span<const std::uint8_t> options, std::uint32_t room, bool syn) {
  const auto exact = exact_copy(options.data(), options.size());
  const auto out = std::make_unique<std::uint8_t[]>(room);
  const std::int32_t length = prune_options({exact.get(), options.size()}, syn, room, {out.get(), room});
  if (length < 0) return;
  FUZZ_CHECK(static_cast<std::uint32_t>(length) <= room && length % 4 == 0);
  FUZZ_CHECK(net::for_each_tcp_option({out.get(), static_cast<std::size_t>(length)}, [](std::uint8_t, std::uint32_t, std::uint32_t) {}));
}

/// A segment without SYN, whose options nobody has looked at before.
void check_removal(std::span<const std::uint8_t> options, bool ipv6) {
  test::PacketBuilder builder;
  builder.eth();
  if (ipv6) {
    builder.ipv6();
  } else {
    builder.ipv4();
  }
  const test::Bytes before = builder.tcp({.flags = 16, .options = {test::Bytes(options.begin(), options.end())}}).payload("x").build();
  const auto frame = exact_copy(before.data(), before.size());
  Packet packet{frame.get(), static_cast<std::uint32_t>(before.size()), 0, 0, 0};
  PacketMeta meta;
  DropReason reason;
  FUZZ_CHECK(parse_packet(packet, meta, reason));
  std::array<std::uint64_t, kCounterSlots> slots{};
  WorkerState state(0, 1, {}, slots.data());
  remove_forged(state, packet, meta);
  FUZZ_CHECK(packet.length == before.size());
  FUZZ_CHECK(tcp_checksum_right(test::Bytes(frame.get(), frame.get() + before.size()), meta));
  net::for_each_tcp_option(TcpView(packet, meta).options(), [](std::uint8_t kind, std::uint32_t, std::uint32_t length) {
    FUZZ_CHECK(!net::is_client_address_option(kind, length));
  });
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  fuzz::InputReader in(data, size);
  const std::uint16_t mtu = in.word();
  const bool ipv6 = (in.byte() & 1) != 0;
  std::size_t length = 0;
  const std::uint8_t* options = in.bytes(40, length);

  for (const std::uint32_t room : {0u, 20u, 32u, 40u}) {
    for (const bool syn : {false, true}) fuzz::check_pruning({options, length}, room, syn);
  }
  fuzz::check_removal({options, length}, ipv6);

  test::PacketBuilder builder;
  builder.eth();
  if (ipv6) {
    builder.ipv6();
  } else {
    builder.ipv4();
  }
  const test::Bytes before = builder.tcp({.flags = 2, .options = {test::Bytes(options, options + length)}}).payload("x").build();
  const auto frame = fuzz::exact_copy(before.data(), before.size());
  Packet packet{frame.get(), static_cast<std::uint32_t>(before.size()), 0, 0, 0};
  PacketMeta meta;
  DropReason reason;
  if (!parse_packet(packet, meta, reason)) {
    FUZZ_CHECK(reason == DropReason::tcp_options_invalid);
    return 0;
  }
  const bool clamped = clamp_mss(packet, meta, mtu);
  FUZZ_CHECK(packet.length == before.size());
  const test::Bytes after(frame.get(), frame.get() + before.size());
  FUZZ_CHECK(clamped || after == before);
  FUZZ_CHECK(fuzz::tcp_checksum_right(after, meta));
  std::size_t changed_options = 0;
  for (std::size_t i = 0; i < before.size(); i++) {
    if (before[i] == after[i] || i == meta.l4_offset + 16u || i == meta.l4_offset + 17u) continue;
    FUZZ_CHECK(i >= meta.l4_offset + sizeof(net::Tcp) && i < before.size() - 1);
    changed_options++;
  }
  FUZZ_CHECK(changed_options <= 2);
  FUZZ_CHECK(!clamped || changed_options >= 1);
  FUZZ_CHECK(!clamp_mss(packet, meta, mtu));
  return 0;
}
