// The Maglev table: built on the control thread, looked up on workers.
#include "schedulers/mh.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "schedulers/support/address_hash.h"

namespace millrace {

namespace {

// The keys of ip_vs_mh: public, since a mapping that is the same on every balancer is the point of it.
constexpr SipKey kFirstKey{2654435761u, 2654435761u};
constexpr SipKey kSecondKey{2654446892u, 2654446892u};

std::uint32_t sip(const SipKey& key, std::uint32_t value) { return static_cast<std::uint32_t>(SipHash13(key).of_u32(value)); }

/// One server's way through the slots, and how many it takes per turn.
struct Permutation {
  std::uint32_t slot;
  std::uint32_t skip;
  std::uint32_t turns;
  std::uint32_t server;
};

/// Half of the table's size in bits, as the kernel has it for its sizes (4093: 12 bits, 6).
int turn_bits(std::uint32_t size) { return std::bit_width(size) / 2; }

std::vector<Permutation> permutations(std::span<const BuildServer> servers, std::uint32_t size, bool server_ports) {
  std::uint32_t divisor = 0;
  std::uint32_t maximum = 0;
  for (const BuildServer& server : servers) {
    divisor = std::gcd(divisor, server.last_weight);
    maximum = std::max(maximum, server.last_weight);
  }
  std::vector<Permutation> list;
  if (divisor == 0) return list;
  const int shift = std::max(0, static_cast<int>(std::bit_width(maximum / divisor)) - turn_bits(size));
  for (std::uint32_t index = 0; index < servers.size(); index++) {
    const BuildServer& server = servers[index];
    if (server.last_weight == 0) continue;
    const std::uint32_t key = fold_address(server.address) + (server_ports ? server.port.host() : 0u);
    const std::uint32_t turns = std::max(1u, (server.last_weight / divisor) >> shift);
    list.push_back({sip(kFirstKey, key) % size, sip(kSecondKey, key) % (size - 1) + 1, turns, index});
  }
  return list;
}

}  // namespace

void build_maglev(std::span<const BuildServer> servers, std::uint32_t size, bool server_ports,
                  std::vector<std::uint32_t>& slots) {
  std::vector<Permutation> list = permutations(servers, size, server_ports);
  slots.clear();
  if (list.empty()) return;
  slots.assign(size, SchedulerTable::kNoServer);
  for (std::uint32_t taken = 0;;) {
    for (Permutation& p : list) {
      for (std::uint32_t turn = 0; turn < p.turns; turn++) {
        while (slots[p.slot] != SchedulerTable::kNoServer) {
          p.slot += p.skip;
          if (p.slot >= size) p.slot -= size;
        }
        slots[p.slot] = p.server;
        if (++taken == size) return;
      }
    }
  }
}

std::uint32_t maglev_key(const PickContext& context) {
  const SchedulerOptions& options = *context.options;
  if (options.key == HashInput::kSource) {
    return fold_address(context.client) + (options.port ? context.client_port.host() : 0u);
  }
  std::array<std::uint8_t, 37> bytes{};
  std::size_t length = 0;
  const auto put = [&](const void* from, std::size_t count) {
    std::memcpy(bytes.data() + length, from, count);
    length += count;
  };
  put(context.client.bytes(), sizeof(IpAddress));
  put(context.destination.bytes(), sizeof(IpAddress));
  put(&context.protocol, 1);
  if (options.key == HashInput::kFiveTuple) {
    put(&context.client_port, sizeof(be16));
    put(&context.destination_port, sizeof(be16));
  }
  return static_cast<std::uint32_t>(SipHash13(kFirstKey)(std::span(bytes.data(), length)));
}

std::uint32_t maglev_slot(std::uint32_t key, std::size_t size) { return sip(kFirstKey, key) % static_cast<std::uint32_t>(size); }

std::int32_t pick_maglev(std::span<const ServerView> servers, const PickContext& context) {
  if (context.table == nullptr || context.table->slots.empty()) return -1;
  const std::vector<std::uint32_t>& slots = context.table->slots;
  const auto at = [&](std::uint32_t slot) {
    const std::uint32_t index = slots[slot];
    return is_available(servers[index], context) ? static_cast<std::int32_t>(index) : -1;
  };
  const std::uint32_t key = maglev_key(context);
  const std::uint32_t start = maglev_slot(key, slots.size());
  if (const std::int32_t index = at(start); index >= 0) return index;
  if (!context.options->fallback) return -1;
  // As the kernel: once round the table, but each step's offset goes into the hash, so that clients of one server do not all go
  // to its neighbour. Without any available server this costs a hash per slot, so it is not tried.
  if (std::none_of(servers.begin(), servers.end(), [&](const ServerView& s) { return is_available(s, context); })) return -1;
  const auto size = static_cast<std::uint32_t>(slots.size());
  for (std::uint32_t step = 0; step < size; step++) {
    if (const std::int32_t index = at(maglev_slot(key + (step + start) % size, size)); index >= 0) return index;
  }
  return -1;
}

}  // namespace millrace
