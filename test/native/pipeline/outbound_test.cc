// The outbound gateway: what no capture shows. Several workers, fragments, last hops, many hosts with few ports, rules that go, NAT
// servers that go out; and that random packets come through with nothing changed but what must change.
#include "pipeline/outbound.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "support/flow.h"
#include "support/fragmenting.h"

namespace millrace::test {
namespace {

Prefix prefix(const std::string& text) {
  bool ok = false;
  const Prefix parsed = Prefix::parse(text, ok);
  EXPECT_TRUE(ok) << text;
  return parsed;
}

/// Servers' networks are inside; each worker has a pool address of both families.
TablesConfig gateway(std::uint32_t workers) {
  TablesConfig tables = default_tables(workers);
  ServiceConfig rule;
  rule.name = "office";
  rule.outbound = true;
  rule.scheduler = SchedulerKind::kRoundRobin;
  rule.matches = {{prefix("10.0.2.0/24"), prefix("0.0.0.0/0")}, {prefix("fd00:2::/64"), prefix("::/0")}};
  for (std::uint32_t worker = 0; worker < workers; worker++) {
    rule.pool.push_back(ip("203.0.113.10" + std::to_string(worker + 1)));
    rule.pool.push_back(ip("2001:db8:f::10" + std::to_string(worker + 1)));
  }
  ServerConfig everywhere;
  everywhere.address = ip("0.0.0.0");
  everywhere.port = be16(0);
  everywhere.mode = ForwardMode::kSnat;
  rule.servers = {everywhere};
  tables.services.push_back(rule);
  return tables;
}

/// Of the inside host 11 to an outside host.
Flow outbound(bool six = false) {
  Flow f;
  f.six = six;
  f.source = six ? "fd00:2::11" : "10.0.2.11";
  f.destination = six ? "2001:db8:1::7" : "198.51.100.7";
  f.destination_port = 443;
  f.eth_source = "02:00:00:00:02:11";
  f.eth_destination = "02:00:00:00:00:02";
  return f;
}

/// As it leaves, the pool's address and port being the pipeline's choice.
Flow outside(const Flow& in, const Bytes& out) {
  Flow f = in;
  f.ttl--;
  f.source = address_at(out, in.six ? 22 : 26, in.six);
  f.source_port = read16(out, l4_of(in));
  f.eth_source = "02:00:00:00:00:01";
  f.eth_destination = "02:00:00:00:00:0c";
  return f;
}

/// What the answer to `request` must be inside.
Flow inside(const Flow& answer, const Flow& request) {
  Flow f = answer;
  f.ttl--;
  f.destination = request.source;
  f.destination_port = request.source_port;
  f.eth_source = request.eth_destination;
  f.eth_destination = request.eth_source;
  return f;
}

Flow expect_out(Stage& stage, const Flow& request, std::uint32_t worker = 0) {
  const std::vector<Sent> sent = stage.pass_through(request.build(), kServerSide, worker);
  EXPECT_EQ(sent.size(), 1u);
  if (sent.size() != 1) return request;
  EXPECT_EQ(sent[0].interface, kClientSide);
  const Flow expected = outside(request, sent[0].bytes);
  EXPECT_EQ(sent[0].bytes, expected.build());
  return expected;
}

void expect_in(Stage& stage, const Flow& answer, const Flow& request, std::uint32_t worker = 0) {
  const std::vector<Sent> sent = stage.pass_through(answer.build(), kClientSide, worker);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].interface, kServerSide);
  EXPECT_EQ(sent[0].bytes, inside(answer, request).build());
}

Flow answer_to(const Flow& at_outside) {
  Flow f = reply_of(at_outside);
  f.ttl = 64;
  if (f.tcp) f.flags = kSyn | kAck;
  return f;
}

TEST(Outbound, AnswersFindTheWorkerThatHasTheSessionWhereverTheyArrive) {
  for (const bool six : {false, true}) {
    Stage stage({.workers = 2}, gateway(2));
    for (const std::uint32_t worker : {0u, 1u}) {
      Flow request = outbound(six);
      request.source_port = static_cast<std::uint16_t>(2000 + worker);
      const Flow out = expect_out(stage, request, worker);
      EXPECT_EQ(out.source, (six ? "2001:db8:f::10" : "203.0.113.10") + std::to_string(worker + 1)) << "the worker's own address";
      expect_in(stage, answer_to(out), request, 1 - worker);
    }
  }
}

TEST(Outbound, EchoRepliesAreHandedToTheOwnerOfTheirAddress) {
  Stage stage({.workers = 2}, gateway(2));
  const auto ping = [](const std::string& from, const std::string& to, bool reply, std::uint32_t id, std::uint8_t ttl,
                       const std::string& eth_from, const std::string& eth_to) {
    return PacketBuilder()
        .eth({.source = eth_from, .destination = eth_to})
        .ipv4({.source = from, .destination = to, .ttl = ttl})
        .icmp({.type = static_cast<std::uint8_t>(reply ? 0 : 8), .rest = id << 16 | 3})
        .payload("data")
        .build();
  };
  const auto sent = stage.pass_through(
      ping("10.0.2.11", "198.51.100.7", false, 99, 64, "02:00:00:00:02:11", "02:00:00:00:00:02"), kServerSide, 0);
  ASSERT_EQ(sent.size(), 1u);
  const std::uint16_t id = read16(sent[0].bytes, 38);
  EXPECT_EQ(sent[0].bytes,
            ping("203.0.113.101", "198.51.100.7", false, id, 63, "02:00:00:00:00:01", "02:00:00:00:00:0c"));
  const auto back = stage.pass_through(
      ping("198.51.100.7", "203.0.113.101", true, id, 64, "02:00:00:00:00:0c", "02:00:00:00:00:01"), kClientSide, 1);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].bytes, ping("198.51.100.7", "10.0.2.11", true, 99, 63, "02:00:00:00:00:02", "02:00:00:00:02:11"));
  EXPECT_EQ(stage.count(Counter::handoff_sent), 1u);
}

TEST(Outbound, FragmentsLeaveAndComeBackTranslated) {
  for (const bool six : {false, true}) {
    Stage stage({}, gateway(1));
    Flow request = outbound(six);
    request.tcp = false;
    request.payload = Bytes(3000, 0x5a);
    const auto pass = [&](const Flow& flow, std::uint16_t interface) {
      std::vector<Bytes> out;
      for (const Bytes& piece : fragments_of(flow.build(), 1400, 77)) {
        for (const Sent& one : stage.pass_through(piece, interface)) out.push_back(one.bytes);
      }
      return reassembled(out);
    };
    std::vector<Bytes> whole = pass(request, kServerSide);
    ASSERT_EQ(whole.size(), 1u);
    if (!six) request.id = 77;
    const Flow out = outside(request, whole[0]);
    EXPECT_EQ(whole[0], out.build());
    const Flow answer = answer_to(out);
    whole = pass(answer, kClientSide);
    ASSERT_EQ(whole.size(), 1u);
    EXPECT_EQ(whole[0], inside(answer, request).build());
  }
}

TEST(Outbound, WhoseLastHopThisIsHearsOfItFromThePool) {
  Stage stage({}, gateway(1));
  Flow request = outbound();
  request.tcp = false;
  request.ttl = 1;
  const Bytes echo = PacketBuilder()
                         .eth({.source = request.eth_source, .destination = request.eth_destination})
                         .ipv4({.source = request.source, .destination = request.destination, .ttl = 1})
                         .icmp({.type = 8, .rest = 7})
                         .payload("data")
                         .build();
  for (const Bytes& frame : {request.build(), echo}) {
    const auto sent = stage.pass_through(frame, kServerSide);
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].interface, kServerSide);
    EXPECT_EQ(address_at(sent[0].bytes, 26, false), "203.0.113.101");
    EXPECT_EQ(address_at(sent[0].bytes, 30, false), request.source);
    EXPECT_EQ(sent[0].bytes[34], 11) << "time exceeded";
  }
  EXPECT_EQ(stage.count(DropReason::ttl_expired), 2u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 0u);
}

TEST(Outbound, WhatNoRuleTakesAndWhatNobodyCanAnswerIsDropped) {
  Stage stage({}, gateway(1));
  Flow stranger = outbound();
  stranger.source = "10.0.9.1";
  expect_dropped(stage, stranger.build(), DropReason::address_not_owned, kServerSide);
  for (const char* nobody : {"255.255.255.255", "224.0.0.5", "127.0.0.1"}) {
    Flow flow = outbound();
    flow.destination = nobody;
    expect_dropped(stage, flow.build(), DropReason::address_not_owned, kServerSide);
  }
  for (const char* nobody : {"ff02::1", "fe80::1"}) {
    Flow flow = outbound(true);
    flow.destination = nobody;
    expect_dropped(stage, flow.build(), DropReason::address_not_owned, kServerSide);
  }
  Flow late = outbound();
  late.flags = kAck;
  expect_dropped(stage, late.build(), DropReason::tcp_no_session, kServerSide);
}

TEST(Outbound, SessionsOfARuleThatHasLeftGoOnAndNewOnesDoNotBegin) {
  Stage stage({}, gateway(1));
  const Flow request = outbound();
  const Flow out = expect_out(stage, request);
  EXPECT_EQ(stage.builder().outbound_matches().size(), 2u);
  stage.apply(default_tables(1));
  stage.reclaim();
  expect_in(stage, answer_to(out), request);
  EXPECT_EQ(stage.builder().outbound_matches().size(), 2u) << "its packets are still wanted";
  Flow second = outbound();
  second.source_port = 2;
  expect_dropped(stage, second.build(), DropReason::address_not_owned, kServerSide);
  stage.pass(3'600'000);
  stage.settle();
  stage.reclaim();
  EXPECT_TRUE(stage.builder().outbound_matches().empty());
}

TEST(Outbound, OfANatServerOfAnyPortAnswersGoToTheirSessionAndWhatItBeginsLeaves) {
  for (const std::uint32_t asked : {0u, 1u}) {
    TablesConfig tables = gateway(2);
    ServiceConfig names;
    names.name = "any";
    names.address = ip(kVip);
    names.protocol = 17;
    names.ports = PortRange{5000, 5100};
    names.scheduler = SchedulerKind::kRoundRobin;
    names.servers.push_back({ip("10.0.2.11"), be16(0), 1, 0, ForwardMode::kNat});
    tables.services.push_back(names);
    Stage stage({.workers = 2}, tables);
    Flow request;
    request.tcp = false;
    request.destination_port = 5005;
    const std::vector<Sent> there = stage.pass_through(request.build(), kClientSide, asked);
    ASSERT_EQ(there.size(), 1u);
    Flow answer = outbound();
    answer.tcp = false;
    answer.source_port = 5005;
    answer.destination_port = request.source_port;
    for (const std::uint32_t answered : {0u, 1u}) {
      const std::vector<Sent> back = stage.pass_through(answer.build(), kServerSide, answered);
      ASSERT_EQ(back.size(), 1u);
      EXPECT_EQ(back[0].worker, asked);
      EXPECT_EQ(address_at(back[0].bytes, 26, false), kVip);
    }
    Flow own = answer;
    own.source_port = 5006;
    for (const std::uint32_t worker : {0u, 1u}) {
      own.destination_port++;
      expect_out(stage, own, worker);
    }
    EXPECT_EQ(stage.drops(), 0u);
    EXPECT_EQ(stage.count(Counter::sessions_created), 3u);
    stage.expect_accounted();
  }
}

TEST(OutboundProperty, WhatIsNotTheGatewaysToChangeArrivesAsItWasSentThereAndBack) {
  for (std::uint32_t seed = 1; seed <= 200; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const auto randomise = [&](Flow& f) {
      f.ttl = static_cast<std::uint8_t>(2 + pick(254));
      f.tos = static_cast<std::uint8_t>(pick(256));
      f.id = static_cast<std::uint16_t>(pick(65536));
      f.dont_fragment = pick(2) == 0;
      f.seq = static_cast<std::uint32_t>(random());
      f.ack = static_cast<std::uint32_t>(random());
      f.window = static_cast<std::uint16_t>(pick(65536));
      f.ip_options = !f.six && pick(4) == 0 ? Bytes{0x94, 4, 0, 0} : Bytes{};
      f.payload.resize(pick(2) == 0 ? pick(64) : pick(1300));
      for (std::uint8_t& byte : f.payload) byte = static_cast<std::uint8_t>(random());
      f.checksum_error = pick(8) == 0 ? static_cast<std::uint16_t>(1 + pick(0xfffe)) : std::uint16_t{0};
      f.no_udp_checksum = !f.tcp && !f.six && f.checksum_error == 0 && pick(4) == 0;
    };
    Stage stage({}, gateway(1));
    Flow request = outbound(pick(2) == 0);
    request.tcp = pick(2) == 0;
    request.source_port = static_cast<std::uint16_t>(1 + pick(65535));
    request.destination_port = static_cast<std::uint16_t>(1 + pick(65535));
    for (int packet = 0; packet < 4; packet++) {
      randomise(request);
      request.flags = packet == 0 ? kSyn : kAck;
      const Flow out = expect_out(stage, request);
      Flow answer = answer_to(out);
      randomise(answer);
      answer.flags = static_cast<std::uint8_t>(packet == 0 ? kSyn | kAck : kAck);
      expect_in(stage, answer, request);
    }
    EXPECT_EQ(stage.drops(), 0u);
    if (HasFailure()) return;
  }
}

TEST(OutboundProperty, NoTwoSessionsHaveTheSameAnswerAndEachAnswerFindsItsHost) {
  std::mt19937 random(20260102);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  Stage stage({.max_sessions = 256, .local_port_low = 4000, .local_port_high = 4011}, gateway(1));
  std::map<std::tuple<bool, std::string, std::uint16_t, std::string, std::uint16_t>, Flow> by_answer;
  std::set<std::tuple<bool, std::string, std::uint16_t, std::string, std::uint16_t>> begun;
  std::uint32_t refused = 0;
  for (int i = 0; i < 2000; i++) {
    Flow request = outbound();
    request.tcp = pick(2) == 0;
    const std::string host = std::to_string(11 + pick(4));
    request.source = "10.0.2." + host;
    request.eth_source = "02:00:00:00:02:" + host;
    request.source_port = static_cast<std::uint16_t>(1000 + pick(30));
    request.destination = "198.51.100." + std::to_string(1 + pick(3));
    request.destination_port = static_cast<std::uint16_t>(1 + pick(3));
    if (!begun.insert({request.tcp, request.source, request.source_port, request.destination, request.destination_port}).second) continue;
    const std::uint64_t before = stage.count(DropReason::local_ports_exhausted) + stage.count(DropReason::session_table_full);
    const auto sent = stage.pass_through(request.build(), kServerSide);
    if (sent.empty()) {
      EXPECT_EQ(stage.count(DropReason::local_ports_exhausted) + stage.count(DropReason::session_table_full), before + 1);
      refused++;
      continue;
    }
    const Flow out = outside(request, sent[0].bytes);
    ASSERT_EQ(sent[0].bytes, out.build());
    ASSERT_TRUE(by_answer.insert({{out.tcp, out.source, out.source_port, out.destination, out.destination_port}, request}).second);
  }
  EXPECT_GT(by_answer.size(), 100u);
  EXPECT_GT(refused, 100u);
  for (const auto& [key, request] : by_answer) {
    Flow out = request;
    out.source = std::get<1>(key);
    out.source_port = std::get<2>(key);
    out.eth_source = "02:00:00:00:00:01";
    out.eth_destination = "02:00:00:00:00:0c";
    expect_in(stage, answer_to(out), request);
  }
}

}  // namespace
}  // namespace millrace::test
