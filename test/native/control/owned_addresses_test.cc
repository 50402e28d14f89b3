// On which interfaces owned addresses are answered for.
#include "control/owned_addresses.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

Prefix prefix(std::string_view text) {
  bool ok = false;
  const Prefix p = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return p;
}
IpAddress ip(std::string_view text) { return prefix(text).address; }

std::vector<InterfaceState> two_interfaces() {
  std::vector<InterfaceState> interfaces(2);
  interfaces[0].on_link = {prefix("192.0.2.0/24"), prefix("2001:db8:1::/64")};
  interfaces[1].on_link = {prefix("198.51.100.0/24")};
  return interfaces;
}

TEST(OwnedAddresses, AnAddressIsAnsweredWhereItsPrefixIsConnected) {
  const IpAddress owned[] = {ip("192.0.2.10"), ip("198.51.100.10"), ip("2001:db8:1::10")};
  const auto placed = place_owned_addresses(owned, two_interfaces(), {});
  ASSERT_EQ(placed.size(), 2u);
  EXPECT_EQ(placed[0], (AddressSet{ip("192.0.2.10"), ip("2001:db8:1::10")}));
  EXPECT_EQ(placed[1], (AddressSet{ip("198.51.100.10")}));
}

TEST(OwnedAddresses, AnAddressOutsideAllPrefixesIsAnsweredEverywhere) {
  const IpAddress owned[] = {ip("203.0.113.10")};
  const auto placed = place_owned_addresses(owned, two_interfaces(), {});
  EXPECT_TRUE(placed[0].contains(ip("203.0.113.10")));
  EXPECT_TRUE(placed[1].contains(ip("203.0.113.10")));
}

TEST(OwnedAddresses, WhatTheKernelHoldsIsLeftToTheKernelWhereverItIs) {
  const IpAddress owned[] = {ip("192.0.2.10"), ip("192.0.2.11")};
  const HostAddress kernel[] = {{prefix("192.0.2.10/32"), "lo"}};
  const auto placed = place_owned_addresses(owned, two_interfaces(), kernel);
  EXPECT_EQ(placed[0], (AddressSet{ip("192.0.2.11")}));
  EXPECT_TRUE(placed[1].empty());
}

}  // namespace
}  // namespace millrace
