// What all schedulers have in common (weight 0, several workers, missed changes, other services in a slot), and the registry
// against the files of its folder.
#include "schedulers/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::sequence;
using test::Service;

/// Options with which every scheduler gives a client of an unavailable server another one, where it can.
SchedulerOptions with_fallback() {
  SchedulerOptions options;
  options.fallback = true;
  return options;
}

TEST(Schedulers, PickNobodyFromAnEmptyList) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.name, with_fallback());
    Scheduling scheduling;
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 2), "- -") << scheduler.name;
    service.add(1, 1);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 2), "1 1") << scheduler.name;
    service.remove(1);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 2), "- -") << scheduler.name;
  }
}

TEST(Schedulers, NeverPickAServerOfWeightZero) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.name, with_fallback());
    service.add(1, 0);
    Scheduling scheduling;
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 3), "- - -") << scheduler.name;
    service.edit(1, 5);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 3), "1 1 1") << scheduler.name;
    service.edit(1, 0);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 2), "- -") << scheduler.name;
    service.add(2, 0);
    service.add(3, 0);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 2), "- -") << scheduler.name;
    // dh has no fallback: in IPVS too, the clients of a server of weight 0 are refused.
    if (scheduler.name == "dh") continue;
    service.edit(2, 4);
    EXPECT_EQ(scheduling.connect(service.published(), Keep::kHeld, 3), "2 2 2") << scheduler.name;
  }
}

TEST(Schedulers, NeverPickAServerAboveItsThresholdForANewClient) {
  for (const SchedulerInfo& scheduler : kSchedulers) {
    Service service(scheduler.name, with_fallback());
    service.add(1, 1);
    service.add(2, 1);
    Scheduling scheduling;
    scheduling.loads().set_overloaded(1, true);
    scheduling.loads().set_overloaded(2, true);
    const ServiceTable& table = service.published();
    EXPECT_EQ(scheduling.connect(table, Keep::kHeld, 2), "- -") << scheduler.name;
    scheduling.loads().set_overloaded(1, false);
    // dh and conhash have no fallback: the clients of the other server stay refused.
    if (scheduler.name == "dh" || scheduler.name == "conhash") continue;
    EXPECT_EQ(scheduling.connect(table, Keep::kHeld, 2), "1 1") << scheduler.name;
  }
}

TEST(Schedulers, WorkersBeginAtDifferentServersOfTheSameList) {
  // Those that take turns or compare loads. The others give all workers the same server: fo and ovf on purpose, hashes by nature;
  // twos draws.
  for (const char* name : {"rr", "wrr", "lc", "wlc", "sed", "nq", "lblc", "lblcr"}) {
    Service service(scheduler_named(name));
    for (ServerSlot slot = 1; slot <= 4; slot++) service.add(slot, 1);
    const ServiceTable& table = service.published();
    std::string firsts;
    for (std::uint32_t worker = 0; worker < 4; worker++) {
      Scheduling scheduling(worker, 4);
      firsts += scheduling.connect(table, Keep::kHeld, 1);
    }
    EXPECT_EQ(firsts, "4321") << name;
  }
}

TEST(Schedulers, TwoWorkersStayWithinTheDocumentedSpread) {
  // Two workers that take connections in turn: after each round no server of equal weight is more than one per worker ahead.
  for (const char* name : {"rr", "wrr", "lc", "wlc", "sed", "nq"}) {
    Service service(scheduler_named(name));
    for (ServerSlot slot = 1; slot <= 3; slot++) service.add(slot, 1);
    const ServiceTable& table = service.published();
    Scheduling first(0, 2);
    Scheduling second(1, 2);
    std::map<std::int64_t, int> taken{{1, 0}, {2, 0}, {3, 0}};
    for (int i = 0; i < 60; i++) {
      Scheduling& here = i % 2 == 0 ? first : second;
      // What the control thread does between packets.
      const ServerStats* statistics[] = {&first.stats(0), &second.stats(0)};
      const ServerSlot servers[] = {1, 2, 3};
      first.loads().refresh(statistics, servers);
      second.loads().refresh(statistics, servers);
      taken[here.connect(table, Keep::kHeld)]++;
      const auto [least, most] = std::minmax({taken[1], taken[2], taken[3]});
      ASSERT_LE(most - least, 2) << name << " at connection " << i;
    }
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
    if (file.path().extension() == ".h" && name != "registry" && name != "scheduler") files.insert(name);
  }
  std::set<std::string> names;
  std::set<SchedulerKind> kinds;
  for (const SchedulerInfo& scheduler : kSchedulers) {
    std::string file(scheduler.name);
    std::replace(file.begin(), file.end(), '-', '_');
    names.insert(file);
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
