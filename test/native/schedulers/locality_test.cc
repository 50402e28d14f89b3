// lblc and lblcr: what they remember of a destination, and when they forget it.
#include <gtest/gtest.h>

#include "schedulers/service.h"
#include "schedulers/support/destination_cache.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::Service;

constexpr std::uint32_t kMinute = 60'000;
constexpr std::uint32_t kDay = 24 * 60 * kMinute;

/// Three servers of weight 2, and a first connection that goes to the newest, 3.
class Locality : public testing::TestWithParam<std::string> {
 protected:
  Locality() : service_(scheduler_named(GetParam())) {
    for (const ServerSlot slot : {1u, 2u, 3u}) service_.add(slot, 2);
    EXPECT_EQ(scheduling_.connect(service_.published(), Keep::kShort), 3);
  }
  std::int64_t connect() { return scheduling_.connect(service_.published(), Keep::kShort); }

  Service service_;
  Scheduling scheduling_;
};

TEST_P(Locality, ADestinationKeepsItsServerAndOthersGetTheirOwn) {
  for (int i = 0; i < 20; i++) EXPECT_EQ(connect(), 3);
  scheduling_.asked().destination = test::address("10.0.9.11");
  EXPECT_EQ(connect(), 2);
  EXPECT_EQ(connect(), 2);
  scheduling_.asked().destination = test::address("10.0.9.10");
  EXPECT_EQ(connect(), 3);
}

TEST_P(Locality, AnOverloadedServerIsLeftWhileAnotherIsHalfIdle) {
  scheduling_.stats(3).active = 2;
  EXPECT_EQ(connect(), 3) << "as many as the weight are not too many";
  scheduling_.stats(3).active = 3;
  for (const ServerSlot slot : {1u, 2u}) scheduling_.stats(slot).active = 1;
  EXPECT_EQ(connect(), 3) << "nobody has less than half of its weight";
  scheduling_.stats(1).active = 0;
  EXPECT_EQ(connect(), 1);
}

TEST_P(Locality, AServerOfWeightZeroLosesItsDestination) {
  service_.edit(3, 0);
  EXPECT_EQ(connect(), 2);
  service_.edit(3, 2);
  // lblc has put 2 in its place; lblcr has added 2 to the set, and of two equal ones the last added is asked first.
  EXPECT_EQ(connect(), 2);
}

TEST_P(Locality, AServerThatLeftAndCameBackIsKnownAgain) {
  service_.remove(3);
  service_.add(3, 2);
  scheduling_.stats(3).inactive = 50;
  // By its load it would be the last one to choose.
  EXPECT_EQ(connect(), 3);
}

TEST_P(Locality, ADestinationUnusedForADayIsForgottenAndOneInUseIsNot) {
  scheduling_.stats(3).inactive = 50;
  // The half hours are looked at when somebody asks; asking for this destination at once would renew it.
  PickContext& asked = scheduling_.asked();
  const IpAddress ours = asked.destination;
  asked.now_ms += kDay - 40 * kMinute;
  EXPECT_EQ(connect(), 3);
  asked.now_ms += kDay - 40 * kMinute;
  EXPECT_EQ(connect(), 3);
  asked.now_ms += kDay + 40 * kMinute;
  asked.destination = test::address("10.0.9.99");
  (void)connect();
  asked.destination = ours;
  EXPECT_NE(connect(), 3);
}

INSTANTIATE_TEST_SUITE_P(Ipvs, Locality, testing::Values("lblc", "lblcr"),
                         [](const testing::TestParamInfo<std::string>& name) { return name.param; });

TEST(LocalityReplication, ASetThatHasNotChangedForADayLosesItsMostLoadedServer) {
  Service service(scheduler_named("lblcr"));
  for (const ServerSlot slot : {1u, 2u}) service.add(slot, 2);
  Scheduling scheduling;
  const ServiceTable& table = service.published();
  EXPECT_EQ(scheduling.connect(table, Keep::kShort), 2);
  scheduling.stats(2).active = 3;
  EXPECT_EQ(scheduling.connect(table, Keep::kShort), 1) << "1 joins the set";
  scheduling.stats(2).active = 1;
  scheduling.stats(1).active = 0;
  EXPECT_EQ(scheduling.connect(table, Keep::kShort), 1) << "the less loaded one of the set";
  PickContext& asked = scheduling.asked();
  for (int hours = 0; hours < 26; hours++) {
    asked.now_ms += 60 * kMinute;
    EXPECT_EQ(scheduling.connect(table, Keep::kShort), 1);
  }
  // 2 has gone from the set: it is not taken though it is the better one now.
  scheduling.stats(2).active = 0;
  scheduling.stats(1).active = 2;
  EXPECT_EQ(scheduling.connect(table, Keep::kShort), 1);
}

IpAddress numbered(std::uint32_t number) { return IpAddress::v4(be32(0x0a000000u + number)); }

TEST(DestinationCache, ForgetsUnusedEntriesByTheRulesOfIpvs) {
  using Cache = DestinationCache<int>;
  Cache cache;
  EXPECT_EQ(cache.find(numbered(0), 1000), nullptr);
  for (std::uint32_t i = 0; i < 20000; i++) *cache.add(numbered(i), 1000) = static_cast<int>(i);
  EXPECT_EQ(*cache.find(numbered(777), 1000), 777);
  // Above 16384 entries, each minute takes some of those unused for 6 minutes: (20000 - 16384) * 4 / 3 at least.
  EXPECT_NE(cache.find(numbered(777), 1000 + 5 * kMinute), nullptr);
  EXPECT_EQ(cache.size(), 20000u);
  EXPECT_NE(cache.find(numbered(777), 1000 + 6 * kMinute), nullptr);
  EXPECT_LE(cache.size(), 20000u - 4821u);
  const std::size_t left = cache.size();
  EXPECT_GE(left, 15000u) << "and not many more";
  // Below, only the half-hourly look takes what was unused for a day.
  EXPECT_NE(cache.find(numbered(777), 1000 + 29 * kMinute), nullptr);
  EXPECT_EQ(cache.size(), left);
  EXPECT_NE(cache.find(numbered(777), 1000 + kDay - kMinute), nullptr);
  EXPECT_EQ(cache.size(), left);
  EXPECT_NE(cache.find(numbered(777), 1000 + kDay + 31 * kMinute), nullptr);
  EXPECT_EQ(cache.size(), 1u);
}

TEST(DestinationCache, IsBounded) {
  DestinationCache<int> cache;
  for (std::uint32_t i = 0; i < DestinationCache<int>::kMaxEntries; i++) ASSERT_NE(cache.add(numbered(i), 0), nullptr);
  EXPECT_EQ(cache.add(numbered(1u << 20), 0), nullptr);
  EXPECT_NE(cache.find(numbered(5), 0), nullptr);
}

}  // namespace
}  // namespace millrace
