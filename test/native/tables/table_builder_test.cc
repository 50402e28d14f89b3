// TableBuilder: what stays when configurations change. Examples first, then random configurations against a model that keeps plain
// lists of names.
#include "tables/table_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace millrace {
namespace {

IpAddress ip(const std::string& text) {
  bool ok = false;
  const IpAddress address = IpAddress::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return address;
}

ServerConfig server(const std::string& address, std::uint32_t weight = 1, std::uint16_t port = 8080) {
  return {ip(address), be16(port), weight};
}

ServiceConfig service(const std::string& address, std::vector<ServerConfig> servers, std::uint16_t port = 80, std::uint8_t protocol = 6) {
  return {"s", ip(address), be16(port), protocol, SchedulerKind::kRoundRobin, std::move(servers)};
}

class Builder {
 public:
  explicit Builder(std::uint32_t workers = 2) : builder_(workers) {
    if (!builder_.reserve().ok()) std::abort();
  }
  const ServiceTables& apply(std::vector<ServiceConfig> services, const std::vector<std::string>& locals = {}) {
    TablesConfig config;
    config.services = std::move(services);
    for (const std::string& local : locals) config.local_addresses.push_back(ip(local));
    auto built = builder_.apply(config);
    EXPECT_TRUE(built.ok());
    tables_ = std::move(built).value();
    return *tables_;
  }
  void update(std::vector<ServiceConfig> services) {
    auto built = builder_.update({std::move(services)});
    ASSERT_TRUE(built.ok());
    tables_ = std::move(built).value();
  }
  /// Slots in `busy` have sessions. True when new tables came.
  bool reclaim(const std::set<ServerSlot>& busy = {}, const std::set<LocalSlot>& busy_locals = {}) {
    auto tables = builder_.reclaim([&](ServerSlot s) { return busy.contains(s) ? 1u : 0u; },
                                   [&](LocalSlot s) { return busy_locals.contains(s) ? 1u : 0u; });
    const bool changed = tables != nullptr;
    if (changed) tables_ = std::move(tables);
    return changed;
  }
  const ServiceTable& table(const std::string& address, std::uint16_t port = 80, std::uint8_t protocol = 6) const {
    return *tables_->services.at(ServiceKey{ip(address), be16(port), protocol});
  }
  /// Servers of a service in the scheduler's order: "10.0.0.2*3 10.0.0.1*1".
  std::string list(const std::string& address) const {
    std::string text;
    for (const ServerView& view : table(address).servers) {
      text += (text.empty() ? "" : " ") + builder_.server_slots()[view.slot].address.to_string() + "*" + std::to_string(view.weight);
    }
    return text;
  }
  ServerSlot slot_of(const std::string& service_address, const std::string& server_address) const {
    for (const ServerView& view : table(service_address).servers) {
      if (builder_.server_slots()[view.slot].address == ip(server_address)) return view.slot;
    }
    ADD_FAILURE() << "no server " << server_address;
    return 0;
  }
  const OwnedAddress* owned(const std::string& address) const {
    const auto found = tables_->owned.find(ip(address));
    return found == tables_->owned.end() ? nullptr : &found->second;
  }
  std::uint32_t worker_of(const std::string& local) const { return builder_.local_slots()[owned(local)->local].worker; }
  TableBuilder& operator*() { return builder_; }
  TableBuilder* operator->() { return &builder_; }
  const ServiceTables& tables() const { return *tables_; }

 private:
  TableBuilder builder_;
  std::shared_ptr<const ServiceTables> tables_;
};

TEST(TableBuilder, ListsServersAsIpvsDoesTheNewestFirst) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2"), server("10.0.0.3")})});
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.3*1 10.0.0.2*1 10.0.0.1*1");
}

TEST(TableBuilder, AnEditKeepsItsPlaceANewServerComesToTheHead) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2"), server("10.0.0.3")})});
  const ServerSlot second = b.slot_of("192.0.2.1", "10.0.0.2");
  b.apply({service("192.0.2.1", {server("10.0.0.4"), server("10.0.0.3"), server("10.0.0.2", 5), server("10.0.0.1")})});
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.4*1 10.0.0.3*1 10.0.0.2*5 10.0.0.1*1") << "the order in the file does not matter for those known";
  EXPECT_EQ(b.slot_of("192.0.2.1", "10.0.0.2"), second);
}

TEST(TableBuilder, AnUnchangedServiceKeepsItsTableSoThatWorkersNoticeNothing) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1")}), service("192.0.2.2", {server("10.0.0.1")})});
  const ServiceTable* before = &b.table("192.0.2.1");
  const std::shared_ptr<const ServiceTables> keeps_it_alive(&b.tables(), [](const ServiceTables*) {});
  b.apply({service("192.0.2.1", {server("10.0.0.1")}), service("192.0.2.2", {server("10.0.0.1"), server("10.0.0.2")})});
  EXPECT_EQ(&b.table("192.0.2.1"), before);
  EXPECT_EQ(b.table("192.0.2.2").serial, 2u);
}

TEST(TableBuilder, AServerThatReturnsWhileItIsUsedGetsItsSlotBackAtTheHead) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2")})});
  const ServerSlot slot = b.slot_of("192.0.2.1", "10.0.0.1");
  b.apply({service("192.0.2.1", {server("10.0.0.2")})});
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.2*1");
  EXPECT_TRUE(b->has_leavers());
  b.reclaim({slot});
  EXPECT_TRUE(b->has_leavers());
  EXPECT_EQ(b->server_slots()[slot].address, ip("10.0.0.1")) << "sessions still look at it";
  b.apply({service("192.0.2.1", {server("10.0.0.1", 7), server("10.0.0.2")})});
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.1*7 10.0.0.2*1");
  EXPECT_EQ(b.slot_of("192.0.2.1", "10.0.0.1"), slot);
  EXPECT_FALSE(b->has_leavers());
}

TEST(TableBuilder, ASlotIsGivenToAnotherOnlyAfterItsLastSession) {
  Builder b;
  std::vector<ServerSlot> taken;
  b->on_server_slot_taken([&](ServerSlot slot) { taken.push_back(slot); });
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2")})});
  const ServerSlot slot = b.slot_of("192.0.2.1", "10.0.0.1");
  b.apply({service("192.0.2.1", {server("10.0.0.2")})});
  b.reclaim({slot});
  b.apply({service("192.0.2.1", {server("10.0.0.2"), server("10.0.0.3")})});
  EXPECT_NE(b.slot_of("192.0.2.1", "10.0.0.3"), slot);
  b.reclaim();
  EXPECT_FALSE(b->has_leavers());
  b.apply({service("192.0.2.1", {server("10.0.0.2"), server("10.0.0.3"), server("10.0.0.4")})});
  EXPECT_EQ(b.slot_of("192.0.2.1", "10.0.0.4"), slot);
  EXPECT_EQ(taken.back(), slot) << "its new owner starts with statistics of its own";
  EXPECT_EQ(b->server_slot_limit(), 3u);
}

TEST(TableBuilder, AServiceThatLeftStaysOursUntilItsSessionsAreGone) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1")}), service("192.0.2.2", {server("10.0.0.1")})});
  const ServiceSlot slot = b.table("192.0.2.1").slot;
  const ServerSlot used = b.slot_of("192.0.2.1", "10.0.0.1");
  b.apply({service("192.0.2.2", {server("10.0.0.1")})});
  EXPECT_FALSE(b.tables().services.contains(ServiceKey{ip("192.0.2.1"), be16(80), 6}));
  ASSERT_NE(b.owned("192.0.2.1"), nullptr);
  EXPECT_FALSE(b.reclaim({used}));
  EXPECT_NE(b.owned("192.0.2.1"), nullptr);
  EXPECT_EQ(b->service_slots()[slot].address, ip("192.0.2.1"));
  EXPECT_EQ(b->slot_map().services.size(), 2u) << "listed while it drains";
  EXPECT_TRUE(b.reclaim());
  EXPECT_EQ(b.owned("192.0.2.1"), nullptr);
  EXPECT_EQ(b->slot_map().services.size(), 1u);
  EXPECT_EQ(b->owned_addresses(), std::vector<IpAddress>{ip("192.0.2.2")});
}

TEST(TableBuilder, AServiceThatReturnsWhileItDrainsIsTheSameService) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2")})});
  const ServiceSlot slot = b.table("192.0.2.1").slot;
  const ServerSlot first = b.slot_of("192.0.2.1", "10.0.0.1");
  b.apply({});
  b.reclaim({first});
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2")})});
  EXPECT_EQ(b.table("192.0.2.1").slot, slot);
  EXPECT_EQ(b.slot_of("192.0.2.1", "10.0.0.1"), first);
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.2*1 10.0.0.1*1");
}

TEST(TableBuilder, ServersOfSeveralServicesShareAnEndpoint) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1")}), service("192.0.2.2", {server("10.0.0.1")}),
           service("192.0.2.3", {server("10.0.0.1", 1, 9090)}), service("192.0.2.4", {server("10.0.0.1")}, 80, 17)});
  const auto endpoint = [&](const std::string& address, std::uint8_t protocol = 6) {
    return b->server_slots()[b.table(address, 80, protocol).servers.front().slot].endpoint;
  };
  EXPECT_NE(b.slot_of("192.0.2.1", "10.0.0.1"), b.slot_of("192.0.2.2", "10.0.0.1"));
  EXPECT_EQ(endpoint("192.0.2.1"), endpoint("192.0.2.2"));
  EXPECT_NE(endpoint("192.0.2.1"), endpoint("192.0.2.3")) << "another port";
  EXPECT_EQ(endpoint("192.0.2.1"), endpoint("192.0.2.4", 17)) << "TCP and UDP have ports of their own within one endpoint";
  const std::uint32_t shared = endpoint("192.0.2.1");
  // It is free only when the last of its servers is reclaimed.
  b.apply({service("192.0.2.2", {server("10.0.0.1")})});
  b.reclaim();
  b.apply({service("192.0.2.2", {server("10.0.0.1"), server("10.0.0.9")})});
  EXPECT_NE(b->server_slots()[b.slot_of("192.0.2.2", "10.0.0.9")].endpoint, shared);
  EXPECT_EQ(endpoint("192.0.2.2", 6), b->server_slots()[b.table("192.0.2.2").servers.front().slot].endpoint);
}

TEST(TableBuilder, LocalAddressesAreSpreadEvenlyAndStayWhereTheyAre) {
  Builder b(3);
  std::vector<std::string> locals;
  for (int n = 1; n <= 8; n++) locals.push_back("10.0.3." + std::to_string(n));
  for (int n = 1; n <= 4; n++) locals.push_back("fd00::" + std::to_string(n));
  b.apply({}, locals);
  std::map<std::string, std::uint32_t> homes;
  std::map<std::uint32_t, int> v4, v6;
  for (const std::string& local : locals) {
    homes[local] = b.worker_of(local);
    (ip(local).is_v4() ? v4 : v6)[homes[local]]++;
  }
  for (std::uint32_t worker = 0; worker < 3; worker++) {
    EXPECT_GE(v4[worker], 2);
    EXPECT_LE(v4[worker], 3);
    EXPECT_GE(v6[worker], 1);
    EXPECT_LE(v6[worker], 2);
    EXPECT_EQ(b.tables().locals_of_worker[worker][0].size(), static_cast<std::size_t>(v4[worker]));
    EXPECT_EQ(b.tables().locals_of_worker[worker][1].size(), static_cast<std::size_t>(v6[worker]));
  }
  // Some leave, some come, the order changes: the others do not move.
  std::vector<std::string> next = {"10.0.3.20", "fd00::3"};
  for (int n = 8; n >= 3; n--) next.push_back("10.0.3." + std::to_string(n));
  b.apply({}, next);
  for (const std::string& local : next) {
    EXPECT_TRUE(!homes.contains(local) || b.worker_of(local) == homes[local]) << local;
  }
}

TEST(TableBuilder, ALocalAddressThatLeftStaysOursUntilItsSessionsAreGone) {
  Builder b(1);
  b.apply({}, {"10.0.3.1", "10.0.3.2"});
  const LocalSlot slot = b.owned("10.0.3.1")->local;
  b.apply({}, {"10.0.3.2"});
  ASSERT_NE(b.owned("10.0.3.1"), nullptr);
  EXPECT_EQ(b.tables().locals_of_worker[0][0].size(), 1u) << "no new session gets it";
  EXPECT_FALSE(b.reclaim({}, {slot}));
  b.apply({}, {"10.0.3.2", "10.0.3.1"});
  EXPECT_EQ(b.owned("10.0.3.1")->local, slot);
  b.apply({}, {"10.0.3.2"});
  EXPECT_TRUE(b.reclaim());
  EXPECT_EQ(b.owned("10.0.3.1"), nullptr);
}

TEST(TableBuilder, ALocalSlotIsNotReusedWhileWorkersMayStillSeeItsAddress) {
  Builder b(1);
  b.apply({}, {"10.0.3.1"});
  const LocalSlot slot = b.owned("10.0.3.1")->local;
  b.apply({}, {});
  // The tables before this reclaim named the slot; workers leave them only some time after.
  EXPECT_TRUE(b.reclaim());
  EXPECT_TRUE(b->has_leavers()) << "the slot itself waits for another round";
  b.apply({}, {"10.0.3.7"});
  EXPECT_NE(b.owned("10.0.3.7")->local, slot);
  EXPECT_EQ(b->local_slots()[slot].address, ip("10.0.3.1"));
  EXPECT_FALSE(b.reclaim());
  EXPECT_FALSE(b->has_leavers());
  b.apply({}, {"10.0.3.7", "10.0.3.8"});
  EXPECT_EQ(b.owned("10.0.3.8")->local, slot);
}

TEST(TableBuilder, AnAddressIsWhatTheConfigurationSaysNowNotWhatOldSessionsKnow) {
  Builder b(1);
  b.apply({}, {"192.0.2.1", "10.0.3.1"});
  const LocalSlot slot = b.owned("192.0.2.1")->local;
  b.apply({service("192.0.2.1", {server("10.0.0.1")})}, {"10.0.3.1"});
  EXPECT_EQ(b.owned("192.0.2.1")->kind, OwnedAddress::Kind::kVip);
  b.reclaim({}, {slot});
  EXPECT_EQ(b.owned("192.0.2.1")->kind, OwnedAddress::Kind::kVip);
  // And the other way round.
  const ServerSlot used = b.slot_of("192.0.2.1", "10.0.0.1");
  b.apply({}, {"192.0.2.1", "10.0.3.1"});
  EXPECT_EQ(b.owned("192.0.2.1")->kind, OwnedAddress::Kind::kLocal);
  b.reclaim({used});
  EXPECT_EQ(b.owned("192.0.2.1")->kind, OwnedAddress::Kind::kLocal);
}

TEST(TableBuilder, ALargeConfigurationCanBeAppliedAgain) {
  // More than half of each limit: what is there already must not count twice.
  TablesConfig config;
  for (std::uint32_t n = 0; n < 33000; n++) config.local_addresses.push_back(IpAddress::v4(be32(0x0a000000 + n)));
  ServiceConfig big = service("192.0.2.1", {});
  for (std::uint32_t n = 0; n < 140000; n++) big.servers.push_back({IpAddress::v4(be32(0x0b000000 + n)), be16(80), 1});
  config.services.push_back(std::move(big));
  TableBuilder builder(2);
  ASSERT_TRUE(builder.reserve().ok());
  ASSERT_TRUE(builder.apply(config).ok());
  auto again = builder.apply(config);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(builder.server_slot_limit(), 140000u);
}

TEST(TableBuilder, RefusesMoreThanItsLimitsAndChangesNothing) {
  TableBuilder builder(1);
  ASSERT_TRUE(builder.reserve().ok());
  TablesConfig small;
  small.services.push_back(service("192.0.2.1", {server("10.0.0.1")}));
  ASSERT_TRUE(builder.apply(small).ok());
  TablesConfig large;
  for (std::uint32_t n = 0; n <= kMaxLocals; n++) large.local_addresses.push_back(IpAddress::v4(be32(0x0a000000 + n)));
  const auto refused = builder.apply(large);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, "limit_exceeded");
  const SlotMap map = builder.slot_map();
  ASSERT_EQ(map.services.size(), 1u);
  EXPECT_FALSE(map.services[0].servers[0].removed);
}

TEST(TableBuilder, CountsAServerThatIsReachedInAnotherWayAsANewOne) {
  Builder b;
  std::vector<ServerConfig> servers;
  for (std::uint32_t i = 0; i < kMaxServers / 2 + 1; i++) {
    servers.push_back({IpAddress::v4(be32(0x0a000001 + i)), be16(80), 1, 0, ForwardMode::kNat});
  }
  b.apply({service("203.0.113.10", servers)});
  for (ServerConfig& s : servers) s.mode = ForwardMode::kDirect;
  TablesConfig config;
  config.services = {service("203.0.113.10", servers)};
  auto refused = (*b).apply(config);
  ASSERT_FALSE(refused.ok()) << "the slots of the old ones are still in use";
  EXPECT_EQ(refused.error().code, "limit_exceeded");
  EXPECT_LE((*b).server_slot_limit(), kMaxServers);
}

TEST(TableBuilder, AGueServerThatReturnsWithAnotherTunnelPortIsAnotherServer) {
  Builder b;
  const auto gue = [](std::uint16_t tunnel_port) {
    return ServerConfig{ip("10.0.0.1"), be16(80), 1, 0, ForwardMode::kTunnelGue, be16(tunnel_port)};
  };
  b.apply({service("203.0.113.10", {gue(6080)})});
  const ServerSlot first = b.slot_of("203.0.113.10", "10.0.0.1");
  b.apply({service("203.0.113.10", {})});
  EXPECT_FALSE(b.reclaim({first})) << "its sessions go on";
  b.apply({service("203.0.113.10", {gue(6081)})});
  const ServerSlot second = b.slot_of("203.0.113.10", "10.0.0.1");
  EXPECT_NE(second, first);
  EXPECT_EQ((*b).server_slots()[second].tunnel_port, be16(6081));
  EXPECT_EQ((*b).server_slots()[first].tunnel_port, be16(6080));
}

TEST(TableBuilder, TheMarkOfAServiceFollowsTheConfiguration) {
  Builder b;
  ServiceConfig marked = service("203.0.113.10", {{ip("10.0.0.1"), be16(80), 1, 0, ForwardMode::kL3Dsr}});
  marked.dscp = 11;
  b.apply({marked});
  const ServiceSlot slot = b.table("203.0.113.10").slot;
  EXPECT_EQ((*b).service_slots()[slot].dscp, 11);
  marked.dscp = 12;
  b.apply({marked});
  EXPECT_EQ(b.table("203.0.113.10").slot, slot);
  EXPECT_EQ((*b).service_slots()[slot].dscp, 12);
}

TEST(TableBuilder, ChangesOfAServiceLeadFromOneListToTheNext) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1"), server("10.0.0.2")})});
  std::uint64_t serial = b.table("192.0.2.1").serial;
  std::vector<ServerView> list = b.table("192.0.2.1").servers;
  b.apply({service("192.0.2.1", {server("10.0.0.3"), server("10.0.0.2", 4)})});
  for (const ServiceChange& change : b.table("192.0.2.1").changes) {
    if (change.serial <= serial) continue;
    ASSERT_EQ(change.serial, serial + 1);
    serial = change.serial;
    const auto at = std::find_if(list.begin(), list.end(), [&](const ServerView& v) { return v.slot == change.server; });
    if (change.kind == ServiceChange::Kind::kAdd) list.insert(list.begin(), {change.server, change.weight});
    if (change.kind == ServiceChange::Kind::kEdit) at->weight = change.weight;
    if (change.kind == ServiceChange::Kind::kRemove) list.erase(at);
  }
  EXPECT_EQ(serial, b.table("192.0.2.1").serial);
  EXPECT_TRUE(std::equal(list.begin(), list.end(), b.table("192.0.2.1").servers.begin(), b.table("192.0.2.1").servers.end(),
                         [](const ServerView& x, const ServerView& y) { return x.slot == y.slot && x.weight == y.weight; }));
}

/// What a person would write down about slots and lists.
struct Model {
  struct Server {
    ServerSlot slot;
    std::uint32_t weight;
    bool removed;
  };
  struct Service {
    ServiceSlot slot;
    bool removed;
    std::vector<std::string> list;
    std::map<std::string, Server> servers;
  };
  std::map<std::string, Service> services;
};

TEST(TableBuilder, RandomConfigurationsKeepSlotsAndOrderAsTheModelDoes) {
  for (std::uint32_t seed = 1; seed <= 15; seed++) {
    std::mt19937 random(seed);
    Builder b(3);
    Model model;
    std::set<ServerSlot> busy;
    for (int step = 0; step < 60; step++) {
      std::vector<ServiceConfig> config;
      for (int s = 1; s <= 4; s++) {
        if (random() % 4 == 0) continue;
        ServiceConfig one = service("192.0.2." + std::to_string(s), {});
        std::vector<int> numbers = {1, 2, 3, 4, 5, 6};
        std::shuffle(numbers.begin(), numbers.end(), random);
        numbers.resize(random() % 6);
        for (const int n : numbers) one.servers.push_back(server("10.0.0." + std::to_string(n), static_cast<std::uint32_t>(random() % 3)));
        config.push_back(std::move(one));
      }
      std::shuffle(config.begin(), config.end(), random);
      b.apply(config);

      // The model takes the same step.
      for (auto& [name, s] : model.services) {
        const bool stays = std::any_of(config.begin(), config.end(), [&, &n = name](const auto& c) { return c.address == ip(n); });
        if (stays) continue;
        s.removed = true;
        s.list.clear();
        for (auto& [server_name, entry] : s.servers) entry.removed = true;
      }
      for (const ServiceConfig& c : config) {
        const std::string name = c.address.to_string();
        const bool known = model.services.contains(name);
        Model::Service& s = model.services[name];
        const ServiceSlot slot = b.table(name).slot;
        ASSERT_TRUE(!known || slot == s.slot) << "a service keeps its slot";
        s.slot = slot;
        s.removed = false;
        std::set<std::string> wanted;
        for (const ServerConfig& w : c.servers) wanted.insert(w.address.to_string());
        std::erase_if(s.list, [&](const std::string& n) { return !wanted.contains(n); });
        for (auto& [server_name, entry] : s.servers) {
          if (!wanted.contains(server_name)) entry.removed = true;
        }
        for (const ServerConfig& w : c.servers) {
          const std::string server_name = w.address.to_string();
          if (std::find(s.list.begin(), s.list.end(), server_name) == s.list.end()) s.list.insert(s.list.begin(), server_name);
          const ServerSlot server_slot = b.slot_of(name, server_name);
          const auto entry = s.servers.find(server_name);
          ASSERT_TRUE(entry == s.servers.end() || entry->second.slot == server_slot) << "a server keeps its slot";
          s.servers[server_name] = {server_slot, w.weight, false};
        }
        std::string expected;
        for (const std::string& n : s.list) {
          expected += (expected.empty() ? "" : " ") + n + "*" + std::to_string(s.servers[n].weight);
        }
        ASSERT_EQ(b.list(name), expected) << "seed " << seed << " step " << step;
      }
      ASSERT_EQ(b.tables().services.size(), config.size());

      // No slot has two owners, and each says who its owner is.
      std::set<ServerSlot> slots;
      std::set<ServiceSlot> service_slots;
      for (const auto& [name, s] : model.services) {
        ASSERT_TRUE(service_slots.insert(s.slot).second);
        ASSERT_EQ(b->service_slots()[s.slot].address, ip(name));
        for (const auto& [server_name, entry] : s.servers) {
          ASSERT_TRUE(slots.insert(entry.slot).second);
          ASSERT_EQ(b->server_slots()[entry.slot].address, ip(server_name));
          ASSERT_EQ(b->server_slots()[entry.slot].service, s.slot);
        }
        ASSERT_NE(b.owned(name), nullptr);
      }

      // Sessions begin on servers in use and end anywhere; then slots are reclaimed.
      for (const auto& [name, s] : model.services) {
        for (const auto& [server_name, entry] : s.servers) {
          if (entry.removed ? busy.contains(entry.slot) && random() % 2 == 0 : random() % 2 == 0) {
            busy.insert(entry.slot);
          } else {
            busy.erase(entry.slot);
          }
        }
      }
      b.reclaim(busy);
      bool leavers = false;
      for (auto s = model.services.begin(); s != model.services.end();) {
        std::erase_if(s->second.servers, [&](const auto& e) { return e.second.removed && !busy.contains(e.second.slot); });
        for (const auto& [server_name, entry] : s->second.servers) leavers = leavers || entry.removed;
        if (s->second.removed && s->second.servers.empty()) {
          s = model.services.erase(s);
        } else {
          leavers = leavers || s->second.removed;
          ++s;
        }
      }
      ASSERT_EQ(b->has_leavers(), leavers);
      ASSERT_EQ(b.tables().owned.size(), model.services.size());
    }
    EXPECT_LE(b->server_slot_limit(), 24u) << "slots are used again";
  }
}

/// Ten services with three servers each, and steps that change one service: whole configurations and updates lead to the same tables.
TEST(TableBuilder, UpdatesOfOneServiceLeadWhereWholeConfigurationsDo) {
  std::mt19937 random(7);
  std::vector<ServiceConfig> config;
  for (int i = 1; i <= 10; i++) {
    config.push_back(service("192.0.2." + std::to_string(i), {server("10.0.0.1"), server("10.0.0.2"), server("10.0.0.3")}));
  }
  Builder whole, updated;
  whole.apply(config);
  updated.apply(config);
  for (int step = 0; step < 300; step++) {
    ServiceConfig& changed = config[random() % config.size()];
    changed.servers.clear();
    for (int i = 1; i <= 5; i++) {
      if (random() % 2 == 0) changed.servers.push_back(server("10.0.0." + std::to_string(i), static_cast<std::uint32_t>(random() % 3)));
    }
    const std::string others = (&changed == &config[0] ? config[1] : config[0]).address.to_string();
    const std::uint64_t serial = updated.table(others).serial;
    whole.apply(config);
    updated.update({changed});
    for (const ServiceConfig& service : config) {
      const std::string name = service.address.to_string();
      ASSERT_EQ(whole.list(name), updated.list(name)) << step;
      ASSERT_EQ(whole.table(name).slot, updated.table(name).slot);
    }
    EXPECT_EQ(updated.table(others).serial, serial) << "a service that is not in the update hears nothing of it";
    const SlotMap slots = updated->slot_map(std::vector<ServiceConfig>{changed});
    ASSERT_EQ(slots.services.size(), 1u);
    if (random() % 4 == 0) {
      whole.reclaim();
      updated.reclaim();
    }
  }
}

TEST(TableBuilder, AServiceThatStandsByKeepsItsAddressAndIsSilent) {
  Builder b;
  ServiceConfig web = service("192.0.2.1", {server("10.0.0.1")}), tls = web;
  tls.name = "tls";
  tls.port = be16(443);
  b.apply({web, tls});
  const auto has = [](const std::vector<IpAddress>& list) { return std::count(list.begin(), list.end(), ip("192.0.2.1")) != 0; };
  EXPECT_TRUE(has(b->announced_addresses()));
  const std::uint64_t before = b->membership();
  web.announced = false;
  b.update({web});
  EXPECT_GT(b->membership(), before) << "the announcer must hear of it";
  EXPECT_TRUE(has(b->announced_addresses())) << "another service of the address speaks";
  tls.announced = false;
  b.update({tls});
  EXPECT_FALSE(has(b->announced_addresses()));
  EXPECT_TRUE(has(b->owned_addresses())) << "what still arrives is served";
  web.announced = true;
  b.update({web});
  EXPECT_TRUE(has(b->announced_addresses()));
}

TEST(TableBuilder, AnUpdateOfAServiceThatIsNotThereIsRefusedAndChangesNothing) {
  Builder b;
  b.apply({service("192.0.2.1", {server("10.0.0.1")})});
  auto refused = b->update({{service("192.0.2.1", {}), service("192.0.2.2", {server("10.0.0.1")})}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, "unknown_service");
  EXPECT_EQ(b.list("192.0.2.1"), "10.0.0.1*1");
  const std::uint64_t members = b->membership();
  b.update({service("192.0.2.1", {server("10.0.0.1", 5)})});
  EXPECT_EQ(b->membership(), members) << "another weight is not another server";
  b.update({service("192.0.2.1", {})});
  EXPECT_GT(b->membership(), members);
}

TEST(StableArray, GrowsWithoutMovingAndStartsWithZeroes) {
  StableArray<std::uint64_t> array;
  ASSERT_TRUE(array.reserve(1u << 20).ok());
  EXPECT_EQ(array.capacity(), 1u << 20);
  const std::uint64_t* first = array.data();
  EXPECT_EQ(array[(1u << 20) - 1], 0u);
  array[(1u << 20) - 1] = 7;
  EXPECT_EQ(array.data(), first);
  EXPECT_EQ(array[(1u << 20) - 1], 7u);
}

}  // namespace
}  // namespace millrace
