// SessionTable against plain models: every lookup path, full tables, long chains, listings, and the figures its header promises.
#include "sessions/session_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "core/hash.h"

namespace millrace {
namespace {

std::unique_ptr<SessionTable> make_table(std::uint32_t capacity) {
  auto table = SessionTable::create(capacity);
  EXPECT_TRUE(table.ok());
  return std::move(table).value();
}

/// Two hashes of session number `n` that differ as those of two directions do.
std::uint64_t hash_in(std::uint64_t n) { return mix64(n * 2 + 1); }
std::uint64_t hash_out(std::uint64_t n) { return mix64(n * 2 + 2); }

/// Finds by the value a test left in Session::packets_in.
SessionRef find_marked(const SessionTable& table, std::uint64_t hash, std::uint32_t mark, Direction direction) {
  return table.find(hash, [&](const Session& session, Direction d) { return session.packets_in == mark && d == direction; });
}

TEST(SessionTable, RefusesCapacitiesItCannotHold) {
  for (const std::uint32_t capacity : {0u, SessionTable::kMaxCapacity + 1}) {
    auto table = SessionTable::create(capacity);
    ASSERT_FALSE(table.ok());
    EXPECT_EQ(table.error().code, "session_table_invalid");
  }
}

TEST(SessionTable, FindsASessionByBothHashesAndTellsTheDirection) {
  auto table = make_table(16);
  const SessionId id = table->insert(hash_in(1), hash_out(1));
  ASSERT_NE(id, kNoSession);
  EXPECT_EQ(table->probe(hash_in(1)), make_ref(id, Direction::kInbound));
  EXPECT_EQ(table->probe(hash_out(1)), make_ref(id, Direction::kOutbound));
  EXPECT_EQ(table->probe(hash_in(2)), kNoRef);
  EXPECT_EQ(ref_id(table->probe(hash_out(1))), id);
  EXPECT_EQ(ref_direction(table->probe(hash_out(1))), Direction::kOutbound);
  EXPECT_EQ(table->size(), 1u);
}

TEST(SessionTable, AnErasedSessionIsFoundByNeitherHash) {
  auto table = make_table(16);
  const SessionId id = table->insert(hash_in(1), hash_out(1));
  EXPECT_TRUE(table->is_live(id));
  table->erase(id, hash_in(1), hash_out(1));
  EXPECT_FALSE(table->is_live(id));
  EXPECT_EQ(table->probe(hash_in(1)), kNoRef);
  EXPECT_EQ(table->probe(hash_out(1)), kNoRef);
  EXPECT_EQ(table->size(), 0u);
}

TEST(SessionTable, ANewSessionIsZeroedAlsoWhenItsMemoryWasUsedBefore) {
  auto table = make_table(1);
  const Session zero{};
  for (std::uint64_t n = 0; n < 3; n++) {
    const SessionId id = table->insert(hash_in(n), hash_out(n));
    ASSERT_NE(id, kNoSession);
    EXPECT_EQ(std::memcmp(&table->at(id), &zero, sizeof(Session)), 0);
    std::memset(static_cast<void*>(&table->at(id)), 0xee, sizeof(Session));
    table->erase(id, hash_in(n), hash_out(n));
  }
}

TEST(SessionTable, OneWaySessionsAreFoundByOneHashOnly) {
  auto table = make_table(16);
  const SessionId id = table->insert_one_way(hash_in(7), Direction::kInbound);
  EXPECT_EQ(table->probe(hash_in(7)), make_ref(id, Direction::kInbound));
  EXPECT_EQ(table->probe(hash_out(7)), kNoRef);
  table->erase_one_way(id, hash_in(7), Direction::kInbound);
  EXPECT_EQ(table->probe(hash_in(7)), kNoRef);
  EXPECT_EQ(table->size(), 0u);
}

TEST(SessionTable, AFullTableRefusesAndAcceptsAgainAfterAnErase) {
  auto table = make_table(1000);
  std::vector<SessionId> ids;
  for (std::uint64_t n = 0; n < 1000; n++) {
    ids.push_back(table->insert(hash_in(n), hash_out(n)));
    ASSERT_NE(ids.back(), kNoSession);
  }
  EXPECT_EQ(table->insert(hash_in(5000), hash_out(5000)), kNoSession);
  EXPECT_EQ(table->probe(hash_in(5000)), kNoRef);
  EXPECT_EQ(table->size(), 1000u);
  table->erase(ids[500], hash_in(500), hash_out(500));
  EXPECT_NE(table->insert(hash_in(5000), hash_out(5000)), kNoSession);
}

TEST(SessionTable, TheSameHashForEverySessionStillWorksUpToTheLastSession) {
  constexpr std::uint32_t kCapacity = 300;
  auto table = make_table(kCapacity);
  std::vector<SessionId> ids;
  for (std::uint32_t n = 0; n < kCapacity; n++) {
    const SessionId id = table->insert(42, 42);
    ASSERT_NE(id, kNoSession);
    table->at(id).packets_in = n;
    ids.push_back(id);
  }
  for (std::uint32_t n = 0; n < kCapacity; n++) {
    EXPECT_EQ(find_marked(*table, 42, n, Direction::kInbound), make_ref(ids[n], Direction::kInbound));
    EXPECT_EQ(find_marked(*table, 42, n, Direction::kOutbound), make_ref(ids[n], Direction::kOutbound));
  }
  // 600 entries of one chain: 85 overflow buckets beyond the first bucket.
  EXPECT_EQ(table->overflow_buckets(), (2 * kCapacity + 6) / 7 - 1);
  for (std::uint32_t n = 0; n < kCapacity; n += 2) table->erase(ids[n], 42, 42);
  for (std::uint32_t n = 0; n < kCapacity; n++) {
    EXPECT_EQ(find_marked(*table, 42, n, Direction::kOutbound) != kNoRef, n % 2 == 1) << n;
  }
  EXPECT_EQ(table->overflow_buckets(), (kCapacity + 6) / 7 - 1);
  for (std::uint32_t n = 1; n < kCapacity; n += 2) table->erase(ids[n], 42, 42);
  EXPECT_EQ(table->overflow_buckets(), 0u);
}

TEST(SessionTable, ErasingWithAWrongHashLeavesOtherEntriesAlone) {
  auto table = make_table(16);
  const SessionId a = table->insert(hash_in(1), hash_out(1));
  const SessionId b = table->insert(hash_in(2), hash_out(2));
  table->erase(a, hash_in(2), hash_out(2));
  EXPECT_EQ(table->probe(hash_in(2)), make_ref(b, Direction::kInbound));
  EXPECT_EQ(table->probe(hash_out(2)), make_ref(b, Direction::kOutbound));
}

TEST(SessionTable, BehavesLikeAMapUnderRandomInsertsAndErases) {
  // Hashes from a small set, so that equal hashes, full buckets and chains happen all the time.
  constexpr std::uint32_t kCapacity = 200;
  auto table = make_table(kCapacity);
  std::mt19937_64 random(1);
  struct Known {
    std::uint64_t in, out;
    std::uint32_t mark;
  };
  std::map<SessionId, Known> model;
  std::uint32_t next_mark = 1;
  for (int step = 0; step < 60000; step++) {
    const bool grow = (step / 3000) % 2 == 0;
    if (random() % 10 < (grow ? 7u : 3u)) {
      const Known known{mix64(random() % 40), mix64(random() % 40), next_mark++};
      const SessionId id = table->insert(known.in, known.out);
      ASSERT_EQ(id == kNoSession, model.size() == kCapacity);
      if (id == kNoSession) continue;
      ASSERT_FALSE(model.contains(id));
      table->at(id).packets_in = known.mark;
      model[id] = known;
    } else if (!model.empty()) {
      auto victim = model.lower_bound(static_cast<SessionId>(random() % kCapacity));
      if (victim == model.end()) victim = model.begin();
      table->erase(victim->first, victim->second.in, victim->second.out);
      ASSERT_EQ(find_marked(*table, victim->second.in, victim->second.mark, Direction::kInbound), kNoRef);
      model.erase(victim);
    }
    ASSERT_EQ(table->size(), model.size());
    if (step % 500 != 0) continue;
    for (const auto& [id, known] : model) {
      ASSERT_EQ(find_marked(*table, known.in, known.mark, Direction::kInbound), make_ref(id, Direction::kInbound));
      ASSERT_EQ(find_marked(*table, known.out, known.mark, Direction::kOutbound), make_ref(id, Direction::kOutbound));
    }
  }
}

TEST(SessionTable, AListingInPiecesVisitsEachLastingSessionOnce) {
  auto table = make_table(1000);
  std::vector<SessionId> ids;
  for (std::uint64_t n = 0; n < 700; n++) ids.push_back(table->insert(hash_in(n), hash_out(n)));
  for (std::uint64_t n = 0; n < 700; n += 3) table->erase(ids[n], hash_in(n), hash_out(n));
  std::map<SessionId, int> seen;
  int calls = 0;
  for (SessionId cursor = 0; cursor != kNoSession; calls++) {
    cursor = table->for_each(cursor, 64, [&](SessionId id, Session&) { seen[id]++; });
    // Something comes and goes between the pieces.
    const auto n = static_cast<std::uint64_t>(10000 + calls);
    const SessionId guest = table->insert(hash_in(n), hash_out(n));
    table->erase(guest, hash_in(n), hash_out(n));
  }
  EXPECT_EQ(calls, 11);
  for (std::uint64_t n = 0; n < 700; n++) EXPECT_EQ(seen[ids[n]], n % 3 == 0 ? 0 : 1) << n;
}

TEST(SessionTable, TheVisitorMayEraseWhatItIsGiven) {
  auto table = make_table(200);
  for (std::uint64_t n = 0; n < 200; n++) {
    const SessionId id = table->insert(hash_in(n), hash_out(n));
    table->at(id).packets_in = static_cast<std::uint32_t>(n);
  }
  int visited = 0;
  table->for_each([&](SessionId id, Session& session) {
    visited++;
    table->erase(id, hash_in(session.packets_in), hash_out(session.packets_in));
  });
  EXPECT_EQ(visited, 200);
  EXPECT_EQ(table->size(), 0u);
}

TEST(SessionTable, AFullTableNeedsFewOverflowBucketsAndLittleMemory) {
  constexpr std::uint32_t kCapacity = 100000;
  auto table = make_table(kCapacity);
  const HashKey key = hash_key_from_seed(3);
  const IpAddress vip = IpAddress::v4(be32(0x0a000001u));
  for (std::uint32_t n = 0; n < kCapacity; n++) {
    const IpAddress client = IpAddress::v4(be32(0xc6120000u + n / 20000));
    const be16 port(static_cast<std::uint16_t>(1025 + n % 20000));
    const IpAddress server = IpAddress::v4(be32(0x0a010000u + n % 7));
    ASSERT_NE(table->insert(flow_hash(key, client, vip, port, be16(80), 6), flow_hash(key, server, client, be16(8080), port, 6)),
              kNoSession);
  }
  const double buckets = 2.0 * kCapacity / 3;
  EXPECT_LT(table->overflow_buckets() / buckets, 0.015);
  EXPECT_GT(table->overflow_buckets(), 0u);
  // Of these, 64 are of the second line, which exists only where a session uses it.
  EXPECT_LE(table->reserved_bytes() / kCapacity, 128u + sizeof(SessionDetail));
}

}  // namespace
}  // namespace millrace
