// NAT with several workers: answers come to any worker and are handed to the one that has the session; what answers no session is
// dropped under its own reason; servers that are clients of their own VIP.
#include <gtest/gtest.h>

#include "support/flow.h"
#include "support/modes.h"

namespace millrace {
namespace {

using namespace test;

struct Exchange {
  Flow request;
  Flow at_server;
};

/// A request through one worker.
Exchange ask(Stage& stage, Flow request, std::uint32_t worker = 0) {
  const auto out = stage.pass_through(request.build(), kClientSide, worker);
  EXPECT_EQ(out.size(), 1u);
  if (out.size() != 1) return {request, request};
  const Flow at_server = expected_at_server(ForwardMode::kNat, request.six, request, out[0].bytes);
  EXPECT_EQ(out[0].bytes, at_server.build());
  return {request, at_server};
}

Flow reply_to(const Exchange& exchange, std::uint8_t flags = kSyn | kAck) {
  Flow reply = reply_of(exchange.at_server);
  reply.ttl = 64;
  reply.flags = flags;
  return reply;
}

Flow request(bool six, bool tcp, std::uint16_t port = 40000) {
  Flow f = six ? flow6() : Flow{};
  f.tcp = tcp;
  f.destination_port = tcp ? 80 : 53;
  f.source_port = port;
  return f;
}

TEST(Nat, AnAnswerOnAnyWorkerReachesTheOneThatHasItsSession) {
  for (const std::uint32_t workers : {1u, 2u, 4u}) {
    for (const bool six : {false, true}) {
      for (const bool tcp : {false, true}) {
        Stage stage({.workers = workers}, mode_tables(workers, ForwardMode::kNat, six, six));
        std::uint64_t handed = 0;
        for (std::uint32_t asked = 0; asked < workers; asked++) {
          const Exchange exchange = ask(stage, request(six, tcp, static_cast<std::uint16_t>(40000 + asked)), asked);
          for (std::uint32_t answered = 0; answered < workers; answered++) {
            SCOPED_TRACE(std::to_string(asked) + " asked, " + std::to_string(answered) + " gets the answer");
            const Flow reply = reply_to(exchange);
            const auto back = stage.pass_through(reply.build(), kServerSide, answered);
            ASSERT_EQ(back.size(), 1u);
            EXPECT_EQ(back[0].worker, asked);
            EXPECT_EQ(back[0].interface, kClientSide);
            EXPECT_EQ(back[0].bytes, towards_client(reply, exchange.request).build());
            handed += answered == asked ? 0u : 1u;
          }
        }
        EXPECT_EQ(stage.count(Counter::handoff_sent), handed) << "at once, not by asking round";
        EXPECT_EQ(stage.drops(), 0u);
        stage.expect_accounted();
      }
    }
  }
}

TEST(Nat, MoreAnswersThanMayBeSearchedForAreHandedOverInOneMillisecond) {
  Stage stage({.workers = 2, .frames_per_worker = 4096, .ring_size = 2048}, mode_tables(2, ForwardMode::kNat, false, false));
  const Exchange exchange = ask(stage, request(false, true));
  const Bytes reply = reply_to(exchange, kAck).build();
  std::uint32_t sent = 0;
  for (std::uint32_t i = 0; i < 4 * kSearchesPerMs; i++) sent += stage.inject(reply, kServerSide, 1) ? 1 : 0;
  stage.settle();
  EXPECT_EQ(stage.take().size(), sent);
  EXPECT_EQ(stage.drops(), 0u);
}

TEST(Nat, AnswersFindTheirSessionAlsoWhereNobodyNotesOwners) {
  Stage stage({.workers = 4}, mode_tables(4, ForwardMode::kNat, false, false));
  for (std::uint32_t worker = 0; worker < 4; worker++) stage.state(worker).session_owners = nullptr;
  const Exchange exchange = ask(stage, request(false, true), 3);
  const auto back = stage.pass_through(reply_to(exchange).build(), kServerSide, 0);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].worker, 3u);
}

TEST(Nat, WhatAnswersNoSessionIsDroppedUnderItsReasonAndAskedForOnceRound) {
  for (const std::uint32_t workers : {1u, 2u, 4u}) {
    Stage stage({.workers = workers}, mode_tables(workers, ForwardMode::kNat, false, false));
    Flow stray;
    stray.source = "10.0.2.11";
    stray.destination = "198.51.100.7";
    stray.source_port = 8080;
    stray.destination_port = 40000;
    stray.flags = kAck;
    EXPECT_TRUE(stage.pass_through(stray.build(), kServerSide).empty());
    EXPECT_EQ(stage.count(DropReason::nat_no_session), 1u);
    EXPECT_EQ(stage.count(Counter::handoff_sent), workers - 1u);
    // Not from a service's port: nobody sent it to a worker.
    stray.source_port = 8081;
    EXPECT_TRUE(stage.pass_through(stray.build(), kServerSide).empty());
    EXPECT_EQ(stage.count(DropReason::address_not_owned), 1u);
    stage.expect_accounted();
  }
}

TEST(Nat, TheOwnerIsForgottenWithItsSession) {
  Stage stage({.workers = 2}, mode_tables(2, ForwardMode::kNat, false, false));
  const Exchange first = ask(stage, request(false, false), 0);
  stage.pass(default_timeouts(TimeoutProfile::kIpvs)[static_cast<std::size_t>(SessionState::kUdpOneWay)] + 3000);
  stage.settle();
  ASSERT_EQ(stage.count(Counter::sessions), 0u);
  // The same flow begins anew on the other worker; its answers go there.
  const Exchange second = ask(stage, request(false, false), 1);
  const std::uint64_t handed = stage.count(Counter::handoff_sent);
  const auto back = stage.pass_through(reply_to(second).build(), kServerSide, 0);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].worker, 1u);
  EXPECT_EQ(stage.count(Counter::handoff_sent), handed + 1);
}

TEST(Nat, AnIcmpErrorOfTheServersSideReachesTheOwnerAndThenTheClient) {
  for (const bool six : {false, true}) {
    Stage stage({.workers = 4}, mode_tables(4, ForwardMode::kNat, six, six));
    const Exchange exchange = ask(stage, request(six, false), 2);
    const Bytes sent = exchange.at_server.build();
    PacketBuilder error;
    error.eth({.source = "02:00:00:00:02:11", .destination = "02:00:00:00:00:02"});
    if (six) {
      error.ipv6({.source = exchange.at_server.destination, .destination = exchange.request.source}).icmp({.type = 1, .code = 4});
    } else {
      error.ipv4({.source = exchange.at_server.destination, .destination = exchange.request.source}).icmp({.type = 3, .code = 3});
    }
    const Bytes frame = error.payload(Bytes(sent.begin() + 14, sent.end())).build();
    const auto back = stage.pass_through(frame, kServerSide, 0);
    ASSERT_EQ(back.size(), 1u);
    EXPECT_EQ(back[0].worker, 2u);
    EXPECT_EQ(address_at(back[0].bytes, six ? 22 : 26, six), six ? kVip6 : kVip);
    EXPECT_EQ(stage.count(Counter::handoff_sent), 1u);
    EXPECT_EQ(stage.count(Counter::icmp_translated), 1u);
  }
}

TEST(Nat, FragmentsOfAnAnswerReachTheOwnerToo) {
  for (const std::uint32_t workers : {1u, 2u, 4u}) {
    Stage stage({.workers = workers}, mode_tables(workers, ForwardMode::kNat, false, false));
    const Exchange exchange = ask(stage, request(false, false), workers - 1);
    Flow reply = reply_to(exchange);
    const auto part = [&](bool first) {
      PacketBuilder b;
      b.eth({.source = reply.eth_source, .destination = reply.eth_destination});
      b.ipv4({.source = reply.source, .destination = reply.destination, .id = 9, .more_fragments = first,
              .fragment_offset = static_cast<std::uint16_t>(first ? 0 : 3), .protocol = 17});
      UdpFields udp{.source_port = reply.source_port, .destination_port = reply.destination_port};
      udp.length = std::uint16_t{40};
      udp.checksum = std::uint16_t{0};
      if (first) b.udp(udp);
      return b.payload_of(16).build();
    };
    for (std::uint32_t arrived = 0; arrived < workers; arrived++) {
      auto back = stage.pass_through(part(true), kServerSide, arrived);
      for (const Sent& later : stage.pass_through(part(false), kServerSide, arrived)) back.push_back(later);
      if (arrived == 0) {
        ASSERT_EQ(back.size(), 2u) << workers;
        for (const Sent& sent : back) {
          EXPECT_EQ(sent.worker, workers - 1);
          EXPECT_EQ(address_at(sent.bytes, 26, false), kVip);
        }
      }
    }
  }
}

TEST(Hairpin, AServerThatIsAClientOfItsOwnVipIsServedFromALocalAddress) {
  for (const ForwardMode mode : {ForwardMode::kNat, ForwardMode::kFullNat}) {
    for (const bool six : {false, true}) {
      Stage stage({}, mode_tables(1, mode, six, six));
      // Twice, so that it meets its neighbour and itself.
      for (const std::uint16_t port : {std::uint16_t{40000}, std::uint16_t{40001}}) {
        Flow from = request(six, true, port);
        from.source = six ? "fd00:2::11" : "10.0.2.11";
        from.eth_source = "02:00:00:00:02:11";
        from.eth_destination = "02:00:00:00:00:02";
        const auto out = stage.pass_through(from.build(), kServerSide);
        ASSERT_EQ(out.size(), 1u);
        EXPECT_EQ(out[0].interface, kServerSide);
        const Flow at_server = expected_at_server(ForwardMode::kFullNat, six, from, out[0].bytes);
        EXPECT_EQ(out[0].bytes, at_server.build());
        EXPECT_EQ(at_server.source, six ? "fd00:3::1" : "10.0.3.1");
        Flow reply = reply_of(at_server);
        reply.flags = kSyn | kAck;
        const auto back = stage.pass_through(reply.build(), kServerSide);
        ASSERT_EQ(back.size(), 1u);
        Flow expected = towards_client(reply, from);
        expected.eth_source = "02:00:00:00:00:02";
        expected.eth_destination = "02:00:00:00:02:11";
        EXPECT_EQ(back[0].bytes, expected.build());
        EXPECT_EQ(back[0].interface, kServerSide);
      }
      EXPECT_EQ(stage.drops(), 0u);
      stage.expect_accounted();
    }
  }
}

TEST(Hairpin, WithoutALocalAddressItIsDroppedUnderItsOwnReason) {
  TablesConfig config = mode_tables(1, ForwardMode::kNat, false, false);
  config.local_addresses.clear();
  Stage stage({}, config);
  Flow from = request(false, true);
  from.source = "10.0.2.12";
  expect_dropped(stage, from.build(), DropReason::hairpin_no_local_port, kServerSide);
  ask(stage, request(false, true));  // other clients need none
}

}  // namespace
}  // namespace millrace
