// LocalPorts against a plain model (a set of pairs and a walk over all of them), full pools, changing addresses, and its memory.
#include "sessions/local_ports.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace millrace {
namespace {

using Pair = std::pair<LocalSlot, std::uint16_t>;

std::unique_ptr<LocalPorts> make_ports(std::uint16_t first, std::uint16_t last, std::uint64_t seed = 1,
                                       std::uint32_t max_used = 1u << 20) {
  auto ports = LocalPorts::create({.first_port = first, .last_port = last, .max_used = max_used, .seed = seed});
  EXPECT_TRUE(ports.ok());
  return std::move(ports).value();
}

Pair pair_of(const LocalPort& p) { return {p.local, p.port.host()}; }

TEST(LocalPorts, RefusesRangesThatAreNone) {
  for (const auto& [first, last] : {Pair{0, 100}, Pair{200, 100}}) {
    auto ports = LocalPorts::create({.first_port = first, .last_port = last});
    ASSERT_FALSE(ports.ok());
    EXPECT_EQ(ports.error().code, "local_ports_invalid");
  }
}

TEST(LocalPorts, HandsOutEveryPairOfTheRangeOnceAndThenSaysSo) {
  // Ranges within a chunk, over chunk borders, on them, up to the last port there is; one port only.
  for (const auto& [first, last] : {Pair{1025, 1030}, Pair{1000, 1100}, Pair{1024, 2047}, Pair{1023, 2048}, Pair{64000, 65535},
                                    Pair{5000, 5000}, Pair{1, 65535}}) {
    auto ports = make_ports(first, last);
    const std::vector<LocalSlot> locals = {7, 3, 900};
    const std::uint32_t total = 3 * (last - first + 1u);
    std::set<Pair> seen;
    for (std::uint32_t i = 0; i < total; i++) {
      const auto p = ports->allocate(5, locals);
      ASSERT_TRUE(p.has_value()) << first << " " << i;
      ASSERT_GE(p->port.host(), first);
      ASSERT_LE(p->port.host(), last);
      ASSERT_TRUE(p->local == 7 || p->local == 3 || p->local == 900);
      ASSERT_TRUE(seen.insert(pair_of(*p)).second);
    }
    EXPECT_FALSE(ports->allocate(5, locals).has_value());
    EXPECT_EQ(ports->used(5), total);
    EXPECT_EQ(ports->used_on(3), total / 3);
    // One comes back: exactly that one is given out again.
    const Pair one = *seen.begin();
    EXPECT_TRUE(ports->release(5, one.first, be16(one.second)));
    const auto again = ports->allocate(5, locals);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(pair_of(*again), one);
    EXPECT_FALSE(ports->allocate(5, locals).has_value());
  }
}

TEST(LocalPorts, EndpointsDoNotShareTheirPairs) {
  auto ports = make_ports(1025, 1034);
  const std::vector<LocalSlot> locals = {1};
  for (std::uint32_t endpoint = 0; endpoint < 50; endpoint++) {
    std::set<Pair> seen;
    for (int i = 0; i < 10; i++) seen.insert(pair_of(*ports->allocate(endpoint, locals)));
    EXPECT_EQ(seen.size(), 10u);
    EXPECT_FALSE(ports->allocate(endpoint, locals).has_value());
  }
  EXPECT_EQ(ports->used(), 500u);
  EXPECT_EQ(ports->used_on(1), 500u);
  EXPECT_TRUE(ports->release(20, 1, be16(1030)));
  EXPECT_TRUE(ports->allocate(20, locals).has_value());
  EXPECT_FALSE(ports->allocate(21, locals).has_value());
}

TEST(LocalPorts, ReleasingWhatIsNotInUseIsRefusedAndChangesNothing) {
  auto ports = make_ports(1025, 2000);
  const std::vector<LocalSlot> locals = {1};
  const LocalPort p = *ports->allocate(0, locals);
  EXPECT_FALSE(ports->release(1, p.local, p.port));
  EXPECT_FALSE(ports->release(0, 2, p.port));
  EXPECT_FALSE(ports->release(0, p.local, be16(p.port.host() == 1500 ? 1501 : 1500)));
  EXPECT_EQ(ports->used(), 1u);
  EXPECT_TRUE(ports->release(0, p.local, p.port));
  EXPECT_FALSE(ports->release(0, p.local, p.port));
  EXPECT_EQ(ports->used(), 0u);
}

TEST(LocalPorts, AFreedPairIsTheLastToBeUsedAgain) {
  auto ports = make_ports(1025, 3000);
  const std::vector<LocalSlot> locals = {1, 2};
  const Pair first = pair_of(*ports->allocate(9, locals));
  ports->release(9, first.first, be16(first.second));
  for (std::uint32_t i = 0; i < 2 * 1976 - 1; i++) {
    const LocalPort p = *ports->allocate(9, locals);
    ASSERT_NE(pair_of(p), first) << i;
    ports->release(9, p.local, p.port);
  }
  EXPECT_EQ(pair_of(*ports->allocate(9, locals)), first);
}

TEST(LocalPorts, StartsAtDifferentPlacesForDifferentSeedsAndEndpoints) {
  const std::vector<LocalSlot> locals = {1, 2, 3, 4};
  std::set<Pair> starts;
  for (std::uint64_t seed = 0; seed < 20; seed++) {
    auto ports = make_ports(1025, 65535, seed);
    for (std::uint32_t endpoint = 0; endpoint < 20; endpoint++) starts.insert(pair_of(*ports->allocate(endpoint, locals)));
    auto same = make_ports(1025, 65535, seed);
    EXPECT_TRUE(starts.contains(pair_of(*same->allocate(3, locals))));
  }
  EXPECT_GT(starts.size(), 390u);
}

TEST(LocalPorts, NeverUsesMoreThanItsCapacity) {
  auto ports = make_ports(1025, 65535, 1, 3);
  const std::vector<LocalSlot> locals = {1};
  for (std::uint32_t i = 0; i < 3; i++) EXPECT_TRUE(ports->allocate(i, locals).has_value());
  EXPECT_FALSE(ports->allocate(3, locals).has_value());
}

TEST(LocalPorts, WithoutLocalAddressesThereIsNothingToGive) {
  auto ports = make_ports(1025, 65535);
  EXPECT_FALSE(ports->allocate(0, {}).has_value());
  const std::vector<LocalSlot> locals = {1};
  EXPECT_FALSE(ports->allocate(static_cast<std::uint32_t>(kMaxPortSpaces), locals).has_value());
}

TEST(LocalPorts, ThePredicateChoosesAmongFreePairs) {
  auto ports = make_ports(1025, 4096);
  const std::vector<LocalSlot> locals = {1, 2};
  const auto fits = [](LocalSlot local, be16 port) { return (port.host() * 7u + local) % 16 == 3; };
  std::uint32_t possible = 0;
  for (const LocalSlot local : locals) {
    for (std::uint32_t port = 1025; port <= 4096; port++) possible += fits(local, be16(static_cast<std::uint16_t>(port))) ? 1 : 0;
  }
  std::set<Pair> seen;
  for (std::uint32_t i = 0; i < possible; i++) {
    const auto p = ports->allocate(1, locals, fits);
    ASSERT_TRUE(p.has_value()) << i;
    ASSERT_TRUE(fits(p->local, p->port));
    ASSERT_TRUE(seen.insert(pair_of(*p)).second);
  }
  // All that fit are taken: the search ends by its own bound, again and again.
  for (int i = 0; i < 10; i++) EXPECT_FALSE(ports->allocate(1, locals, fits).has_value());
  EXPECT_TRUE(ports->allocate(1, locals).has_value());
}

TEST(LocalPorts, TheSearchWithAPredicateIsBoundedAndGoesOnWhereItStopped) {
  auto ports = make_ports(1025, 65535);
  const std::vector<LocalSlot> locals = {1};
  std::set<std::uint16_t> asked;
  std::uint32_t calls = 0;
  const auto never = [&](LocalSlot, be16 port) {
    asked.insert(port.host());
    calls++;
    return false;
  };
  EXPECT_FALSE(ports->allocate(1, locals, never).has_value());
  EXPECT_EQ(calls, LocalPorts::kMaxCandidates);
  for (int i = 0; i < 63; i++) EXPECT_FALSE(ports->allocate(1, locals, never).has_value());
  EXPECT_EQ(asked.size(), 64511u);
}

TEST(LocalPorts, LocalAddressesMayComeAndGo) {
  auto ports = make_ports(1025, 1124);
  std::vector<LocalPort> held;
  const std::vector<LocalSlot> before = {1, 2, 3};
  for (int i = 0; i < 300; i++) held.push_back(*ports->allocate(1, before));
  EXPECT_FALSE(ports->allocate(1, before).has_value());
  // All of them removed, one new: its 100 ports are there, although 300 are in use elsewhere.
  const std::vector<LocalSlot> after = {8};
  for (int i = 0; i < 100; i++) {
    const auto p = ports->allocate(1, after);
    ASSERT_TRUE(p.has_value());
    ASSERT_EQ(p->local, 8);
  }
  EXPECT_FALSE(ports->allocate(1, after).has_value());
  for (const LocalPort& p : held) EXPECT_TRUE(ports->release(1, p.local, p.port));
  EXPECT_EQ(ports->used(1), 100u);
  EXPECT_EQ(ports->used_on(2), 0u);
  const std::vector<LocalSlot> both = {8, 2};
  for (int i = 0; i < 100; i++) EXPECT_EQ(ports->allocate(1, both)->local, 2);
  EXPECT_FALSE(ports->allocate(1, both).has_value());
}

TEST(LocalPorts, MemoryFollowsUseAndComesBack) {
  auto ports = make_ports(1025, 65535);
  const std::size_t empty = ports->memory_bytes();
  std::vector<LocalSlot> locals;
  for (LocalSlot l = 0; l < 64; l++) locals.push_back(l);
  std::vector<std::pair<std::uint32_t, LocalPort>> held;
  for (std::uint32_t i = 0; i < 200000; i++) {
    const std::uint32_t endpoint = i % 200;
    held.emplace_back(endpoint, *ports->allocate(endpoint, locals));
  }
  // 1000 ports of each of 200 endpoints lie in 2 or 3 chunks.
  EXPECT_LT(ports->memory_bytes() - empty, 200u * 7 * 64 + 4096 * 16);
  for (const auto& [endpoint, p] : held) EXPECT_TRUE(ports->release(endpoint, p.local, p.port));
  EXPECT_LE(ports->memory_bytes(), empty + 4096 * 16);
}

/// The order that the header promises, written as a walk over all pairs.
class Model {
 public:
  Model(std::uint32_t first, std::uint32_t last) : first_(first), last_(last) {}

  /// What must come next, given where the last one was.
  std::optional<Pair> next(const std::vector<LocalSlot>& locals, std::optional<Pair> previous) const {
    std::vector<Pair> walk;
    for (std::uint32_t chunk = first_ >> 9; chunk <= last_ >> 9; chunk++) {
      for (const LocalSlot local : locals) {
        for (std::uint32_t port = std::max(first_, chunk << 9); port <= std::min(last_, (chunk << 9) + 511); port++) {
          walk.emplace_back(local, static_cast<std::uint16_t>(port));
        }
      }
    }
    std::size_t begin = 0;
    while (begin < walk.size() && walk[begin] != previous) begin++;
    for (std::size_t i = 1; i <= walk.size(); i++) {
      const Pair& pair = walk[(begin + i) % walk.size()];
      if (!used.contains(pair)) return pair;
    }
    return std::nullopt;
  }
  std::set<Pair> used;

 private:
  std::uint32_t first_, last_;
};

TEST(LocalPorts, FollowsItsOrderExactlyUnderRandomUseFromEmptyToFull) {
  std::mt19937 random(3);
  for (const auto& [first, last] : {Pair{500, 530}, Pair{1020, 1030}, Pair{510, 1600}, Pair{7, 7}}) {
    for (int round = 0; round < 4; round++) {
      auto ports = make_ports(first, last, random());
      std::vector<LocalSlot> locals;
      for (int i = 0; i <= round; i++) locals.push_back(static_cast<LocalSlot>(100 - i * 7));
      Model model(first, last);
      const std::size_t total = locals.size() * (last - first + 1u);
      std::optional<Pair> previous;
      for (int step = 0; step < 1500; step++) {
        const bool fill = (step / 500) % 2 == 0;
        if (model.used.empty() || random() % 10 < (fill ? 8u : 3u)) {
          const auto p = ports->allocate(77, locals);
          ASSERT_EQ(p.has_value(), model.used.size() < total);
          if (!p) continue;
          if (previous) {
            ASSERT_EQ(pair_of(*p), model.next(locals, previous)) << first << " " << round << " " << step;
          }
          previous = pair_of(*p);
          ASSERT_TRUE(model.used.insert(pair_of(*p)).second);
        } else {
          auto it = model.used.lower_bound({static_cast<LocalSlot>(random() % 101), static_cast<std::uint16_t>(random())});
          if (it == model.used.end()) it = model.used.begin();
          ASSERT_TRUE(ports->release(77, it->first, be16(it->second)));
          model.used.erase(it);
        }
        ASSERT_EQ(ports->used(77), model.used.size());
      }
    }
  }
}

TEST(LocalPorts, NeverGivesAPairTwiceWithManyEndpointsAndChangingAddresses) {
  std::mt19937 random(11);
  auto ports = make_ports(2000, 2600);
  std::set<std::tuple<std::uint32_t, LocalSlot, std::uint16_t>> used;
  for (int step = 0; step < 100000; step++) {
    const auto endpoint = static_cast<std::uint32_t>(random() % 5);
    if (used.empty() || random() % 10 < ((step / 20000) % 2 == 0 ? 7u : 4u)) {
      std::vector<LocalSlot> locals;
      for (LocalSlot l = 0; l < 4; l++) {
        if (random() % 2 == 0) locals.push_back(l);
      }
      std::size_t taken = 0;
      for (const LocalSlot l : locals) {
        const auto from = used.lower_bound({endpoint, l, 0});
        const auto to = used.lower_bound({endpoint, static_cast<LocalSlot>(l + 1), 0});
        taken += static_cast<std::size_t>(std::distance(from, to));
      }
      const auto p = ports->allocate(endpoint, locals);
      ASSERT_EQ(p.has_value(), taken < locals.size() * 601);
      if (p) {
        ASSERT_TRUE((used.insert({endpoint, p->local, p->port.host()}).second));
      }
    } else {
      auto it =
          used.lower_bound({endpoint, static_cast<LocalSlot>(random() % 4), static_cast<std::uint16_t>(2000 + random() % 601)});
      if (it == used.end()) it = used.begin();
      ASSERT_TRUE(ports->release(std::get<0>(*it), std::get<1>(*it), be16(std::get<2>(*it))));
      used.erase(it);
    }
    ASSERT_EQ(ports->used(), used.size());
  }
  for (const auto& [endpoint, local, port] : used) ASSERT_TRUE(ports->release(endpoint, local, be16(port)));
  EXPECT_EQ(ports->used(), 0u);
}

}  // namespace
}  // namespace millrace
