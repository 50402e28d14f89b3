// quic-cid in the pipeline: connection ids, sessions and hashing in their order, with the packets of real flows.
#include <gtest/gtest.h>

#include "support/flow.h"
#include "support/fragmenting.h"

namespace millrace::test {
namespace {

constexpr std::uint16_t kQuicPort = 443;

TablesConfig quic_tables(std::uint32_t workers) {
  TablesConfig config = default_tables(workers);
  ServiceConfig service;
  service.name = "quic";
  service.address = ip(kVip);
  service.port = be16(kQuicPort);
  service.protocol = 17;
  service.scheduler = scheduler_named("quic-cid");
  service.scheduler_options.connection_id = ConnectionIdFormat::kKatran;
  for (const std::uint32_t id : {11u, 12u, 13u})
    service.servers.push_back({ip("10.0.2." + std::to_string(id)), be16(4433), 1, id});
  config.services.push_back(service);
  return config;
}

Flow quic_flow(Bytes payload, std::uint16_t client_port = 50000) {
  Flow flow;
  flow.tcp = false;
  flow.source_port = client_port;
  flow.destination_port = kQuicPort;
  flow.payload = std::move(payload);
  return flow;
}

/// A short header whose id names that server, in Katran's version 2.
Bytes names(std::uint8_t id) { return {0x43, 0x80, 0, 0, id, 9, 9, 9, 9, 0, 1, 2, 3}; }
const Bytes kInitial = {0xc0, 0, 0, 0, 1, 8, 0x80, 0, 0, 13, 9, 9, 9, 9, 0, 0};

class QuicSessions : public testing::Test {
 protected:
  QuicSessions() : stage_({.workers = 1}, quic_tables(1)) {}
  ~QuicSessions() override { stage_.expect_accounted(); }

  /// The last byte of the server's address that a client's datagram is sent to; 0 if it is not sent.
  int server_of(const Flow& flow) {
    const std::vector<Sent> sent = stage_.pass_through(flow.build());
    return sent.size() == 1 ? sent[0].bytes[33] : 0;
  }
  std::size_t sessions() { return stage_.state().sessions->size(); }

  Stage stage_;
};

TEST_F(QuicSessions, AClientThatMovesStaysWithItsServer) {
  const int first = server_of(quic_flow(kInitial));
  ASSERT_GE(first, 11);
  const auto id = static_cast<std::uint8_t>(first);
  EXPECT_EQ(server_of(quic_flow(names(id))), first);
  EXPECT_EQ(sessions(), 1u);
  for (std::uint16_t port = 50001; port < 50020; port++) EXPECT_EQ(server_of(quic_flow(names(id), port)), first);
  EXPECT_EQ(sessions(), 20u);
}

TEST_F(QuicSessions, AnUnknownIdStaysWithTheSession) {
  const int first = server_of(quic_flow(names(12)));
  EXPECT_EQ(first, 12);
  EXPECT_EQ(server_of(quic_flow(names(99))), 12);
  EXPECT_EQ(server_of(quic_flow({0x43, 1})), 12);
  EXPECT_EQ(server_of(quic_flow({})), 12);
  EXPECT_EQ(server_of(quic_flow(kInitial)), 12) << "an id that the client made up";
  EXPECT_EQ(sessions(), 1u);
}

TEST_F(QuicSessions, AKnownIdOfAnotherServerReplacesTheSession) {
  EXPECT_EQ(server_of(quic_flow(names(12))), 12);
  EXPECT_EQ(server_of(quic_flow(names(13))), 13) << "the address has become another client's";
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(stage_.count(Counter::sessions_created), 2u);
  EXPECT_EQ(server_of(quic_flow(names(99))), 13);
}

TEST_F(QuicSessions, PacketsOfOneBatchFollowEachOther) {
  EXPECT_EQ(server_of(quic_flow(names(11))), 11);
  const std::uint8_t ids[] = {11, 12, 99, 13, 13, 11, 99};
  for (const std::uint8_t id : ids) ASSERT_TRUE(stage_.inject(quic_flow(names(id)).build()));
  stage_.settle();
  const std::vector<Sent> sent = stage_.take();
  ASSERT_EQ(sent.size(), std::size(ids));
  const int expected[] = {11, 12, 12, 13, 13, 11, 11};
  for (std::size_t i = 0; i < sent.size(); i++) EXPECT_EQ(sent[i].bytes[33], expected[i]) << i;
  EXPECT_EQ(sessions(), 1u);
}

TEST_F(QuicSessions, ADrainedServerKeepsItsConnectionsAndAForgottenOneLosesThem) {
  TablesConfig tables = quic_tables(1);
  tables.services.back().servers[1].weight = 0;
  stage_.apply(tables);
  EXPECT_EQ(server_of(quic_flow(names(12))), 12);
  tables.services.back().servers.erase(tables.services.back().servers.begin() + 1);
  stage_.apply(tables);
  EXPECT_NE(server_of(quic_flow(names(12), 50001)), 12);
  EXPECT_EQ(server_of(quic_flow(names(12))), 12) << "the session is still there";
}

TEST(QuicFragments, AFlowThatBeganWithAFragmentStaysOnItsWorkerWhenAnIdMovesIt) {
  constexpr std::uint32_t workers = 2;
  for (std::uint32_t arrives_at = 0; arrives_at < workers; arrives_at++) {
    Stage stage({.workers = workers}, quic_tables(workers));
    Bytes long_one = names(12);
    long_one.resize(2000);
    for (const Bytes& fragment : fragments_of(quic_flow(long_one).build(), 1000, 1)) stage.pass_through(fragment, kClientSide, arrives_at);
    ASSERT_EQ(stage.count(Counter::sessions), 1u);
    stage.pass(FragmentHomes::kMarkMs + 1);  // no search is remembered any more: only the session keeps the mark
    for (const std::uint8_t id : {std::uint8_t{13}, std::uint8_t{99}}) {
      for (std::uint32_t worker = 0; worker < workers; worker++) {
        const std::vector<Sent> sent = stage.pass_through(quic_flow(names(id)).build(), kClientSide, worker);
        ASSERT_EQ(sent.size(), 1u);
        EXPECT_EQ(sent[0].bytes[33], 13) << "worker " << worker;
      }
    }
    EXPECT_EQ(stage.count(Counter::sessions), 1u) << "fragments arrived at worker " << arrives_at;
    stage.expect_accounted();
  }
}

TEST(SchedulerTables, AnIdThatChangesIsKnownWithoutAnyOtherChange) {
  TablesConfig tables = quic_tables(1);
  TableBuilder builder(1);
  ASSERT_TRUE(builder.reserve().ok());
  const auto lookup_of = [](const ServiceTables& built) {
    return built.services.find(ServiceKey{ip(kVip), be16(kQuicPort), 17})->second->lookup;
  };
  const auto before = std::move(builder.apply(tables)).value();
  tables.services.back().servers[0].id = 77;
  const auto after = std::move(builder.apply(tables)).value();
  EXPECT_TRUE(lookup_of(*before)->ids.contains(11));
  EXPECT_FALSE(lookup_of(*after)->ids.contains(11));
  EXPECT_EQ(lookup_of(*after)->ids.at(77), 2u) << "the first of the configuration is the last of the list";
  const auto same = std::move(builder.apply(tables)).value();
  EXPECT_EQ(lookup_of(*same), lookup_of(*after)) << "nothing changed, nothing is built";
}

TEST(SchedulerTables, AServerThatIsDrainedAndRemovedAndComesBackDrainedKeepsItsPlaceInMaglev) {
  TablesConfig tables = quic_tables(1);
  tables.services.back().scheduler = scheduler_named("mh");
  TableBuilder builder(1);
  ASSERT_TRUE(builder.reserve().ok());
  const auto slots_of = [](const ServiceTables& built) {
    return built.services.find(ServiceKey{ip(kVip), be16(kQuicPort), 17})->second->lookup->slots;
  };
  const auto full = slots_of(*std::move(builder.apply(tables)).value());
  tables.services.back().servers[2].weight = 0;
  EXPECT_EQ(slots_of(*std::move(builder.apply(tables)).value()), full);
  TablesConfig without = tables;
  without.services.back().servers.pop_back();
  EXPECT_NE(slots_of(*std::move(builder.apply(without)).value()), full);
  // It is the newest server again, at the head of the list as it was, and not yet forgotten.
  EXPECT_EQ(slots_of(*std::move(builder.apply(tables)).value()), full);
}

TEST(SchedulerTables, CountedServersAreThoseOfCountingSchedulers) {
  TablesConfig tables = default_tables(2);
  TableBuilder builder(2);
  ASSERT_TRUE(builder.reserve().ok());
  EXPECT_TRUE(std::move(builder.apply(tables)).value()->counted.empty());
  tables.services[1].scheduler = scheduler_named("wlc");
  EXPECT_EQ(std::move(builder.apply(tables)).value()->counted.size(), tables.services[1].servers.size());
}

}  // namespace
}  // namespace millrace::test
