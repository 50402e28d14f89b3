// Fuzz target: reading PROXY headers. Input: datagram or not (1 byte), then bytes. Whatever they are, only they are read; what is read as
// a header is one whole, is read the same from its beginning alone, is not there before its last byte has come, and is told on as it was
// said.
#include "net/proxy_protocol.h"

#include <algorithm>
#include <array>

#include "support/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  using Kind = net::ProxyHeader::Kind;
  if (size == 0) return 0;
  const bool datagram = (data[0] & 1) != 0;
  const auto copy = fuzz::exact_copy(data + 1, size - 1);
  const std::span<const std::uint8_t> bytes(copy.get(), size - 1);
  const net::ProxyHeader header = net::read_proxy_header(bytes, datagram);
  const bool whole = header.kind == Kind::kLocal || header.kind == Kind::kProxied;
  if (header.kind == Kind::kIncomplete) FUZZ_CHECK(!datagram || bytes.size() < 16);
  if (!whole) return 0;
  FUZZ_CHECK(header.length >= 15 && header.length <= bytes.size() && header.length <= net::kProxyLongest);
  const auto exact = fuzz::exact_copy(copy.get(), header.length);
  const net::ProxyHeader again = net::read_proxy_header({exact.get(), header.length}, datagram);
  FUZZ_CHECK(again.kind == header.kind && again.length == header.length && again.endpoints == header.endpoints);
  for (std::uint32_t cut = 0; cut < header.length; cut++) {
    const auto part = fuzz::exact_copy(copy.get(), cut);
    const Kind kind = net::read_proxy_header({part.get(), cut}, datagram).kind;
    FUZZ_CHECK(kind == (datagram ? Kind::kMalformed : Kind::kIncomplete) || (datagram && kind == Kind::kIncomplete && cut < 16));
  }
  if (header.kind != Kind::kProxied) return 0;
  FUZZ_CHECK(header.tlvs.size() < header.length);

  std::array<std::uint8_t, net::kProxyLongest + 64> out;
  const std::uint32_t length = net::write_proxy_v2(header.endpoints, datagram, {.accepted_tlvs = header.tlvs, .crc32c = true}, out);
  FUZZ_CHECK(length != 0);
  const net::ProxyHeader told = net::read_proxy_header(std::span(out).first(length), datagram);
  FUZZ_CHECK(told.kind == Kind::kProxied || length > net::kProxyLongest);
  if (told.kind == Kind::kProxied) FUZZ_CHECK(told.endpoints == header.endpoints);
  std::array<std::uint8_t, net::kProxyV1Longest> line;
  const std::uint32_t line_length = net::write_proxy_v1(header.endpoints, line);
  FUZZ_CHECK(line_length != 0);
  const net::ProxyHeader first = net::read_proxy_header(std::span(line).first(line_length), false);
  FUZZ_CHECK(first.kind == Kind::kProxied && first.endpoints == header.endpoints && first.length == line_length);
  return 0;
}
