// Access lists: the longest prefix decides, compared with a search through all rules.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <random>

#include "support/stage.h"
#include "tables/access_list.h"

namespace millrace::test {
namespace {

bool holds(const AccessRule& rule, const IpAddress& client) {
  if (rule.prefix.is_v4() != client.is_v4()) return false;
  for (int bit = 0; bit < rule.length; bit++) {
    const int shift = 7 - bit % 8;
    if ((rule.prefix.bytes()[bit / 8] >> shift & 1) != (client.bytes()[bit / 8] >> shift & 1)) return false;
  }
  return true;
}
/// What the list must say, found by looking at every rule.
bool naive(const std::vector<AccessRule>& rules, bool allow_others, const IpAddress& client) {
  int longest = -1;
  bool allow = allow_others;
  for (const AccessRule& rule : rules) {
    if (!holds(rule, client) || rule.length < longest) continue;
    longest = rule.length;
    allow = rule.allow;
  }
  return allow;
}

/// Few different bits, so that prefixes hold each other and clients are in them.
IpAddress random_address(std::mt19937& random) {
  std::uint8_t bytes[16] = {};
  const bool six = random() % 2 == 0;
  if (six) {
    bytes[0] = 0x20;
    for (int i = 1; i < 16; i++) bytes[i] = random() % 3 == 0 ? static_cast<std::uint8_t>(random() & 0x81) : std::uint8_t{0};
    return IpAddress::v6(bytes);
  }
  for (int i = 12; i < 16; i++) bytes[i] = static_cast<std::uint8_t>(random() & 0x83);
  bytes[10] = bytes[11] = 0xff;
  return IpAddress::v6(bytes);
}
AccessRule random_rule(std::mt19937& random) {
  const IpAddress address = random_address(random);
  const int shortest = address.is_v4() ? 96 : 0;
  const int length = shortest + static_cast<int>(random() % static_cast<unsigned>(129 - shortest));
  std::uint8_t bytes[16];
  std::memcpy(bytes, address.bytes(), 16);
  for (int bit = length; bit < 128; bit++) bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] & ~(0x80 >> bit % 8));
  return {IpAddress::v6(bytes), static_cast<std::uint8_t>(length), random() % 2 == 0};
}

TEST(AccessList, SaysWhatASearchThroughAllRulesSays) {
  for (std::uint32_t seed = 1; seed <= 200; seed++) {
    std::mt19937 random(seed);
    std::vector<AccessRule> rules;
    for (auto i = random() % 60; i > 0; i--) {
      rules.push_back(random_rule(random));
    }
    const bool others = random() % 2 == 0;
    const AccessList list(rules, others);
    for (int i = 0; i < 300; i++) {
      const IpAddress client = random_address(random);
      ASSERT_EQ(list.allows(client), naive(rules, others, client)) << "seed " << seed << ", " << client.to_string();
    }
  }
}

TEST(AccessList, WholeFamiliesAreSeparate) {
  const AccessList list(std::vector<AccessRule>{{ip("0.0.0.0"), 96, false}, {ip("2001:db8::"), 32, false}}, true);
  EXPECT_FALSE(list.allows(ip("192.0.2.1")));
  EXPECT_FALSE(list.allows(ip("2001:db8::1")));
  EXPECT_TRUE(list.allows(ip("2001:db9::1")));
  const AccessList six(std::vector<AccessRule>{{ip("::"), 0, false}}, true);
  EXPECT_FALSE(six.allows(ip("2001:db8::1")));
  EXPECT_TRUE(six.allows(ip("192.0.2.1")));
}

TEST(AccessList, AHundredThousandPrefixesAreAskedAsOftenAsTen) {
  const auto time = [](std::uint32_t rules) {
    std::vector<AccessRule> list;
    for (std::uint32_t i = 0; i < rules; i++) list.push_back({IpAddress::v4(be32(0x0a000000u + (i << 8))), 120, false});
    const AccessList access(list, true);
    std::uint32_t allowed = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < 200'000; i++) allowed += access.allows(IpAddress::v4(be32(0x0a000000u + i * 2654435761u % 0x6000000u))) ? 1 : 0;
    const auto taken = std::chrono::steady_clock::now() - begin;
    EXPECT_GT(allowed, 0u);
    return std::chrono::duration<double, std::nano>(taken).count() / 200'000;
  };
  const double few = time(10), many = time(100'000);
  std::cout << "access list: " << few << " ns with 10 prefixes, " << many << " ns with 100,000\n";
  // A search through all of them would be thousands of times slower; memory and a busy machine may make a difference of some tens.
  EXPECT_LT(many, few * 100 + 1000);
}

}  // namespace
}  // namespace millrace::test
