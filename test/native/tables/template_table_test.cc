// The table of persistence templates: what a template decides and how long it lives, against a model that really runs the timers; full
// tables, held locks, and many threads at once. Meant for ThreadSanitizer, too.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "tables/template_table.h"

namespace millrace {
namespace {

using Outcome = TemplateTable::Outcome;

constexpr std::uint32_t kTimeout = 20'000;
constexpr auto kAny = [](const TemplateServer&) { return true; };
constexpr auto kNone = [](const TemplateServer&) { return false; };

std::unique_ptr<TemplateTable> table_of(std::uint32_t capacity = 4096) {
  return std::move(TemplateTable::create(hash_key_from_seed(3), capacity)).value();
}
TemplateKey client(std::uint32_t n, std::uint64_t scope = 1) { return {IpAddress::v4(be32(0x0a070000 + n)), scope}; }
TemplateServer server(std::uint32_t n) { return {IpAddress::v4(be32(0x0a000200 + n)), be16(80)}; }

struct Listed {
  std::uint32_t sessions = 0;
  std::uint32_t left_ms = 0;
  bool dead = false;
};
/// The templates that are not over, each client's live one and its dead ones in the order they are found.
std::vector<std::pair<std::uint32_t, Listed>> list(TemplateTable& table, std::uint32_t now_ms) {
  std::vector<std::pair<std::uint32_t, Listed>> all;
  table.for_each(now_ms, [&](const TemplateTable::View& v) {
    if (v.left_ms != 0) all.push_back({v.key.client.v4_part().host() - 0x0a070000, {v.sessions, v.left_ms, v.dead}});
  });
  return all;
}

TEST(TemplateTable, AClientKeepsItsServerForTheTimeoutAfterItsLastNewConnection) {
  const auto table = table_of();
  EXPECT_EQ(table->find(client(1), 0, kAny).outcome, Outcome::kAbsent);
  const auto made = table->add(client(1), server(3), kTimeout, 0, kAny);
  ASSERT_EQ(made.outcome, Outcome::kTaken);
  table->release(made.id, 100);
  const auto again = table->find(client(1), kTimeout - 1, kAny);
  ASSERT_EQ(again.outcome, Outcome::kTaken);
  EXPECT_EQ(again.server, server(3));
  table->release(again.id, kTimeout);
  EXPECT_EQ(table->find(client(1), 2 * kTimeout - 2, kAny).outcome, Outcome::kTaken);
  EXPECT_EQ(table->find(client(1, 2), 2 * kTimeout, kAny).outcome, Outcome::kAbsent) << "another service";
  EXPECT_EQ(table->find(client(2), 2 * kTimeout, kAny).outcome, Outcome::kAbsent) << "another client";
}

TEST(TemplateTable, WithoutSessionsATemplateIsOverAtItsTimeout) {
  const auto table = table_of();
  table->release(table->add(client(1), server(3), kTimeout, 500, kAny).id, 600);
  EXPECT_EQ(list(*table, 500 + kTimeout - 1).size(), 1u);
  EXPECT_EQ(list(*table, 500 + kTimeout).size(), 0u);
  EXPECT_EQ(table->find(client(1), 500 + kTimeout, kAny).outcome, Outcome::kAbsent);
}

TEST(TemplateTable, SessionsReArmItForAMinuteAgainAndAgainAndItKeepsTheMinute) {
  const auto table = table_of();
  const TemplateId id = table->add(client(1), server(3), kTimeout, 0, kAny).id;
  EXPECT_EQ(list(*table, kTimeout).at(0).second.left_ms, 60'000u);
  EXPECT_EQ(list(*table, kTimeout + 59'999).at(0).second.left_ms, 1u);
  EXPECT_EQ(list(*table, kTimeout + 60'000).at(0).second.left_ms, 60'000u);
  table->release(id, kTimeout + 70'000);
  EXPECT_EQ(list(*table, kTimeout + 119'999).at(0).second.left_ms, 1u) << "the timer that ran when the last session ended";
  EXPECT_EQ(list(*table, kTimeout + 120'000).size(), 0u);

  const TemplateId second = table->add(client(2), server(3), kTimeout, 0, kAny).id;
  const auto later = table->find(client(2), 30'000, kAny);
  EXPECT_EQ(later.id, second);
  EXPECT_EQ(list(*table, 30'000).at(0).second.left_ms, 60'000u) << "not the service's 20 s: ip_vs_conn_expire() has set 60 s";
}

TEST(TemplateTable, ATemplateWhoseServerMayNotBeUsedIsReplacedAndLivesOnUnfound) {
  const auto table = table_of();
  const TemplateId old = table->add(client(1), server(3), kTimeout, 0, kAny).id;
  EXPECT_EQ(table->find(client(1), 1000, kNone).outcome, Outcome::kDead);
  EXPECT_EQ(table->find(client(1), 1000, kAny).outcome, Outcome::kAbsent);
  const auto fresh = table->add(client(1), server(1), kTimeout, 1000, kAny);
  EXPECT_NE(fresh.id, old);
  EXPECT_EQ(table->find(client(1), 1500, kAny).server, server(1));
  EXPECT_EQ(list(*table, 2000).size(), 2u);
  table->release(old, 2000);
  EXPECT_EQ(list(*table, kTimeout).size(), 1u) << "the dead one's timer was not started anew";
}

TEST(TemplateTable, WhoComesSecondGetsTheFirstOnesServer) {
  const auto table = table_of();
  const auto first = table->add(client(1), server(3), kTimeout, 0, kAny);
  const auto second = table->add(client(1), server(1), kTimeout, 0, kAny);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(second.server, server(3));
  EXPECT_EQ(list(*table, 1).at(0).second.sessions, 2u);
}

TEST(TemplateTable, AFullTableSaysSoAndTakesNewOnesWhenOldOnesAreOver) {
  const auto table = table_of(2 * TemplateTable::kStripes);
  std::uint32_t made = 0;
  std::vector<TemplateId> ids;
  for (std::uint32_t n = 0; n < 4096; n++) {
    const auto answer = table->add(client(n), server(1), kTimeout, 0, kAny);
    if (answer.outcome != Outcome::kTaken) continue;
    made++;
    ids.push_back(answer.id);
  }
  EXPECT_EQ(made, 2 * TemplateTable::kStripes) << "4096 clients fill every stripe";
  EXPECT_EQ(table->add(client(9000), server(1), kTimeout, 1, kAny).outcome, Outcome::kAbsent);
  EXPECT_EQ(table->find(client(0), 1, kAny).outcome, Outcome::kTaken) << "who has one keeps it";
  table->release(ids[0], 1);
  for (const TemplateId id : ids) table->release(id, 1);
  EXPECT_EQ(table->add(client(9000), server(1), kTimeout, kTimeout + 1, kAny).outcome, Outcome::kTaken);
  std::uint32_t freed = 0;
  for (std::uint32_t s = 0; s < TemplateTable::kStripes; s++) freed += table->sweep(s, 100, kTimeout + 1);
  EXPECT_EQ(freed, 2 * TemplateTable::kStripes) << "those that made room included";
}

TEST(TemplateTable, AHeldStripeIsSaidToBeBusyAndDelaysNoRelease) {
  const auto table = table_of();
  const TemplateId id = table->add(client(1), server(3), kTimeout, 0, kAny).id;
  {
    const TemplateTable::Hold hold(*table, client(1));
    EXPECT_EQ(table->find(client(1), 1, kAny).outcome, Outcome::kBusy);
    EXPECT_EQ(table->add(client(1), server(2), kTimeout, 1, kAny).outcome, Outcome::kBusy);
    table->release(id, 1);
  }
  EXPECT_EQ(table->find(client(1), 2, kAny).outcome, Outcome::kTaken);
}

/// IPVS as it is written down: each template has a timer that really fires.
class Model {
 public:
  struct Entry {
    std::uint32_t server;
    std::uint32_t timeout;
    std::uint32_t deadline;
    std::uint32_t sessions;
    bool dead;
  };
  void advance(std::uint32_t now_ms) {
    for (auto e = entries.begin(); e != entries.end();) {
      while (static_cast<std::int32_t>(now_ms - e->second.deadline) >= 0 && e->second.sessions != 0) {
        e->second.timeout = 60'000;
        e->second.deadline += e->second.timeout;
      }
      e = static_cast<std::int32_t>(now_ms - e->second.deadline) >= 0 ? entries.erase(e) : std::next(e);
    }
  }
  std::multimap<std::uint32_t, Entry> entries;
};

TEST(TemplateTable, EqualsAModelThatRunsItsTimers) {
  for (std::uint32_t seed = 1; seed <= 8; seed++) {
    std::mt19937 engine(seed);
    const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
    const auto table = table_of(256 * TemplateTable::kStripes);
    Model model;
    std::vector<std::pair<TemplateId, Model::Entry*>> sessions;
    std::set<std::uint32_t> gone;
    // The clock of a worker runs over now and then.
    std::uint32_t now = seed % 2 == 0 ? 0xffffffffu - 100'000 : 1000;
    for (int step = 0; step < 1500; step++) {
      now += random() % 4 == 0 ? random() % 30'000 : random() % 500;
      model.advance(now);
      const std::uint32_t what = random() % 100;
      if (what < 45) {
        const std::uint32_t who = random() % 12;
        const auto usable = [&](const TemplateServer& s) { return !gone.contains(s.address.v4_part().host() & 0xff); };
        auto [from, to] = model.entries.equal_range(who);
        Model::Entry* expected = nullptr;
        for (auto e = from; e != to; ++e) {
          if (!e->second.dead) expected = &e->second;
        }
        if (expected != nullptr && gone.contains(expected->server)) {
          expected->dead = true;
          ASSERT_EQ(table->find(client(who), now, usable).outcome, Outcome::kDead);
          expected = nullptr;
        }
        TemplateTable::Answer answer;
        if (expected != nullptr) {
          answer = table->find(client(who), now, usable);
        } else {
          ASSERT_EQ(table->find(client(who), now, usable).outcome, Outcome::kAbsent);
          const std::uint32_t chosen = 1 + random() % 4;
          answer = table->add(client(who), server(chosen), 5000 + who * 1000, now, kAny);
          expected = &model.entries.insert({who, {chosen, 5000 + who * 1000, now, 0, false}})->second;
        }
        ASSERT_EQ(answer.outcome, Outcome::kTaken);
        ASSERT_EQ(answer.server, server(expected->server)) << "seed " << seed << " step " << step;
        expected->sessions++;
        expected->deadline = now + expected->timeout;
        sessions.push_back({answer.id, expected});
      } else if (what < 90) {
        if (sessions.empty()) continue;
        const std::size_t n = random() % sessions.size();
        table->release(sessions[n].first, now);
        sessions[n].second->sessions--;
        sessions.erase(sessions.begin() + static_cast<std::ptrdiff_t>(n));
      } else if (what < 94) {
        const std::uint32_t n = 1 + random() % 4;
        if (!gone.erase(n)) gone.insert(n);
      } else {
        for (std::uint32_t s = 0; s < TemplateTable::kStripes; s++) (void)table->sweep(s, random() % 8, now);
      }
      model.advance(now);
      std::multiset<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, bool>> have, want;
      for (const auto& [who, t] : list(*table, now)) have.insert({who, t.sessions, t.left_ms, t.dead});
      for (const auto& [who, e] : model.entries) want.insert({who, e.sessions, e.deadline - now, e.dead});
      ASSERT_EQ(have, want) << "seed " << seed << " step " << step;
    }
  }
}

TEST(TemplateTable, ThreadsThatMeetAClientAtOnceAgreeOnItsServer) {
  constexpr std::uint32_t kThreads = 4, kClients = 24, kRounds = 3000;
  const auto table = table_of();
  // Whoever holds a session of a client's template says which server it has; all holders at one time must say the same.
  std::vector<std::atomic<std::uint64_t>> holders(kClients);
  std::atomic<std::uint64_t> created{0}, freed{0};
  std::atomic<std::uint32_t> clock{1000};
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < kThreads; thread++) {
    threads.emplace_back([&, thread] {
      std::mt19937 engine(thread);
      const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
      for (std::uint32_t round = 0; round < kRounds; round++) {
        // Workers read one clock.
        if (thread == 0 && round % 10 == 0) clock++;
        const std::uint32_t who = random() % kClients, now = clock;
        auto answer = table->find(client(who), now, kAny);
        bool mine = false;
        if (answer.outcome == Outcome::kAbsent) {
          mine = true;
          answer = table->add(client(who), server(1 + thread), 3, now, [&](const TemplateServer&) {
            mine = false;
            return true;
          });
        }
        if (answer.outcome != Outcome::kTaken) continue;  // busy: the client would try again
        created += mine ? 1 : 0;
        // | server : 32 | holders : 32 |
        const std::uint64_t number = answer.server.address.v4_part().host() & 0xff;
        std::uint64_t before = holders[who].load();
        for (;;) {
          if ((before & 0xffffffffu) != 0) {
            EXPECT_EQ(before >> 32, number) << "client " << who;
          }
          if (holders[who].compare_exchange_weak(before, number << 32 | ((before & 0xffffffffu) + 1))) break;
        }
        if (random() % 8 == 0) std::this_thread::yield();
        holders[who] -= 1;
        table->release(answer.id, now);
        if (random() % 16 == 0) freed += table->sweep(random() % TemplateTable::kStripes, 8, now);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::uint64_t left = 0;
  // What made room for others has been freed, too, and is told by the next sweep of its stripe.
  for (std::uint32_t s = 0; s < TemplateTable::kStripes; s++) freed += table->sweep(s, 0, 1000);
  table->for_each(1000, [&](const TemplateTable::View& view) {
    EXPECT_EQ(view.sessions, 0u);
    left++;
  });
  EXPECT_EQ(created, freed + left);
  EXPECT_GT(created, kClients);
}

}  // namespace
}  // namespace millrace
