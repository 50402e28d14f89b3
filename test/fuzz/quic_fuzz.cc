// Fuzz target: finding a server in a QUIC packet. Input: format (1 byte), then a UDP payload. Whatever the payload is, only it is
// read, what is found is a server of the table, and a packet that the client may have made up names none.
#include "schedulers/quic_cid.h"

#include "support/check.h"

namespace millrace::fuzz {
namespace {

std::vector<BuildServer> servers() {
  std::vector<BuildServer> list;
  for (std::uint32_t i = 0; i < 16; i++) list.push_back({IpAddress::v4(be32(0x0a000200u + i)), be16(4433), 1, 1, i * 0x1111u});
  std::uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8};
  for (std::uint8_t i = 0; i < 4; i++) {
    six[15] = i;
    list.push_back({IpAddress::v6(six), be16(443), 1, 1, 0x10000u + i});
  }
  return list;
}

SchedulerTable table_for(ConnectionIdFormat format) {
  SchedulerOptions options;
  options.connection_id = format;
  options.table_size = 251;
  SchedulerTable table;
  QuicConnectionId::build(servers(), options, table);
  return table;
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  static const SchedulerTable kTables[] = {fuzz::table_for(ConnectionIdFormat::kDpvs),
                                           fuzz::table_for(ConnectionIdFormat::kKatran)};
  if (size == 0) return 0;
  const ConnectionIdFormat format = (data[0] & 1) == 0 ? ConnectionIdFormat::kDpvs : ConnectionIdFormat::kKatran;
  const auto copy = fuzz::exact_copy(data + 1, size - 1);
  const std::span<const std::uint8_t> payload(copy.get(), size - 1);

  const auto destination = quic_destination(payload);
  const std::int32_t found = QuicConnectionId::find(kTables[static_cast<std::size_t>(format)], format, payload);
  FUZZ_CHECK(found >= -1 && found < 20);
  if (!destination) {
    FUZZ_CHECK(found == -1);
    return 0;
  }
  FUZZ_CHECK(destination->id.size() < payload.size());
  FUZZ_CHECK(destination->long_header == ((payload[0] & 0x80) != 0));
  FUZZ_CHECK(destination->long_header || (destination->id.size() <= kMaxQuicId && !destination->by_client));
  FUZZ_CHECK(found == -1 || !destination->by_client);
  FUZZ_CHECK(found == -1 || destination->id.size() >= 7);
  return 0;
}
