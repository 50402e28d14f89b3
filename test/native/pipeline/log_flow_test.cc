// What workers tell operators: each refusal leaves exactly its record, with whom it was about; a session that is served leaves none; a log
// that nobody reads changes nothing for packets.
#include "pipeline/log_flow.h"

#include <gtest/gtest.h>

#include "support/flow.h"

namespace millrace::test {
namespace {

/// The log of a stage, as the thread that drains it sees it.
class Log {
 public:
  explicit Log(Stage& stage, std::uint32_t rate = 1000) {
    std::vector<std::shared_ptr<WorkerLog>> logs;
    for (std::uint32_t worker = 0; worker < stage.workers(); worker++) logs.push_back(stage.memory(worker).log());
    reader_ = LogReader::open(std::make_shared<LogSource>(std::move(logs)), rate);
  }
  std::vector<LogRecord> take() {
    std::vector<LogRecord> records(8192);
    records.resize(reader_->drain(records));
    return records;
  }
  LogReader& reader() { return *reader_; }

 private:
  std::unique_ptr<LogReader> reader_;
};

struct Expected {
  LogEvent event;
  DropReason reason;
  std::uint64_t value = 0;
  bool has_server = false;
  std::uint8_t protocol = 6;
  std::uint16_t client_port = 40000;
};

/// Exactly one record since the last call, and this one.
void expect_record(Log& log, const Expected& expected) {
  const auto records = log.take();
  ASSERT_EQ(records.size(), 1u);
  const LogRecord& r = records[0];
  EXPECT_EQ(r.event, expected.event) << kLogEventInfo[static_cast<std::size_t>(r.event)].name;
  EXPECT_EQ(r.reason, expected.reason);
  EXPECT_EQ(r.value, expected.value);
  EXPECT_EQ(r.server != kNoLogSlot, expected.has_server);
  EXPECT_EQ(r.protocol, expected.protocol);
  EXPECT_EQ(r.client, ip("198.51.100.7"));
  EXPECT_EQ(r.destination, ip(kVip));
  EXPECT_EQ(r.client_port.host(), expected.client_port);
  EXPECT_EQ(r.destination_port.host(), expected.protocol == 6 ? 80 : 53);
  EXPECT_NE(r.service, kNoLogSlot);
  EXPECT_EQ(r.worker, 0);
}

Flow syn(std::uint16_t port) {
  Flow f;
  f.source_port = port;
  return f;
}
Flow datagram(std::size_t bytes) {
  Flow f = syn(40000);
  f.tcp = false;
  f.destination_port = 53;
  f.payload = Bytes(bytes, 'x');
  return f;
}

ServiceConfig& web(TablesConfig& tables) { return tables.services.at(0); }

TEST(LogFlow, ASessionThatIsServedLeavesNoRecord) {
  Stage stage({});
  Log log(stage);
  const Flow f = syn(40000);
  const Flow at_server = expect_forwarded(stage, f);
  Flow reply = reply_of(at_server);
  reply.flags = kSyn | kAck;
  expect_returned(stage, reply, f);
  EXPECT_TRUE(log.take().empty());
  EXPECT_EQ(stage.count(Counter::log_records), 0u);
}

TEST(LogFlow, NoServer) {
  TablesConfig tables = default_tables(1);
  for (ServerConfig& server : web(tables).servers) server.weight = 0;
  Stage stage({}, tables);
  Log log(stage);
  stage.pass_through(syn(40000).build());
  EXPECT_EQ(stage.count(DropReason::no_server), 1u);
  expect_record(log, {LogEvent::no_server, DropReason::no_server, 2});
}

TEST(LogFlow, ConnectionLimit) {
  TablesConfig tables = default_tables(1);
  web(tables).max_connections = 1;
  Stage stage({}, tables);
  Log log(stage);
  stage.pass_through(syn(40000).build());
  EXPECT_TRUE(log.take().empty());
  stage.pass_through(syn(40001).build());
  expect_record(log, {.event = LogEvent::connection_limit, .reason = DropReason::connection_limit, .value = 1, .client_port = 40001});
}

TEST(LogFlow, AccessDenied) {
  TablesConfig tables = default_tables(1);
  web(tables).allow_others = false;
  Stage stage({}, tables);
  Log log(stage);
  expect_dropped(stage, syn(40000).build(), DropReason::access_denied);
  expect_record(log, {LogEvent::access_denied, DropReason::access_denied});
}

TEST(LogFlow, PortPoolExhausted) {
  TablesConfig tables = default_tables(1);
  web(tables).servers.resize(1);
  Stage stage({.local_port_low = 2000, .local_port_high = 2000}, tables);
  Log log(stage);
  stage.pass_through(syn(40000).build());
  expect_dropped(stage, syn(40001).build(), DropReason::local_ports_exhausted);
  expect_record(log, {.event = LogEvent::local_ports_exhausted, .reason = DropReason::local_ports_exhausted, .value = 1, .has_server = true,
                      .client_port = 40001});
}

TEST(LogFlow, SessionTableFull) {
  Stage stage({.max_sessions = 16});
  Log log(stage);
  std::uint16_t port = 40000;
  while (stage.count(DropReason::session_table_full) == 0) stage.pass_through(syn(port++).build());
  expect_record(log, {.event = LogEvent::session_table_full, .reason = DropReason::session_table_full,
                      .value = stage.state().sessions->capacity(), .has_server = true, .client_port = static_cast<std::uint16_t>(port - 1)});
}

TEST(LogFlow, RateLimitOfNewAndOfExistingSessions) {
  TablesConfig tables = default_tables(1);
  web(tables).rates = {.packets = 20};
  Stage stage({}, tables);
  Log log(stage);
  for (int n = 0; n < 10; n++) stage.pass_through(syn(40000).build());
  EXPECT_TRUE(log.take().empty());
  expect_dropped(stage, syn(40000).build(), DropReason::service_packet_rate);
  expect_record(log, {LogEvent::rate_limit, DropReason::service_packet_rate, 20, true});
  expect_dropped(stage, syn(40001).build(), DropReason::service_packet_rate);
  expect_record(log, {.event = LogEvent::rate_limit, .reason = DropReason::service_packet_rate, .value = 20, .has_server = true, .client_port = 40001});
}

TEST(LogFlow, RateLimitOfAServersAnswersNamesTheClient) {
  TablesConfig tables = default_tables(1);
  for (ServerConfig& server : web(tables).servers) server.rates = {.bits = 8000};
  Stage stage({}, tables);
  const Flow f = syn(40000);
  Flow reply = reply_of(expect_forwarded(stage, f));
  reply.flags = kAck;
  reply.payload = Bytes(1400, 'x');
  Log log(stage);
  while (stage.count(DropReason::server_bandwidth) == 0) stage.pass_through(reply.build(), kServerSide);
  expect_record(log, {LogEvent::rate_limit, DropReason::server_bandwidth, 8000, true});
}

TEST(LogFlow, Persistence) {
  TablesConfig tables = default_tables(1);
  web(tables).persistence.timeout_ms = 20'000;
  {
    Stage stage({}, tables);
    Log log(stage);
    const auto& persistence = stage.snapshot().services->services.find(ServiceKey{ip(kVip), be16(80), 6})->second->persistence;
    const TemplateTable::Hold hold(stage.templates(), {ip("198.51.100.7"), persistence->scope});
    expect_dropped(stage, syn(40000).build(), DropReason::persistence_busy);
    expect_record(log, {LogEvent::persistence_busy, DropReason::persistence_busy});
  }
  Stage stage({.max_templates = 1}, tables);
  Log log(stage);
  Flow f = syn(40000);
  for (int n = 1; stage.count(Counter::templates_refused) == 0; n++) {
    f.source = "198.51." + std::to_string(n / 200) + "." + std::to_string(1 + n % 200);
    stage.pass_through(f.build());
  }
  const auto records = log.take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].event, LogEvent::templates_full);
  EXPECT_EQ(records[0].reason, DropReason::kCount) << "nothing was dropped";
  EXPECT_EQ(records[0].client, ip(f.source));
  EXPECT_NE(records[0].server, kNoLogSlot);
}

ClientAddressConfig accepting() {
  ClientAddressConfig rule;
  rule.accept_from = {Prefix{ip("198.51.100.0"), 120}};
  return rule;
}

TEST(LogFlow, ProxyHeaderMalformedOverTcp) {
  TablesConfig tables = default_tables(1);
  web(tables).client_address = accepting();
  Stage stage({}, tables);
  Log log(stage);
  Flow f = syn(40000);
  f.seq = 1000;
  Flow answer = reply_of(towards_server(f, stage.pass_through(f.build()).at(0).bytes));
  answer.flags = kSyn | kAck;
  answer.seq = 5000;
  // The server knows the client's numbers shifted; what it acknowledges does not matter here.
  stage.pass_through(answer.build(), kServerSide);
  f.flags = kAck;
  f.seq = 1001;
  f.ack = 5001;
  const std::string wrong = "GET / HTTP/1.1\r\n";
  f.payload = Bytes(wrong.begin(), wrong.end());
  stage.pass_through(f.build());
  EXPECT_EQ(stage.count(DropReason::proxy_header_malformed), 1u);
  expect_record(log, {LogEvent::proxy_header_malformed, DropReason::proxy_header_malformed, wrong.size(), true});
}

TEST(LogFlow, ProxyHeadersFull) {
  TablesConfig tables = default_tables(1);
  web(tables).client_address = accepting();
  Stage stage({.max_sessions = 80'000}, tables);
  for (std::uint32_t i = 0; i < AcceptedHeaders::kPlaces; i++) stage.state().accepted_headers->take();
  Log log(stage);
  Flow f = syn(40000);
  f.seq = 1000;
  Flow answer = reply_of(towards_server(f, stage.pass_through(f.build()).at(0).bytes));
  answer.flags = kSyn | kAck;
  stage.pass_through(answer.build(), kServerSide);
  f.flags = kAck;
  f.seq = 1001;
  const std::string header = "PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n";
  f.payload = Bytes(header.begin(), header.end());
  expect_dropped(stage, f.build(), DropReason::proxy_headers_full);
  expect_record(log, {LogEvent::proxy_headers_full, DropReason::proxy_headers_full, 0, true});
}

TEST(LogFlow, ProxyHeaderMalformedOverUdp) {
  TablesConfig tables = default_tables(1);
  tables.services.at(1).client_address = accepting();
  Stage stage({}, tables);
  Log log(stage);
  expect_dropped(stage, datagram(30).build(), DropReason::proxy_header_malformed);
  expect_record(log, {LogEvent::proxy_header_malformed, DropReason::proxy_header_malformed, 30, true, 17});
}

TEST(LogFlow, ClientAddressWithoutRoom) {
  TablesConfig tables = default_tables(1);
  tables.services.at(1).client_address.method = ClientAddressMethod::kUoa;
  {
    Stage stage({}, tables);
    Log log(stage);
    EXPECT_EQ(stage.pass_through(datagram(1472).build()).size(), 1u) << "it is sent all the same";
    EXPECT_EQ(stage.count(Counter::client_address_no_room), 1u);
    expect_record(log, {LogEvent::client_address_no_room, DropReason::kCount, 1500, true, 17});
    stage.pass_through(datagram(1472).build());
    EXPECT_TRUE(log.take().empty()) << "told once per connection";
  }
  tables.services.at(1).client_address.method = ClientAddressMethod::kProxyV2;
  tables.services.at(1).client_address.when_too_big = WhenTooBig::kDrop;
  Stage stage({}, tables);
  Log log(stage);
  expect_dropped(stage, datagram(1472).build(), DropReason::client_address_too_big);
  expect_record(log, {LogEvent::client_address_too_big, DropReason::client_address_too_big, 1500, true, 17});
}

/// What the network refuses: the drop, and exactly its record.
void expect_way_refused(NetworkTables network, LogEvent event, DropReason reason, std::uint64_t value = 0,
                        const TablesConfig& tables = default_tables(1)) {
  Stage stage({}, tables);
  Log log(stage);
  stage.network(std::move(network));
  expect_dropped(stage, syn(40000).build(), reason);
  expect_record(log, {event, reason, value, true});
}

TEST(LogFlow, NoWayToTheServer) {
  NetworkTables unreachable = default_network();
  unreachable.routes.add({ip("10.0.2.0"), 120, 0, kServerSide, true});
  expect_way_refused(std::move(unreachable), LogEvent::no_route, DropReason::no_route);

  NetworkTables failed = default_network();
  for (NextHop& hop : failed.next_hops) {
    hop.resolved = false;
    hop.failed = true;
  }
  expect_way_refused(std::move(failed), LogEvent::neighbour_unresolved, DropReason::neighbour_unresolved);

  NetworkTables down = default_network();
  down.interfaces[kServerSide].usable = false;
  expect_way_refused(std::move(down), LogEvent::interface_gone, DropReason::interface_gone, kServerSide);

  TablesConfig direct = default_tables(1);
  for (ServerConfig& server : web(direct).servers) {
    server.mode = ForwardMode::kDirect;
    server.port = be16(80);
  }
  NetworkTables routed = default_network();
  routed.routes.add({ip("10.0.2.0"), 120, 1, kClientSide, false});
  expect_way_refused(std::move(routed), LogEvent::server_not_on_link, DropReason::server_not_on_link, 0, direct);
}

TEST(LogFlow, APacketThatWaitedForItsNeighbourInVain) {
  Stage stage({});
  Log log(stage);
  NetworkTables silent = default_network();
  for (NextHop& hop : silent.next_hops) hop.resolved = false;
  stage.network(std::move(silent));
  stage.pass_through(syn(40000).build());
  EXPECT_TRUE(log.take().empty());
  stage.pass(HeldQueue::kWaitMs);
  stage.settle();
  EXPECT_EQ(stage.count(DropReason::neighbour_unresolved), 1u);
  expect_record(log, {LogEvent::neighbour_unresolved, DropReason::neighbour_unresolved, 0, true});
}

TEST(LogFlow, RingsThatAreFullNameThePlace) {
  Stage stage({.ring_size = 4});
  Log log(stage);
  for (std::uint16_t n = 0; n < 5; n++) {
    ASSERT_TRUE(stage.inject(syn(static_cast<std::uint16_t>(1000 + n)).build()));
    stage.turn();
  }
  EXPECT_EQ(stage.count(DropReason::tx_ring_full), 1u);
  const auto records = log.take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].event, LogEvent::tx_ring_full);
  EXPECT_EQ(records[0].reason, DropReason::tx_ring_full);
  EXPECT_EQ(records[0].value, kServerSide);
  EXPECT_EQ(records[0].service, kNoLogSlot);
  EXPECT_EQ(records[0].protocol, 0);
}

TEST(LogFlow, AFullHandoffRingNamesTheWorkerThatIsBehind) {
  // As in worker_test.cc: frames of workers 0 and 1 meet in the ring from 1 to 2, which holds no more than one worker's frames.
  Stage stage({.workers = 3, .frames_per_worker = 4});
  Log log(stage);
  Flow f;
  f.flags = kAck;
  for (std::uint16_t n = 0; n < 4; n++) {
    f.source_port = static_cast<std::uint16_t>(1000 + n);
    ASSERT_TRUE(stage.inject(f.build(), kClientSide, 0));
    ASSERT_TRUE(stage.inject(f.build(), kClientSide, 1));
  }
  stage.turn(0);
  stage.turn(1);
  EXPECT_EQ(stage.count(DropReason::handoff_ring_full), 4u);
  const auto records = log.take();
  ASSERT_EQ(records.size(), 4u);
  for (const LogRecord& record : records) {
    EXPECT_EQ(record.event, LogEvent::handoff_ring_full);
    EXPECT_EQ(record.worker, 1);
    EXPECT_EQ(record.value, 2u);
  }
  stage.settle();
}

TEST(LogFlow, AFloodIsALineAndACount) {
  TablesConfig tables = default_tables(1);
  for (ServerConfig& server : web(tables).servers) server.weight = 0;
  Stage stage({}, tables);
  Log log(stage, 5);
  for (std::uint16_t n = 0; n < 1000; n++) stage.pass_through(syn(static_cast<std::uint16_t>(2000 + n)).build());
  EXPECT_EQ(log.take().size(), 5u);
  EXPECT_EQ(log.reader().suppressed(LogEvent::no_server), 995u);
  EXPECT_EQ(stage.count(DropReason::no_server), 1000u);
}

TEST(LogFlow, ALogThatNobodyReadsForTenSecondsLosesRecordsAndNoPacket) {
  TablesConfig tables = default_tables(1);
  for (ServerConfig& server : web(tables).servers) server.weight = 0;
  Stage stage({}, tables);
  Log log(stage, 100'000);
  constexpr std::uint32_t kPerMs = 2;
  for (std::uint32_t ms = 0; ms < 10'000; ms++) {
    for (std::uint32_t n = 0; n < kPerMs; n++) stage.pass_through(syn(static_cast<std::uint16_t>(1024 + ms * kPerMs + n)).build());
    stage.pass(1);
  }
  EXPECT_EQ(stage.count(DropReason::no_server), 10'000u * kPerMs) << "every packet was handled";
  EXPECT_EQ(stage.count(Counter::log_records), kLogRingRecords);
  EXPECT_EQ(stage.count(Counter::log_records_dropped), 10'000u * kPerMs - kLogRingRecords);
  stage.expect_accounted();
  EXPECT_EQ(log.take().size(), kLogRingRecords);
  stage.pass_through(syn(60'000).build());
  expect_record(log, {.event = LogEvent::no_server, .reason = DropReason::no_server, .value = 2, .client_port = 60'000});
}

TEST(LogFlow, RecordsHaveTheWorkersTime) {
  TablesConfig tables = default_tables(1);
  web(tables).servers.clear();
  Stage stage({.now_ms = 0xffff'ff00u}, tables);
  Log log(stage);
  stage.pass_through(syn(40000).build());
  stage.pass(0x200);
  stage.pass_through(syn(40001).build());
  const auto records = log.take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].time_ms, 0xffff'ff00ull);
  EXPECT_EQ(records[1].time_ms, 0x1'0000'0100ull);
}

}  // namespace
}  // namespace millrace::test
