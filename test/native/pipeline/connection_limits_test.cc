// Connection limits through the whole pipeline: the recorded sequences of a live IPVS, exactness over workers and threads, when a server
// opens again, and what changes of the configuration do.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "schedulers/registry.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

Flow from(std::uint16_t port) {
  Flow f;
  f.source_port = port;
  return f;
}
Flow question(std::uint16_t port) {
  Flow f = from(port);
  f.tcp = false;
  f.destination_port = 53;
  return f;
}

/// One service of default_tables() with so many servers.
TablesConfig only(std::uint8_t protocol, std::size_t servers, ConnectionLimits limits, std::uint32_t workers = 1) {
  TablesConfig config = default_tables(workers);
  std::erase_if(config.services, [&](const ServiceConfig& s) { return s.protocol != protocol || !s.address.is_v4(); });
  auto& list = config.services.at(0).servers;
  const be16 port = list.at(0).port;
  list.clear();
  for (std::size_t i = 0; i < servers; i++) {
    ServerConfig server{ip("10.0.2.1" + std::to_string(i + 1)), port, 1};
    server.limits = limits;
    list.push_back(server);
  }
  return config;
}

/// The number of the server that a new connection got, as recordings write it.
std::string connect(Stage& stage, const Flow& flow, std::uint32_t worker = 0) {
  for (const Sent& sent : stage.pass_through(flow.build(), kClientSide, worker)) {
    if (sent.interface == kServerSide) return address_at(sent.bytes, 30, false).substr(8);
  }
  return "-";
}
std::string connect_all(Stage& stage, int count, std::uint32_t workers = 1) {
  std::string answers;
  for (int i = 0; i < count; i++) {
    answers += (i == 0 ? "" : " ") +
               connect(stage, from(static_cast<std::uint16_t>(40000 + i)), static_cast<std::uint32_t>(i) % workers);
  }
  return answers;
}

TEST(ConnectionLimits, EqualTheRecordedSequencesForEveryScheduler) {
  const auto file = std::filesystem::absolute(__FILE__).parent_path().parent_path() / "schedulers/recordings/thresholds.txt";
  std::ifstream in(file);
  ASSERT_TRUE(in.good()) << file;
  int sets = 0;
  std::string head;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("set ")) {
      head = line;
      continue;
    }
    std::istringstream words(head);
    std::string set, scheduler, options, weights;
    ConnectionLimits limits;
    words >> set >> scheduler >> options >> weights >> limits.upper;
    const std::size_t servers = static_cast<std::size_t>(std::count(weights.begin(), weights.end(), ',')) + 1;
    TablesConfig tables = only(6, servers, limits);
    tables.services[0].scheduler = *scheduler_kind(scheduler);
    Stage stage({}, tables);
    const int count = static_cast<int>(std::count(line.begin(), line.end(), ' ')) + 1;
    EXPECT_EQ(connect_all(stage, count), line) << head;
    stage.expect_accounted();
    sets++;
  }
  EXPECT_EQ(sets, 14);
}

class OverWorkers : public testing::TestWithParam<std::uint32_t> {};

TEST_P(OverWorkers, AServerGetsExactlyAsManySessionsAsItsThreshold) {
  const std::uint32_t workers = GetParam();
  Stage stage({.workers = workers}, only(6, 1, {5, 0}, workers));
  EXPECT_EQ(connect_all(stage, 20, workers), "1 1 1 1 1 - - - - - - - - - - - - - - -");
  EXPECT_EQ(stage.count(Counter::sessions), 5u);
  EXPECT_EQ(stage.count(DropReason::no_server), 15u);
  stage.expect_accounted();
  stage.pass(61'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 0u);
  EXPECT_EQ(connect_all(stage, 6, workers), "1 1 1 1 1 -") << "and as many again when they have gone";
}

TEST_P(OverWorkers, AServiceGetsExactlyAsManySessionsAsItAllows) {
  const std::uint32_t workers = GetParam();
  TablesConfig tables = only(6, 2, {}, workers);
  tables.services[0].max_connections = 5;
  Stage stage({.workers = workers}, tables);
  (void)connect_all(stage, 20, workers);
  EXPECT_EQ(stage.count(Counter::sessions), 5u);
  EXPECT_EQ(stage.count(DropReason::connection_limit), 15u);
  stage.expect_accounted();
}

TEST_P(OverWorkers, SessionsThatWereThereBeforeTheLimitCount) {
  const std::uint32_t workers = GetParam();
  Stage stage({.workers = workers}, only(6, 1, {}, workers));
  (void)connect_all(stage, 7, workers);
  TablesConfig limited = only(6, 1, {10, 0}, workers);
  limited.services[0].max_connections = 9;
  stage.apply(limited);
  stage.settle();
  for (std::uint16_t i = 0; i < 10; i++) (void)connect(stage, from(static_cast<std::uint16_t>(50000 + i)), i % workers);
  EXPECT_EQ(stage.count(Counter::sessions), 9u);
  limited.services[0].max_connections = 0;
  stage.apply(limited);
  stage.settle();
  for (std::uint16_t i = 0; i < 10; i++) (void)connect(stage, from(static_cast<std::uint16_t>(51000 + i)), i % workers);
  EXPECT_EQ(stage.count(Counter::sessions), 10u) << "what is left is the server's threshold";
  stage.apply(only(6, 1, {12, 0}, workers));
  stage.settle();
  for (std::uint16_t i = 0; i < 10; i++) (void)connect(stage, from(static_cast<std::uint16_t>(52000 + i)), i % workers);
  EXPECT_EQ(stage.count(Counter::sessions), 12u) << "a threshold that is raised opens the server";
  stage.apply(only(6, 1, {}, workers));
  stage.settle();
  for (std::uint16_t i = 0; i < 10; i++) (void)connect(stage, from(static_cast<std::uint16_t>(53000 + i)), i % workers);
  EXPECT_EQ(stage.count(Counter::sessions), 22u) << "without one there is no limit";
}

INSTANTIATE_TEST_SUITE_P(Workers, OverWorkers, testing::Values(1u, 2u, 8u));

/// How many sessions a closed server has when it takes the next one.
std::uint64_t opens_at(ConnectionLimits limits) {
  Stage stage({}, only(17, 1, limits));
  for (std::uint16_t i = 0; i < limits.upper; i++) {
    EXPECT_EQ(connect(stage, question(static_cast<std::uint16_t>(40000 + i))), "1");
    stage.pass(10'000);
  }
  EXPECT_EQ(connect(stage, question(50000)), "-");
  for (std::uint16_t i = 0; i < 100; i++) {  // datagrams' sessions are inactive, and go one after the other
    const std::uint64_t before = stage.count(Counter::sessions);
    if (connect(stage, question(static_cast<std::uint16_t>(50001 + i))) == "1") return before;
    stage.pass(10'000);
    stage.settle();
  }
  return ~0ull;
}

TEST(ConnectionLimits, AServerOpensAgainWhereIpvsOpensIt) {
  EXPECT_EQ(opens_at({8, 0}), 5u);
  EXPECT_EQ(opens_at({8, 4}), 3u);
  EXPECT_EQ(opens_at({8, 2}), 1u);
  EXPECT_EQ(opens_at({3, 1}), 0u);
}

TEST(ConnectionLimits, ASessionThatCannotBeginLeavesItsPlace) {
  Stage stage({.local_port_low = 2000, .local_port_high = 2000}, only(6, 1, {2, 0}));
  EXPECT_EQ(connect_all(stage, 4), "1 - - -");
  EXPECT_EQ(stage.count(DropReason::local_ports_exhausted), 3u) << "and not full";
}

TEST(ConnectionLimits, ThreadsThatBeginAndEndSessionsNeverExceedThem) {
  constexpr std::uint32_t workers = 4;
  constexpr std::uint32_t limit = 7;
  TablesConfig tables = only(6, 1, {limit, limit}, workers);
  Stage stage({.workers = workers}, tables);
  for (std::uint32_t worker = 0; worker < workers; worker++) (void)stage.turn(worker);
  std::atomic<std::uint32_t> running{workers};
  std::vector<std::thread> threads;
  for (std::uint32_t worker = 0; worker < workers; worker++) {
    threads.emplace_back([&, worker] {
      std::uint32_t now = stage.now_ms();
      for (std::uint16_t i = 0; i < 2000; i++) {
        EXPECT_TRUE(stage.inject(from(static_cast<std::uint16_t>(2000 + i)).build(), kClientSide, worker));
        (void)stage.loop(worker).turn(&stage.snapshot(), now);
        (void)stage.take(worker);
        if (i % 3 == 0 && i < 1990) now += 31'000;  // SYN received lasts 60 s
      }
      running--;
    });
  }
  ConnectionGate gate(stage.loads().server_gates()[0]);
  std::uint32_t most = 0;
  while (running != 0) most = std::max(most, gate.count());
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, limit);
  EXPECT_GT(stage.count(Counter::sessions_expired), 100u);
  EXPECT_EQ(stage.count(Counter::sessions), gate.count());
  EXPECT_EQ(gate.count(), limit) << "the last attempts of all found it full";
}

TEST(AccessLists, DecideAboutNewSessionsAndLeaveOldOnesAlone) {
  TablesConfig tables = only(6, 1, {});
  Stage stage({}, tables);
  EXPECT_EQ(connect(stage, from(40000)), "1");
  tables.services[0].access = {{ip("198.51.100.0"), 120, false}, {ip("198.51.100.8"), 128, true}};
  stage.apply(tables);
  EXPECT_EQ(connect(stage, from(40001)), "-");
  EXPECT_EQ(stage.count(DropReason::access_denied), 1u);
  Flow later = from(40000);
  later.flags = kAck;
  EXPECT_EQ(connect(stage, later), "1") << "a session that was there goes on";
  Flow other = from(40002);
  other.source = "198.51.100.8";
  EXPECT_EQ(connect(stage, other), "1") << "the longer prefix decides";
  tables.services[0].allow_others = false;
  stage.apply(tables);
  other.source = "192.0.2.200";
  EXPECT_EQ(connect(stage, other), "-") << "others are denied now";
  stage.expect_accounted();
}

TEST(ServiceTimeouts, AreThoseOfTheServiceAndChangeWithIt) {
  TablesConfig tables = default_tables(1);
  ASSERT_EQ(tables.services[0].protocol, 6);
  ASSERT_EQ(tables.services[1].protocol, 17);
  tables.services[0].timeouts_ms = tables.timeouts_ms;
  (*tables.services[0].timeouts_ms)[static_cast<std::size_t>(SessionState::kSynRecv)] = 5'000;
  Stage stage({}, tables);
  (void)connect(stage, from(40000));
  (void)connect(stage, question(40000));
  stage.pass(4'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 2u);
  stage.pass(2'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 1u) << "the other service has the timeouts of all";
  (*tables.services[0].timeouts_ms)[static_cast<std::size_t>(SessionState::kSynRecv)] = 20'000;
  stage.apply(tables);
  EXPECT_EQ(stage.snapshot().services->timeout_tables.size(), 3u) << "the old place is free for the next one";
  (void)connect(stage, from(40001));
  stage.pass(19'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 2u);
  tables.services[0].timeouts_ms.reset();
  stage.apply(tables);
  (void)connect(stage, from(40001));
  stage.pass(59'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 2u);
}

}  // namespace
}  // namespace millrace::test
