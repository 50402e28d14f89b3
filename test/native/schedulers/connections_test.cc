// lc, wlc, sed, nq, fo, ovf and twos: what the recordings do not show. Weights change, servers come and go and are overloaded,
// and each choice is compared with a restatement of the rule.
#include <gtest/gtest.h>

#include <functional>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::Service;

/// A server as the models see it; the newest first, as in the list.
struct Model {
  ServerSlot slot;
  std::int64_t weight;
  std::int64_t active;
  std::int64_t inactive;
  bool overloaded;
  bool may() const { return weight > 0 && !overloaded; }
};
using List = std::vector<Model>;

/// The first of those for which `worth` is greatest among all that `may`; worth is a fraction.
struct Fraction {
  std::int64_t over, under;
  bool operator<(const Fraction& other) const { return over * other.under < other.over * under; }
};

std::int64_t first_best(const List& list, const std::function<bool(const Model&)>& may,
                        const std::function<Fraction(const Model&)>& cost) {
  const Model* best = nullptr;
  for (const Model& server : list) {
    if (may(server) && (best == nullptr || cost(server) < cost(*best))) best = &server;
  }
  return best == nullptr ? -1 : static_cast<std::int64_t>(best->slot);
}

std::int64_t choice(std::string_view scheduler, const List& list) {
  const auto may = [](const Model& s) { return s.may(); };
  const auto sessions = [](const Model& s) { return s.active * 257 + s.inactive; };
  const auto delay = [](const Model& s) { return Fraction{s.active + 1, s.weight}; };
  if (scheduler == "lc") return first_best(list, may, [&](const Model& s) { return Fraction{sessions(s), 1}; });
  if (scheduler == "wlc") return first_best(list, may, [&](const Model& s) { return Fraction{sessions(s), s.weight}; });
  if (scheduler == "sed") return first_best(list, may, delay);
  if (scheduler == "nq") {
    const auto idle = [](const Model& s) { return s.may() && s.active == 0; };
    const std::int64_t first = first_best(list, idle, [](const Model&) { return Fraction{0, 1}; });
    return first >= 0 ? first : first_best(list, may, delay);
  }
  const auto heaviest = [](const Model& s) { return Fraction{-s.weight, 1}; };
  if (scheduler == "fo") return first_best(list, may, heaviest);
  return first_best(
      list, [](const Model& s) { return s.may() && s.active <= s.weight; }, heaviest);  // ovf
}

class Counting : public testing::TestWithParam<std::string> {};

TEST_P(Counting, FollowsItsRuleThroughChangesOverloadAndEndingConnections) {
  std::mt19937 random(11);
  for (int run = 0; run < 100; run++) {
    Service service(scheduler_named(GetParam()));
    Scheduling scheduling;
    List model;
    for (int step = 0; step < 120; step++) {
      const auto slot = static_cast<ServerSlot>(random() % 6);
      const auto weight = static_cast<std::uint32_t>(random() % 4 == 0 ? 0 : 1 + random() % 9);
      const auto known = std::find_if(model.begin(), model.end(), [&](const Model& s) { return s.slot == slot; });
      switch (random() % 12) {
        case 0:
          if (known != model.end()) break;
          service.add(slot, weight);
          model.insert(model.begin(), {slot, weight, static_cast<std::int64_t>(scheduling.stats(slot).active),
                                       static_cast<std::int64_t>(scheduling.stats(slot).inactive), false});
          scheduling.loads().set_overloaded(slot, false);
          break;
        case 1:
          if (known == model.end()) break;
          service.edit(slot, weight);
          known->weight = weight;
          break;
        case 2:
          if (known == model.end()) break;
          service.remove(slot);
          model.erase(known);
          break;
        case 3:
          if (known == model.end()) break;
          known->overloaded = !known->overloaded;
          scheduling.loads().set_overloaded(slot, known->overloaded);
          break;
        case 4:
          if (known == model.end() || known->active == 0) break;
          known->active--;
          known->inactive++;
          scheduling.stats(slot).active--;
          scheduling.stats(slot).inactive++;
          break;
        default:
          break;
      }
      const std::int64_t expected = choice(GetParam(), model);
      ASSERT_EQ(scheduling.connect(service.published(), Keep::kHeld), expected) << "run " << run << " step " << step;
      for (Model& server : model) {
        if (static_cast<std::int64_t>(server.slot) == expected) server.active++;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ipvs, Counting, testing::Values("lc", "wlc", "sed", "nq", "fo", "ovf"),
                         [](const testing::TestParamInfo<std::string>& name) { return name.param; });

TEST(LeastConnection, AnActiveSessionWeighs257InactiveOnes) {
  for (const char* name : {"lc", "wlc"}) {
    Service service(scheduler_named(name));
    service.add(1, 1);
    service.add(2, 1);
    Scheduling scheduling;
    const ServiceTable& table = service.published();
    EXPECT_EQ(scheduling.connect(table, Keep::kHeld), 2);
    for (int i = 0; i < 257; i++) ASSERT_EQ(scheduling.connect(table, Keep::kShort), 1) << name << " " << i;
    EXPECT_EQ(scheduling.connect(table, Keep::kShort), 2) << name;
  }
}

TEST(LeastConnection, SeesTheSessionsOfTheOtherWorkers) {
  Service service(scheduler_named("wlc"));
  for (const ServerSlot slot : {1u, 2u, 3u}) service.add(slot, 1);
  const ServiceTable& table = service.published();
  Scheduling here(0, 2);
  std::vector<ServerStats> there(4);
  there[2].active = 5;
  there[3].active = 5;
  const ServerStats* statistics[] = {&here.stats(0), there.data()};
  const ServerSlot servers[] = {1, 2, 3};
  here.loads().refresh(statistics, servers);
  EXPECT_EQ(here.connect(table, Keep::kHeld, 6), "1 1 1 1 1 3");
  // What this worker counts itself is not counted twice, and what the others end is forgotten.
  there[2].active = 0;
  here.loads().refresh(statistics, servers);
  EXPECT_EQ(here.connect(table, Keep::kHeld, 6), "2 2 2 2 2 2");
  here.loads().clear(3);
  EXPECT_EQ(here.connect(table, Keep::kHeld, 1), "3");
}

TEST(TwoChoices, TakesTheLessLoadedOfTwoAndFavoursWeights) {
  Service service(scheduler_named("twos"));
  const std::uint32_t weights[] = {0, 1, 2, 4, 0};
  for (ServerSlot slot = 1; slot <= 4; slot++) service.add(slot, weights[slot]);
  Scheduling scheduling;
  const ServiceTable& table = service.published();
  std::map<std::int64_t, int> taken;
  for (int i = 0; i < 7000; i++) taken[scheduling.connect(table, Keep::kHeld)]++;
  EXPECT_FALSE(taken.contains(4));
  EXPECT_FALSE(taken.contains(-1));
  // The second choice evens out what the draw leaves uneven: shares of 1000, 2000 and 4000.
  EXPECT_NEAR(taken[1], 1000, 60);
  EXPECT_NEAR(taken[2], 2000, 60);
  EXPECT_NEAR(taken[3], 4000, 60);
}

TEST(TwoChoices, PicksTheSameServersAgainWithTheSameSeed) {
  Service service(scheduler_named("twos"));
  for (ServerSlot slot = 1; slot <= 5; slot++) service.add(slot, slot);
  const ServiceTable& table = service.published();
  Scheduling one, other, second_worker(1, 2);
  const std::string first = one.connect(table, Keep::kShort, 40);
  EXPECT_EQ(other.connect(table, Keep::kShort, 40), first);
  EXPECT_NE(second_worker.connect(table, Keep::kShort, 40), first);
}

}  // namespace
}  // namespace millrace
