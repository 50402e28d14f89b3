// Who is in a connection id: the two formats, read with bounds.
#include "schedulers/quic_cid.h"

namespace millrace {

namespace {

constexpr std::size_t kDpvsMinLength = 7;
constexpr std::size_t kKatranMinLength = 8;
constexpr std::uint8_t kMaxTail = 8;
constexpr std::uint8_t kMaxTailV4 = 4;

/// The last `length` bytes of an address as a number.
std::uint64_t end_of(const IpAddress& address, std::uint8_t length) {
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(IpAddress) - length; i < sizeof(IpAddress); i++) value = value << 8 | address.bytes()[i];
  return value;
}

std::int32_t found_or_none(const auto& map, const auto& key) {
  const auto entry = map.find(key);
  return entry == map.end() ? -1 : static_cast<std::int32_t>(entry->second);
}

std::int32_t find_dpvs(const SchedulerTable& table, const QuicDestination& destination) {
  const std::span<const std::uint8_t> id = destination.id;
  if (id.size() < kDpvsMinLength) return -1;
  const auto length = static_cast<std::uint8_t>((id[1] >> 5) + 1);
  const bool has_port = (id[1] & 0x10) != 0;
  const std::size_t fields = length + (has_port ? 2u : 0u);
  // A byte in front, half a byte of lengths, half a byte and four bytes of nonce behind.
  if (id.size() < fields + 6) return -1;
  const auto shifted = [&](std::size_t i) { return static_cast<std::uint8_t>(id[1 + i] << 4 | id[2 + i] >> 4); };
  AddressTail tail{0, 0, length};
  for (std::size_t i = 0; i < length; i++) tail.bytes = tail.bytes << 8 | shifted(i);
  if (has_port) tail.port = static_cast<std::uint16_t>(shifted(length) << 8 | shifted(length + 1u));
  return found_or_none(table.tails, tail);
}

std::int32_t find_katran(const SchedulerTable& table, const QuicDestination& destination) {
  const std::span<const std::uint8_t> id = destination.id;
  if (id.size() < kKatranMinLength) return -1;
  std::uint32_t number = 0;
  switch (id[0] >> 6) {
    case 1:
      number = static_cast<std::uint32_t>(id[0] & 0x3f) << 10 | static_cast<std::uint32_t>(id[1]) << 2 | id[2] >> 6;
      break;
    case 2:
      number = static_cast<std::uint32_t>(id[1]) << 16 | static_cast<std::uint32_t>(id[2]) << 8 | id[3];
      break;
    case 3:
      number = static_cast<std::uint32_t>(id[1]) << 24 | static_cast<std::uint32_t>(id[2]) << 16 |
               static_cast<std::uint32_t>(id[3]) << 8 | id[4];
      break;
    default:
      break;
  }
  return number == 0 ? -1 : found_or_none(table.ids, number);
}

}  // namespace

void QuicConnectionId::build(std::span<const BuildServer> servers, const SchedulerOptions& options, SchedulerTable& table) {
  MaglevHash::build(servers, options, table);
  for (std::uint32_t index = 0; index < servers.size(); index++) {
    const BuildServer& server = servers[index];
    if (options.connection_id == ConnectionIdFormat::kKatran) {
      if (server.id != 0) table.ids.try_emplace(server.id, index);
      continue;
    }
    const std::uint8_t longest = server.address.is_v4() ? kMaxTailV4 : kMaxTail;
    for (std::uint8_t length = 1; length <= longest; length++) {
      const std::uint64_t bytes = end_of(server.address, length);
      table.tails.try_emplace(AddressTail{bytes, 0, length}, index);
      table.tails.try_emplace(AddressTail{bytes, server.port.host(), length}, index);
    }
  }
}

std::int32_t QuicConnectionId::find(const SchedulerTable& table, ConnectionIdFormat format,
                                    std::span<const std::uint8_t> payload) {
  const std::optional<QuicDestination> destination = quic_destination(payload);
  if (!destination || destination->by_client) return -1;
  return format == ConnectionIdFormat::kKatran ? find_katran(table, *destination) : find_dpvs(table, *destination);
}

}  // namespace millrace
