// dh, sh, mh and conhash: properties, published vectors of their hash functions, and the tables of an independent implementation
// (recordings/maglev-oracle.txt, written by test/oracle/maglev.ts).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/md5.h"
#include "core/siphash.h"
#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::Service;

std::string hex(const std::array<std::uint32_t, 4>& words) {
  std::ostringstream text;
  for (const std::uint32_t word : words) {
    for (int byte = 0; byte < 4; byte++) {
      text << "0123456789abcdef"[word >> (byte * 8 + 4) & 15] << "0123456789abcdef"[word >> (byte * 8) & 15];
    }
  }
  return text.str();
}

TEST(Md5, GivesTheDigestsOfRfc1321) {
  EXPECT_EQ(hex(md5("")), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(hex(md5("abc")), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(hex(md5("abcdefghijklmnopqrstuvwxyz")), "c3fcd3d76192e4007dfb496cca67e13b");
  EXPECT_EQ(hex(md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")), "d174ab98d277d9f5a5611c2c9f419d9f");
  EXPECT_EQ(hex(md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890")),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(SipHash, HashesBytesAndTheSameNumberAlike) {
  const SipKey key{0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
  const std::uint8_t bytes[] = {0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 1, 2, 3};
  EXPECT_EQ(SipHash13(key)(std::span(bytes, 4)), SipHash13(key).of_u32(0x12345678));
  // First values of the reference vectors for SipHash-1-3 (keys 00..0f, messages of 0, 1, 2 bytes 00 01 ..).
  const std::uint8_t counting[] = {0, 1};
  EXPECT_EQ(SipHash13(key)(std::span(counting, 0)), 0xabac0158050fc4dcull);
  EXPECT_EQ(SipHash13(key)(std::span(counting, 1)), 0xc9f49bf37d57ca93ull);
  EXPECT_EQ(SipHash13(key)(std::span(counting, 2)), 0x82cb9b024dc7d44dull);
}

std::vector<BuildServer> servers_of(const std::vector<std::uint32_t>& weights) {
  std::vector<BuildServer> servers;
  for (std::uint32_t i = 0; i < weights.size(); i++) {
    servers.push_back({IpAddress::v4(be32(0x0a010000u + i)), be16(8080), weights[i], weights[i], 0});
  }
  return servers;
}

std::vector<std::uint32_t> slots_of(const std::vector<BuildServer>& servers, std::uint32_t size) {
  std::vector<std::uint32_t> slots;
  build_maglev(servers, size, true, slots);
  return slots;
}

TEST(Maglev, LeavesNoHoleAndGivesEachServerItsShareOfEveryTableSize) {
  std::mt19937 random(5);
  for (const std::uint32_t size : kMaglevSizes) {
    std::vector<std::uint32_t> weights;
    std::uint32_t sum = 0;
    for (std::uint32_t i = 0; i < 2 + size / 500 && i < 60; i++) {
      weights.push_back(1 + static_cast<std::uint32_t>(random() % 5));
      sum += weights.back();
    }
    const std::vector<std::uint32_t> slots = slots_of(servers_of(weights), size);
    ASSERT_EQ(slots.size(), size);
    std::vector<std::uint32_t> taken(weights.size());
    for (const std::uint32_t server : slots) taken.at(server)++;
    for (std::size_t i = 0; i < weights.size(); i++) {
      // A round gives each exactly its turns, and the last round may be cut short.
      const double share = static_cast<double>(size) * weights[i] / sum;
      EXPECT_NEAR(taken[i], share, weights[i]) << "size " << size << " server " << i;
    }
    EXPECT_EQ(slots_of(servers_of(weights), size), slots) << "the same servers give the same table";
  }
}

TEST(Maglev, KeepsAServerOfAnyWeightInTheTable) {
  const std::vector<std::uint32_t> slots = slots_of(servers_of({65535, 1, 20000}), 4093);
  std::vector<std::uint32_t> taken(3);
  for (const std::uint32_t server : slots) taken.at(server)++;
  // Turns are shifted to the six bits that a table of 4093 slots has room for: 63, 1 and 19.
  EXPECT_NEAR(taken[0], 4093.0 * 63 / 83, 63);
  EXPECT_NEAR(taken[1], 4093.0 / 83, 2);
  EXPECT_NEAR(taken[2], 4093.0 * 19 / 83, 20);
}

TEST(Maglev, RemovingOneOfAHundredMovesFewSlotsOfTheOthers) {
  std::vector<BuildServer> all = servers_of(std::vector<std::uint32_t>(100, 1));
  const std::vector<std::uint32_t> before = slots_of(all, 65537);
  std::uint32_t worst = 0;
  for (const std::uint32_t gone : {0u, 17u, 50u, 99u}) {
    std::vector<BuildServer> rest = all;
    rest.erase(rest.begin() + gone);
    const std::vector<std::uint32_t> after = slots_of(rest, 65537);
    std::uint32_t moved = 0;
    for (std::size_t slot = 0; slot < before.size(); slot++) {
      if (before[slot] == gone) continue;
      const std::uint32_t same = before[slot] < gone ? before[slot] : before[slot] - 1;
      if (after[slot] != same) moved++;
    }
    worst = std::max(worst, moved);
  }
  EXPECT_LE(worst, 65537 * 12 / 1000);
}

TEST(Maglev, AServerSetToWeightZeroKeepsItsSlotsAndItsClientsAreRefusedOrFallBack) {
  Service service("mh", {});
  for (const ServerSlot slot : {1u, 2u, 3u}) service.add(slot, 3);
  const std::vector<std::uint32_t> before = service.published().lookup->slots;
  service.edit(2, 0);
  const ServiceTable& drained = service.published();
  EXPECT_EQ(drained.lookup->slots, before);
  SchedulerOptions fallback;
  fallback.fallback = true;
  Scheduling plain, falling;
  std::map<std::int64_t, int> refused_go_to;
  int refused = 0;
  for (std::uint32_t i = 0; i < 3000; i++) {
    plain.asked().client = falling.asked().client = IpAddress::v4(be32(0x0a700000u + i * 7));
    service.use(SchedulerOptions{});
    const std::int64_t one = plain.pick(drained);
    ServiceTable with_fallback = drained;
    with_fallback.options = fallback;
    const std::int64_t other = falling.pick(with_fallback);
    if (one >= 0) {
      ASSERT_EQ(one, other) << "nobody else's client moves";
      continue;
    }
    refused++;
    refused_go_to[other]++;
  }
  EXPECT_NEAR(refused, 1000, 100);
  EXPECT_NEAR(refused_go_to[1], refused / 2, refused / 8) << "the others share them";
  EXPECT_EQ(refused_go_to[1] + refused_go_to[3], refused);
  // The mark that it has left: the table is made for the remaining two.
  service.remove(2);
  EXPECT_NE(service.published().lookup->slots, before);
}

TEST(Maglev, KeysTakeWhatTheySayFromAPacket) {
  const auto server_of = [](HashInput key, bool port, std::uint16_t client_port, std::uint16_t vip_port,
                            const char* destination) {
    SchedulerOptions options;
    options.key = key;
    options.port = port;
    Service service("mh", options);
    for (ServerSlot slot = 1; slot <= 200; slot++) service.add(slot, 1);
    Scheduling scheduling;
    scheduling.asked().client_port = be16(client_port);
    scheduling.asked().destination_port = be16(vip_port);
    scheduling.asked().destination = test::address(destination);
    return scheduling.pick(service.published());
  };
  const auto source = server_of(HashInput::kSource, false, 1000, 80, "10.0.9.10");
  EXPECT_EQ(server_of(HashInput::kSource, false, 1001, 81, "10.0.9.11"), source);
  EXPECT_NE(server_of(HashInput::kSource, true, 1000, 80, "10.0.9.10"), source);
  const auto three = server_of(HashInput::kThreeTuple, false, 1000, 80, "10.0.9.10");
  EXPECT_EQ(server_of(HashInput::kThreeTuple, false, 1001, 81, "10.0.9.10"), three);
  EXPECT_NE(server_of(HashInput::kThreeTuple, false, 1000, 80, "10.0.9.11"), three);
  const auto five = server_of(HashInput::kFiveTuple, false, 1000, 80, "10.0.9.10");
  EXPECT_EQ(server_of(HashInput::kFiveTuple, false, 1000, 80, "10.0.9.10"), five);
  EXPECT_NE(server_of(HashInput::kFiveTuple, false, 1001, 80, "10.0.9.10"), five);
  EXPECT_NE(server_of(HashInput::kFiveTuple, false, 1000, 81, "10.0.9.10"), five);
}

TEST(Maglev, WithoutServerPortsEveryPortOfAVipHasTheSameTable) {
  std::vector<BuildServer> web = servers_of({1, 2, 3}), tls = web;
  for (BuildServer& server : tls) server.port = be16(8443);
  std::vector<std::uint32_t> one, other;
  build_maglev(web, 4093, false, one);
  build_maglev(tls, 4093, false, other);
  EXPECT_EQ(one, other);
  build_maglev(tls, 4093, true, other);
  EXPECT_NE(one, other);
}

/// FNV-1a, 32 bits, over server numbers.
std::uint32_t digest(const std::vector<std::uint32_t>& slots) {
  std::uint32_t hash = 0x811c9dc5u;
  for (const std::uint32_t slot : slots) hash = (hash ^ (slot & 0xff)) * 0x01000193u;
  return hash;
}

TEST(Maglev, TablesEqualThoseOfTheOracle) {
  std::ifstream in(std::filesystem::absolute(__FILE__).parent_path() / "recordings" / "maglev-oracle.txt");
  ASSERT_TRUE(in.good());
  int tables = 0;
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::uint32_t size, count, expected;
    std::uint16_t port;
    bool ports;
    std::string first;
    words >> size >> count >> port >> ports >> first >> expected;
    const IpAddress base = test::address(first);
    std::vector<BuildServer> servers;
    for (std::uint32_t i = 0; i < count; i++) {
      std::uint32_t weight;
      ASSERT_TRUE(words >> weight) << line;
      IpAddress address = base;
      std::uint8_t bytes[16];
      std::memcpy(bytes, &address, 16);
      bytes[15] = static_cast<std::uint8_t>(bytes[15] + i);
      std::memcpy(&address, bytes, 16);
      servers.push_back({address, be16(port), weight, weight, 0});
    }
    std::vector<std::uint32_t> slots;
    build_maglev(servers, size, ports, slots);
    EXPECT_EQ(digest(slots), expected) << line;
    tables++;
  }
  EXPECT_GE(tables, 24);
}

TEST(SourceHash, AWeightOfZeroHoldsOneSlotAndOthersAsManyAsTheirWeight) {
  Service service("sh", {});
  service.add(1, 3);
  service.add(2, 0);
  service.add(3, 2);
  const std::vector<std::uint32_t>& slots = service.published().lookup->slots;
  ASSERT_EQ(slots.size(), 256u);
  for (std::size_t slot = 0; slot < 256; slot++) {
    const std::uint32_t expected[] = {0, 0, 1, 2, 2, 2};
    EXPECT_EQ(slots[slot], expected[slot % 6]);
  }
}

TEST(Hashing, FoldsIpv6AddressesToOneWord) {
  for (const char* name : {"sh", "dh", "mh", "conhash"}) {
    Service service(name, {});
    for (ServerSlot slot = 1; slot <= 150; slot++) service.add(slot, 1);
    Scheduling scheduling;
    const ServiceTable& table = service.published();
    const auto server_of = [&](const char* text) {
      scheduling.asked().client = scheduling.asked().destination = test::address(text);
      return scheduling.pick(table);
    };
    // The same four words in another order fold alike.
    EXPECT_EQ(server_of("2001:db8:1:2:3:4:5:6"), server_of("5:6:3:4:1:2:2001:db8")) << name;
    EXPECT_NE(server_of("2001:db8:1:2:3:4:5:6"), server_of("2001:db8:1:2:3:4:5:9")) << name;
  }
}

std::map<std::int64_t, int> clients_of(Scheduling& scheduling, const ServiceTable& table, std::vector<std::int64_t>& servers) {
  std::map<std::int64_t, int> taken;
  servers.clear();
  for (std::uint32_t i = 0; i < 20000; i++) {
    scheduling.asked().client = IpAddress::v4(be32(0x0a000000u + i * 2654435761u));
    servers.push_back(scheduling.pick(table));
    taken[servers.back()]++;
  }
  return taken;
}

TEST(ConsistentHash, GivesSharesByWeightAndMovesOnlyTheClientsOfWhoLeaves) {
  Service service("conhash", {});
  for (ServerSlot slot = 1; slot <= 10; slot++) service.add(slot, slot <= 5 ? 20 : 10);
  EXPECT_EQ(service.published().lookup->ring.size(), 160u * 15);
  Scheduling scheduling;
  std::vector<std::int64_t> before, after;
  const auto taken = clients_of(scheduling, service.published(), before);
  for (const auto& [slot, count] : taken) {
    const double share = 20000.0 * (slot <= 5 ? 2 : 1) / 15;
    EXPECT_NEAR(count, share, share / 3) << slot;
  }
  service.remove(4);
  (void)clients_of(scheduling, service.published(), after);
  for (std::size_t i = 0; i < before.size(); i++) {
    ASSERT_EQ(after[i] == before[i], before[i] != 4) << "client " << i;
  }
  service.add(4, 20);
  (void)clients_of(scheduling, service.published(), after);
  EXPECT_EQ(after, before);
}

TEST(ConsistentHash, HasABoundedRingWhateverTheWeights) {
  const std::vector<BuildServer> servers = servers_of({65535, 1, 65534, 0});
  const auto table = build_scheduler_table(scheduler_named("conhash"), {}, servers);
  EXPECT_LE(table->ring.size(), ConsistentHash::kMaxPoints);
  EXPECT_GE(table->ring.size(), ConsistentHash::kMaxPoints * 9 / 10);
  std::vector<int> points(4);
  for (const auto& point : table->ring) points[point.server]++;
  EXPECT_GE(points[1], 1);
  EXPECT_EQ(points[3], 0);
}

}  // namespace
}  // namespace millrace
