// The flow hash: depends on every field and on the key, and spreads real-looking flows evenly over buckets and signatures.
#include "core/hash.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace millrace {
namespace {

IpAddress v4(std::uint32_t address) { return IpAddress::v4(be32(address)); }
IpAddress v6(std::uint64_t high, std::uint64_t low) {
  IpAddress a;
  a.high = be64(high).raw;
  a.low = be64(low).raw;
  return a;
}

const HashKey kKey = hash_key_from_seed(1);

TEST(FlowHash, DependsOnEveryFieldAndOnTheDirection) {
  for (const bool six : {false, true}) {
    const IpAddress a = six ? v6(0xfd00000000000001, 1) : v4(0x0a000001);
    const IpAddress b = six ? v6(0xfd00000000000001, 2) : v4(0x0a000002);
    const std::set<std::uint64_t> hashes = {
        flow_hash(kKey, a, b, be16(1), be16(2), 6), flow_hash(kKey, b, a, be16(1), be16(2), 6),
        flow_hash(kKey, a, b, be16(2), be16(1), 6), flow_hash(kKey, b, a, be16(2), be16(1), 6),
        flow_hash(kKey, a, b, be16(1), be16(2), 17), flow_hash(kKey, a, a, be16(1), be16(2), 6),
        flow_hash(kKey, a, b, be16(1), be16(3), 6), flow_hash(kKey, a, b, be16(3), be16(2), 6),
        flow_hash(hash_key_from_seed(2), a, b, be16(1), be16(2), 6)};
    EXPECT_EQ(hashes.size(), 9u);
    EXPECT_EQ(flow_hash(kKey, a, b, be16(1), be16(2), 6), flow_hash(kKey, a, b, be16(1), be16(2), 6));
  }
}

TEST(FlowHash, DependsOnBothHalvesOfIpv6Addresses) {
  const IpAddress vip = v6(0xfd00000000000009, 0x80);
  std::set<std::uint64_t> hashes;
  for (std::uint64_t n = 0; n < 1000; n++) {
    hashes.insert(flow_hash(kKey, v6(0x20010db800000000 + n, 1), vip, be16(1024), be16(80), 6));
    hashes.insert(flow_hash(kKey, v6(0x20010db800000000, 2 + n), vip, be16(1024), be16(80), 6));
    hashes.insert(flow_hash(kKey, vip, v6(0x20010db800000000 + n, 1), be16(80), be16(1024), 6));
  }
  EXPECT_EQ(hashes.size(), 3000u);
}

/// Chi-square of how `hashes` fall into 1024 groups taken from 10 bits at `shift`, in standard deviations from what chance gives.
double unevenness(const std::vector<std::uint64_t>& hashes, int shift) {
  std::vector<double> counts(1024);
  for (const std::uint64_t hash : hashes) counts[hash >> shift & 1023]++;
  const double expected = static_cast<double>(hashes.size()) / 1024;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return (sum - 1023) / std::sqrt(2.0 * 1023);
}

TEST(FlowHash, SpreadsNeighbouringFlowsAsChanceWould) {
  // Clients next to each other, and one client with port after port: what load looks like. Seen from both directions.
  for (std::uint64_t seed = 1; seed <= 200; seed++) {
    const HashKey key = hash_key_from_seed(seed);
    std::vector<std::uint64_t> clients;
    std::vector<std::uint64_t> ports;
    std::vector<std::uint64_t> replies;
    for (std::uint32_t n = 0; n < 20000; n++) {
      const be16 port(static_cast<std::uint16_t>(1025 + n));
      clients.push_back(flow_hash(key, v4(0x0a080000 + n), v4(0x0a000905), be16(40000), be16(80), 6));
      ports.push_back(flow_hash(key, v4(0x0a080001), v4(0x0a000905), port, be16(80), 6));
      replies.push_back(flow_hash(key, v4(0x0a000263), v4(0x0a000301), be16(8080), port, 6));
    }
    // The table takes the bucket from the high end of the low 32 bits and the signature from the high 32 bits.
    for (const int shift : {22, 0, 32, 54}) {
      EXPECT_LT(std::abs(unevenness(clients, shift)), 5) << "clients " << seed << " " << shift;
      EXPECT_LT(std::abs(unevenness(ports, shift)), 5) << "ports " << seed << " " << shift;
      EXPECT_LT(std::abs(unevenness(replies, shift)), 5) << "replies " << seed << " " << shift;
    }
  }
}

TEST(FlowHash, OneChangedBitChangesHalfOfTheResult) {
  int changed = 0;
  int trials = 0;
  for (std::uint32_t n = 0; n < 200; n++) {
    const IpAddress client = v4(0x0a000000 + n * 977);
    const std::uint64_t base = flow_hash(kKey, client, v4(0xc0000201), be16(5000), be16(443), 6);
    for (int bit = 0; bit < 32; bit++) {
      const IpAddress other = v4((0x0a000000 + n * 977) ^ (1u << bit));
      changed += std::popcount(base ^ flow_hash(kKey, other, v4(0xc0000201), be16(5000), be16(443), 6));
      trials++;
    }
  }
  EXPECT_NEAR(static_cast<double>(changed) / trials, 32, 1);
}

TEST(FlowHash, DifferentKeysSendTheSameFlowsToDifferentBuckets) {
  // Flows that share a bucket under one key must not share it under another: that is why there is a key.
  const HashKey other = hash_key_from_seed(77);
  std::vector<std::uint64_t> collisions;
  for (std::uint32_t n = 0; collisions.size() < 2000; n++) {
    const auto port = be16(static_cast<std::uint16_t>(n % 60000));
    const IpAddress client = v4(0x0a000000 + n / 60000);
    const std::uint64_t hash = flow_hash(kKey, client, v4(0xc0000201), port, be16(443), 6);
    if ((hash >> 24 & 0xff) == 0) collisions.push_back(flow_hash(other, client, v4(0xc0000201), port, be16(443), 6));
  }
  EXPECT_LT(std::abs(unevenness(collisions, 22)), 5);
}

}  // namespace
}  // namespace millrace
