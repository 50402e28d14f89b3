// Weighted round robin against a restated model of the list that IPVS keeps; the recorded sequences are in recordings_test.cc.
#include "schedulers/wrr.h"

#include <gtest/gtest.h>

#include <map>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::sequence;
using test::Service;

TEST(WeightedRoundRobin, FollowsIpvsThroughAdditionsEditsRemovalsAndOverloadInAnyOrder) {
  test::expect_like_kernel(SchedulerKind::kWeightedRoundRobin, 22);
}

TEST(WeightedRoundRobin, TakesAsManySessionsAsTheWeightsSay) {
  Service service(SchedulerKind::kWeightedRoundRobin);
  const std::uint32_t weights[] = {0, 100, 50, 25, 7};
  for (ServerSlot slot = 0; slot < 5; slot++) service.add(slot, weights[slot]);
  SchedulerStates states(0, 1);
  const ServiceTable& table = service.published();
  (void)sequence(states, table, 4);  // the first round at level 1
  std::map<ServerSlot, std::uint32_t> taken;
  for (int i = 0; i < 182 * 3; i++) taken[table.servers.at(static_cast<std::size_t>(states.pick(table, PickContext{}))).slot]++;
  for (ServerSlot slot = 1; slot < 5; slot++) EXPECT_EQ(taken[slot], 3 * weights[slot]) << slot;
  EXPECT_FALSE(taken.contains(0));
}

TEST(WeightedRoundRobin, HandlesTheLargestWeight) {
  Service service(SchedulerKind::kWeightedRoundRobin);
  service.add(1, 2147483647);
  service.add(2, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 5), "2 1 1 1 1");
}

}  // namespace
}  // namespace millrace
