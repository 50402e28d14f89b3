// What all schedulers have in common (weight 0, several workers, missed changes, other services in a slot), and the registry
// against the files of its folder.
#include "schedulers/registry.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::sequence;
using test::Service;

TEST(Schedulers, NeverPickAServerOfWeightZero) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.kind);
    service.add(1, 0);
    service.add(2, 0);
    SchedulerStates states(0, 1);
    EXPECT_EQ(sequence(states, service.published(), 3), "- - -") << scheduler.name;
    service.edit(1, 5);
    EXPECT_EQ(sequence(states, service.published(), 3), "1 1 1") << scheduler.name;
    service.edit(1, 0);
    EXPECT_EQ(sequence(states, service.published(), 2), "- -") << scheduler.name;
  }
}

TEST(Schedulers, WorkersBeginAtDifferentServersOfTheSameList) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.kind);
    for (ServerSlot slot = 1; slot <= 4; slot++) service.add(slot, 1);
    const ServiceTable& table = service.published();
    std::string firsts;
    for (std::uint32_t worker = 0; worker < 4; worker++) {
      SchedulerStates states(worker, 4);
      firsts += sequence(states, table, 1);
    }
    EXPECT_EQ(firsts, "4321") << scheduler.name;
  }
}

TEST(Schedulers, StartAnewWhenTheChangesThatTheyMissedAreGone) {
  Service service(SchedulerKind::kRoundRobin);
  service.add(1, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 2), "1 1");
  for (ServerSlot slot = 2; slot <= 4; slot++) service.add(slot, 1);
  service.forget_changes(1);
  EXPECT_EQ(sequence(states, service.published(), 5), "4 3 2 1 4");
  // And where they begin with a list whose first changes are gone, as if its servers had been added one by one.
  Service weighted(SchedulerKind::kWeightedRoundRobin);
  for (const std::uint32_t slot : {1u, 2u, 3u}) weighted.add(slot, 5 - slot);
  weighted.forget_changes(0);
  SchedulerStates late(0, 1);
  EXPECT_EQ(sequence(late, weighted.published(), 9), "3 2 1 1 2 1 3 2 1");
}

TEST(Schedulers, StartAnewWhenTheSlotGotAnotherService) {
  Service first(SchedulerKind::kRoundRobin, 9);
  for (ServerSlot slot = 1; slot <= 3; slot++) first.add(slot, 1);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, first.published(), 2), "3 2");
  Service second(SchedulerKind::kRoundRobin, 9);
  for (ServerSlot slot = 11; slot <= 13; slot++) second.add(slot, 1);
  EXPECT_EQ(sequence(states, second.published(), 2), "13 12");
  // Even at the same address.
  ServiceTable table = first.table();
  EXPECT_EQ(sequence(states, table, 1), "3");
  table = second.table();
  table.servers[0].weight = 0;
  table.changes[2].weight = 0;
  states.tables_changed();
  EXPECT_EQ(sequence(states, table, 2), "12 11");
}

TEST(Schedulers, AnotherSchedulerBeginsAtTheHeadOfTheList) {
  Service service(SchedulerKind::kRoundRobin);
  service.add(1, 4);
  service.add(2, 3);
  service.add(3, 2);
  SchedulerStates states(0, 1);
  EXPECT_EQ(sequence(states, service.published(), 2), "3 2");
  service.use(SchedulerKind::kWeightedRoundRobin);
  EXPECT_EQ(sequence(states, service.published(), 9), "1 2 1 3 2 1 3 2 1");
  service.use(SchedulerKind::kRoundRobin);
  EXPECT_EQ(sequence(states, service.published(), 4), "3 2 1 3");
}

TEST(SchedulerRegistry, HasExactlyTheSchedulersOfItsFolder) {
  std::set<std::string> files;
  const auto here = std::filesystem::absolute(__FILE__).parent_path();
  for (const auto& file : std::filesystem::directory_iterator(here / "../../../native/schedulers")) {
    const std::string name = file.path().stem().string();
    if (file.path().extension() == ".h" && name != "registry") files.insert(name);
  }
  std::set<std::string> names;
  std::set<SchedulerKind> kinds;
  for (const SchedulerInfo& scheduler : kSchedulers) {
    names.insert(std::string(scheduler.name));
    kinds.insert(scheduler.kind);
    EXPECT_EQ(scheduler_kind(scheduler.name), scheduler.kind);
    EXPECT_FALSE(scheduler.summary.empty());
  }
  EXPECT_EQ(names, files);
  EXPECT_EQ(kinds.size(), kSchedulers.size());
  EXPECT_EQ(scheduler_kind("nosuch"), std::nullopt);
}

}  // namespace
}  // namespace millrace
