// Persistence through the pipeline: the conversations recorded of a live IPVS (ipvsadm -p, -M, port 0, firewall marks,
// expire_quiescent_template) give the same servers and the same templates; several workers share them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/flow.h"

namespace millrace::test {
namespace {

/// The recordings' client network, VIP port and three servers, round robin, persistence 20 s.
TablesConfig recorded(std::uint32_t workers = 1) {
  TablesConfig config = default_tables(workers);
  config.services.resize(1);
  ServiceConfig& web = config.services[0];
  web.servers.push_back({ip("10.0.2.13"), web.servers[0].port, 1});
  web.persistence.timeout_ms = 20'000;
  return config;
}

/// Connections of one client to one port, each closed by both sides; the last byte of the server each one met.
class Clients {
 public:
  explicit Clients(Stage& stage) : stage_(stage) {}

  Flow flow(const std::string& client, std::uint16_t vip_port = 80) {
    Flow f;
    f.source = client;
    f.source_port = port_++;
    f.destination_port = vip_port;
    return f;
  }
  std::uint32_t connect(const Flow& f, std::uint32_t worker = 0) {
    const auto sent = stage_.pass_through(f.build(), kClientSide, worker);
    EXPECT_EQ(sent.size(), 1u) << f.source;
    return sent.size() == 1 ? sent[0].bytes[33] - 10u : 0;
  }
  std::vector<std::uint32_t> connect(const std::string& client, int times, std::uint16_t vip_port = 80, std::uint32_t worker = 0) {
    std::vector<std::uint32_t> servers;
    for (int n = 0; n < times; n++) {
      Flow f = flow(client, vip_port);
      const auto sent = stage_.pass_through(f.build(), kClientSide, worker);
      EXPECT_EQ(sent.size(), 1u) << client;
      if (sent.size() != 1) return servers;
      servers.push_back(sent[0].bytes[33] - 10u);
      Flow reply = reply_of(towards_server(f, sent[0].bytes));
      reply.flags = kFin | kAck;
      f.flags = kFin | kAck;
      EXPECT_EQ(stage_.pass_through(f.build(), kClientSide, worker).size(), 1u);
      EXPECT_EQ(stage_.pass_through(reply.build(), kServerSide, worker).size(), 1u);
    }
    return servers;
  }

 private:
  Stage& stage_;
  std::uint16_t port_ = 30000;
};

using Servers = std::vector<std::uint32_t>;
/// Client, server, seconds left rounded up, whether it is dead; sorted.
using Templates = std::multiset<std::tuple<std::string, std::string, std::uint32_t, bool>>;

Templates templates_of(Stage& stage) {
  Templates all;
  stage.templates().for_each(stage.now_ms(), [&](const TemplateTable::View& v) {
    if (v.left_ms == 0) return;
    all.insert({v.key.client.to_string(), v.server.address.to_string() + ":" + std::to_string(v.server.port.host()),
                (v.left_ms + 999) / 1000, v.dead});
  });
  return all;
}

TEST(Persistence, AClientKeepsItsServerAndOthersRotate) {
  Stage stage({}, recorded());
  Clients clients(stage);
  EXPECT_EQ(clients.connect("10.7.5.1", 5), (Servers{3, 3, 3, 3, 3}));
  EXPECT_EQ(clients.connect("10.7.5.2", 3), (Servers{2, 2, 2}));
  EXPECT_EQ(clients.connect("10.7.5.3", 3), (Servers{1, 1, 1}));
  EXPECT_EQ(templates_of(stage), (Templates{{"10.7.5.1", "10.0.2.13:8080", 20, false},
                                            {"10.7.5.2", "10.0.2.12:8080", 20, false},
                                            {"10.7.5.3", "10.0.2.11:8080", 20, false}}));
  EXPECT_EQ(stage.count(Counter::templates_created), 3u);
  EXPECT_EQ(stage.count(Counter::sessions), 11u);
  stage.expect_accounted();
}

TEST(Persistence, WeightZeroKeepsKnownClientsUnlessQuiescentTemplatesExpire) {
  TablesConfig tables = recorded();
  Stage stage({}, tables);
  Clients clients(stage);
  clients.connect("10.7.5.1", 5);
  clients.connect("10.7.5.2", 3);
  clients.connect("10.7.5.3", 3);
  tables.services[0].servers[2].weight = 0;
  stage.apply(tables);
  EXPECT_EQ(clients.connect("10.7.5.1", 3), (Servers{3, 3, 3}));
  EXPECT_EQ(clients.connect("10.7.5.9", 4), (Servers{2, 2, 2, 2}));
  tables.services[0].persistence.expire_quiescent = true;
  stage.apply(tables);
  EXPECT_EQ(clients.connect("10.7.5.1", 3), (Servers{1, 1, 1}));
  EXPECT_EQ(templates_of(stage), (Templates{{"10.7.5.1", "10.0.2.11:8080", 20, false},
                                            {"10.7.5.1", "10.0.2.13:8080", 20, true},
                                            {"10.7.5.2", "10.0.2.12:8080", 20, false},
                                            {"10.7.5.3", "10.0.2.11:8080", 20, false},
                                            {"10.7.5.9", "10.0.2.12:8080", 20, false}}));
  // As recorded 6 s apart: 13, 7 and 1 s are left, then, because sessions in TIME_WAIT exist, a minute begins.
  const auto left = [&] { return std::get<2>(*templates_of(stage).begin()); };
  for (const auto& [wait, expected] : {std::pair{7000u, 13u}, {6000u, 7u}, {6000u, 1u}, {4000u, 57u}, {7000u, 50u}, {6000u, 44u}}) {
    stage.pass(wait);
    stage.settle();
    EXPECT_EQ(left(), expected);
  }
}

TEST(Persistence, ATemplateGoesWhenItsTimerEndsAfterItsLastSession) {
  Stage stage({}, recorded());
  Clients clients(stage);
  clients.connect("10.7.5.1", 2);  // TIME_WAIT, 120 s
  const auto at = [&](std::uint32_t ms) {
    while (stage.now_ms() < 1000 + ms) {
      stage.pass(std::min(500u, 1000 + ms - stage.now_ms()));
      stage.settle();
    }
    return templates_of(stage).size();
  };
  EXPECT_EQ(at(119'999), 1u) << "20 s, then twice a minute";
  EXPECT_EQ(stage.count(Counter::sessions), 2u);
  EXPECT_EQ(at(139'999), 1u) << "the sessions ended at 120 s, the timer runs until 140 s";
  EXPECT_EQ(stage.count(Counter::sessions), 0u);
  EXPECT_EQ(at(140'000), 0u);
  EXPECT_EQ(clients.connect("10.7.5.1", 1), (Servers{2})) << "scheduled anew";
  for (int turn = 0; turn < 300; turn++) {
    stage.pass(1);
    stage.settle();
  }
  EXPECT_EQ(stage.count(Counter::templates_expired), 1u) << "the sweep has found it";
}

TEST(Persistence, ATimerThatIsLookedAtLateChangesNothing) {
  Stage stage({}, recorded());
  Clients clients(stage);
  Flow f = clients.flow("10.7.5.1");
  EXPECT_EQ(clients.connect(f), 3u);
  for (const std::uint8_t flags : {kAck, kRst}) {
    f.flags = flags;
    EXPECT_EQ(stage.pass_through(f.build()).size(), 1u);
  }
  stage.pass(21'000);  // CLOSE has lasted 10 s, and the template 20 s, before the worker looks
  stage.settle();
  EXPECT_EQ(templates_of(stage).size(), 0u);
}

TEST(Persistence, AMaskMakesOneClientOfANetwork) {
  TablesConfig tables = recorded();
  tables.services[0].persistence.prefix = 96 + 24;
  Stage stage({}, tables);
  Clients clients(stage);
  EXPECT_EQ(clients.connect("10.7.6.1", 2), (Servers{3, 3}));
  EXPECT_EQ(clients.connect("10.7.6.200", 2), (Servers{3, 3}));
  EXPECT_EQ(clients.connect("10.7.7.1", 2), (Servers{2, 2}));
  EXPECT_EQ(clients.connect("10.7.7.2", 2), (Servers{2, 2}));
  EXPECT_EQ(clients.connect("10.7.8.3", 2), (Servers{1, 1}));
  EXPECT_EQ(clients.connect("10.7.6.9", 2), (Servers{3, 3}));
  EXPECT_EQ(templates_of(stage), (Templates{{"10.7.6.0", "10.0.2.13:8080", 20, false},
                                            {"10.7.7.0", "10.0.2.12:8080", 20, false},
                                            {"10.7.8.0", "10.0.2.11:8080", 20, false}}));
}

TEST(Persistence, ServicesOfAGroupSendAClientToOneHost) {
  // Recorded with a port 0 service and with a firewall mark over three addresses; here three services of one group.
  TablesConfig tables = recorded();
  tables.services[0].persistence.group = "shop";
  for (const auto& [address, port] : {std::pair{kVip, 81}, {std::string("203.0.113.11"), 443}}) {
    ServiceConfig more = tables.services[0];
    more.name = "web" + std::to_string(port);
    more.address = ip(address);
    more.port = be16(static_cast<std::uint16_t>(port));
    for (ServerConfig& server : more.servers) server.port = be16(static_cast<std::uint16_t>(8000 + port));
    tables.services.push_back(more);
  }
  Stage stage({}, tables);
  Clients clients(stage);
  const auto both = [&](std::uint16_t port, const std::string& vip) {
    Servers servers;
    for (const char* client : {"10.7.5.1", "10.7.5.2", "10.7.5.1", "10.7.5.2"}) {
      Flow f = clients.flow(client, port);
      f.destination = vip;
      servers.push_back(clients.connect(f));
    }
    return servers;
  };
  EXPECT_EQ(both(80, kVip), (Servers{3, 2, 3, 2}));
  EXPECT_EQ(both(81, kVip), (Servers{3, 2, 3, 2}));
  EXPECT_EQ(both(443, "203.0.113.11"), (Servers{3, 2, 3, 2}));
  EXPECT_EQ(templates_of(stage), (Templates{{"10.7.5.1", "10.0.2.13:0", 20, false}, {"10.7.5.2", "10.0.2.12:0", 20, false}}));
}

TEST(Persistence, ServicesWithoutAGroupKnowTheirOwnClientsOnly) {
  TablesConfig tables = recorded();
  tables.services.push_back(tables.services[0]);
  tables.services[1].name = "other";
  tables.services[1].port = be16(81);
  Stage stage({}, tables);
  Clients clients(stage);
  EXPECT_EQ(clients.connect("10.7.5.1", 2), (Servers{3, 3}));
  EXPECT_EQ(clients.connect("10.7.5.2", 1), (Servers{2}));
  EXPECT_EQ(clients.connect("10.7.5.2", 2, 81), (Servers{3, 3}));
}

TEST(Persistence, ARemovedServersTemplateIsIgnoredAndItsSlotsNextOwnerGetsNoClientsOfIt) {
  TablesConfig tables = recorded();
  Stage stage({}, tables);
  Clients clients(stage);
  EXPECT_EQ(clients.connect("10.7.5.1", 1), (Servers{3}));
  stage.pass(121'000);
  stage.settle();  // no session is left; the template is re-armed until 140 s
  const ServiceTable* before = stage.snapshot().services->services.find(ServiceKey{ip(kVip), be16(80), 6})->second;
  const ServerSlot slot = before->servers[0].slot;
  tables.services[0].servers.pop_back();
  stage.apply(tables);
  stage.reclaim();
  tables.services[0].servers.push_back({ip("10.0.2.14"), be16(8080), 1});
  stage.apply(tables);
  const ServiceTable* after = stage.snapshot().services->services.find(ServiceKey{ip(kVip), be16(80), 6})->second;
  ASSERT_EQ(after->servers[0].slot, slot) << "the slot has a new owner";
  EXPECT_EQ(clients.connect("10.7.5.2", 1), (Servers{4}));
  EXPECT_EQ(clients.connect("10.7.5.1", 2), (Servers{2, 2})) << "scheduled anew, behind the other";
}

TEST(Persistence, WorkersShareTheTemplates) {
  for (const std::uint32_t workers : {2u, 4u}) {
    Stage stage({.workers = workers}, recorded(workers));
    Clients clients(stage);
    for (int n = 1; n <= 40; n++) {
      const std::string client = "10.7.5." + std::to_string(n);
      std::set<std::uint32_t> met;
      for (std::uint32_t w = 0; w < workers; w++) {
        for (const std::uint32_t server : clients.connect(client, 2, 80, (w + static_cast<std::uint32_t>(n)) % workers)) met.insert(server);
      }
      EXPECT_EQ(met.size(), 1u) << client;
    }
    EXPECT_EQ(stage.count(Counter::templates_created), 40u);
    std::uint64_t sessions = 0;
    stage.templates().for_each(stage.now_ms(), [&](const TemplateTable::View& v) { sessions += v.sessions; });
    EXPECT_EQ(sessions, 80u * workers);
    for (int turn = 0; turn < 1000; turn++) {
      stage.pass(500);
      stage.settle();
    }
    EXPECT_EQ(stage.count(Counter::templates_expired), 40u);
    EXPECT_EQ(stage.count(Counter::sessions), 0u);
    stage.expect_accounted();
  }
}

TEST(Persistence, ASynOnAClosedSessionOfATemplateGoesOnWithIt) {
  Stage stage({}, recorded());
  Clients clients(stage);
  Flow f = clients.flow("10.7.5.1");
  EXPECT_EQ(clients.connect(f), 3u);
  Flow reset = f;
  reset.flags = kRst;
  stage.pass_through(reset.build());
  EXPECT_EQ(clients.connect(f), 3u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u) << "controlled connections are not rescheduled (is_new_conn_expected)";
}

TEST(Persistence, ASessionThatCannotBeginGivesTheTemplateBack) {
  Stage stage({.local_port_low = 5000, .local_port_high = 5000}, recorded());
  Clients clients(stage);
  EXPECT_EQ(clients.connect(clients.flow("10.7.5.1")), 3u);
  expect_dropped(stage, clients.flow("10.7.5.1").build(), DropReason::local_ports_exhausted);
  stage.templates().for_each(stage.now_ms(), [](const TemplateTable::View& v) { EXPECT_EQ(v.sessions, 1u); });
}

TEST(Persistence, ClientsWithoutRoomForATemplateAreServedAndCounted) {
  Stage stage({.max_templates = 1}, recorded());
  Clients clients(stage);
  for (int n = 0; n < 200; n++) {
    for (int m = 0; m < 3; m++) clients.connect("10.7." + std::to_string(m) + "." + std::to_string(1 + n), 1);
  }
  EXPECT_EQ(stage.count(Counter::sessions_created), 600u);
  EXPECT_GT(stage.count(Counter::templates_refused), 0u);
  EXPECT_EQ(stage.count(Counter::templates_refused) + stage.count(Counter::templates_created), 600u);
  stage.expect_accounted();
}

TEST(Persistence, AClientWhoseTemplatesAreHeldForTooLongIsToldToTryAgain) {
  Stage stage({}, recorded());
  Clients clients(stage);
  EXPECT_EQ(clients.connect("10.7.5.1", 1), (Servers{3}));
  const auto& persistence = stage.snapshot().services->services.find(ServiceKey{ip(kVip), be16(80), 6})->second->persistence;
  {
    const TemplateTable::Hold hold(stage.templates(), {ip("10.7.5.1"), persistence->scope});
    expect_dropped(stage, clients.flow("10.7.5.1").build(), DropReason::persistence_busy);
  }
  EXPECT_EQ(clients.connect("10.7.5.1", 1), (Servers{3}));
}

TEST(Persistence, AnIpv6ClientIsAPrefixToo) {
  TablesConfig tables = default_tables(1);
  tables.services.erase(tables.services.begin(), tables.services.begin() + 2);
  tables.services[0].persistence = {.timeout_ms = 20'000, .prefix = 64};
  Stage stage({}, tables);
  const auto server = [&](const std::string& source) {
    Flow f = flow6();
    f.source = source;
    const auto sent = stage.pass_through(f.build());
    EXPECT_EQ(sent.size(), 1u);
    return address_at(sent.at(0).bytes, 38, true);
  };
  EXPECT_EQ(server("2001:db8:1:1::1"), "fd00:2::12");
  EXPECT_EQ(server("2001:db8:1:2::1"), "fd00:2::11");
  EXPECT_EQ(server("2001:db8:1:1::ffff"), "fd00:2::12");
  EXPECT_EQ(templates_of(stage), (Templates{{"2001:db8:1:1::", "fd00:2::12:8080", 20, false}, {"2001:db8:1:2::", "fd00:2::11:8080", 20, false}}));
}

}  // namespace
}  // namespace millrace::test
