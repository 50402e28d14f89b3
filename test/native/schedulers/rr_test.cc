// Round robin against a restated model of the list that IPVS keeps; the recorded sequences are in recordings_test.cc.
#include "schedulers/rr.h"

#include <gtest/gtest.h>

#include <map>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::sequence;
using test::Service;

TEST(RoundRobin, FollowsIpvsThroughAdditionsEditsRemovalsAndOverloadInAnyOrder) {
  test::expect_like_kernel(SchedulerKind::kRoundRobin, 21);
}

TEST(RoundRobin, ANewServerWaitsForTheNextRoundAndAReaddedOneGoesToTheHead) {
  Service service(SchedulerKind::kRoundRobin);
  for (ServerSlot slot = 1; slot <= 3; slot++) service.add(slot, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 1), "3");
  service.add(4, 1);
  EXPECT_EQ(sequence(states, service.published(), 4), "2 1 4 3");
  service.remove(2);
  service.add(2, 1);
  EXPECT_EQ(sequence(states, service.published(), 5), "1 2 4 3 1");
}

TEST(RoundRobin, TheSuccessorOfARemovedServerIsNext) {
  Service service(SchedulerKind::kRoundRobin);
  for (ServerSlot slot = 1; slot <= 4; slot++) service.add(slot, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 2), "4 3");
  service.remove(3);
  EXPECT_EQ(sequence(states, service.published(), 3), "2 1 4");
  // The head itself leaves: the search begins at whatever is the head then.
  service.remove(4);
  service.add(5, 1);
  EXPECT_EQ(sequence(states, service.published(), 3), "5 2 1");
}

}  // namespace
}  // namespace millrace
