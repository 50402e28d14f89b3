// Sessions begin and end, and packets find their next hop, wait for it, or are dropped for lack of one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/held_queue.h"
#include "pipeline/pipeline.h"
#include "pipeline/resolve.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

TEST(Sessions, PortExhaustionIsNamedAndEndsWhenSessionsDo) {
  Stage stage({.local_port_low = 5000, .local_port_high = 5001});
  // Two servers, one local address, two ports: four sessions.
  for (std::uint16_t n = 0; n < 4; n++) expect_forwarded(stage, from_port(static_cast<std::uint16_t>(2000 + n)));
  expect_dropped(stage, from_port(3000).build(), DropReason::local_ports_exhausted);
  EXPECT_EQ(stage.state().local_ports->used(), 4u);
  expect_forwarded(stage, from_port(3000, false));  // another endpoint, other ports
  stage.pass(61'000);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::sessions), 1u) << "the UDP session lasts longer than SYN_RECV";
  expect_forwarded(stage, from_port(3000));
  stage.expect_accounted();
}

TEST(Sessions, AFullTableIsNamed) {
  Stage stage({.max_sessions = 3});
  for (std::uint16_t n = 0; n < 3; n++) expect_forwarded(stage, from_port(static_cast<std::uint16_t>(2000 + n)));
  expect_dropped(stage, from_port(3000).build(), DropReason::session_table_full);
  expect_forwarded(stage, from_port(2001));  // known flows go on
  EXPECT_EQ(stage.count(Counter::sessions), 3u);
}

TEST(Sessions, NothingIsLeftOfASessionThatHasExpired) {
  Stage stage({});
  for (std::uint16_t n = 0; n < 150; n++) {
    Flow f = n % 2 == 0 ? from_port(static_cast<std::uint16_t>(2000 + n), n % 4 == 0) : flow6();
    f.source_port = static_cast<std::uint16_t>(2000 + n);
    const Flow at_server = expect_forwarded(stage, f);
    Flow reply = reply_of(at_server);
    reply.flags = n % 3 == 0 ? kRst : kSyn | kAck;
    expect_returned(stage, reply, f);
  }
  EXPECT_EQ(stage.count(Counter::sessions), 150u);
  EXPECT_GT(stage.count(Counter::sessions_active), 0u);
  stage.pass(1'000'000);
  stage.settle();
  for (int turn = 0; turn < 4; turn++) stage.turn();  // 64 a turn
  EXPECT_EQ(stage.count(Counter::sessions), 0u);
  EXPECT_EQ(stage.count(Counter::sessions_active), 0u);
  EXPECT_EQ(stage.count(Counter::sessions_expired), 150u);
  EXPECT_EQ(stage.state().sessions->size(), 0u);
  EXPECT_EQ(stage.state().timers->size(), 0u);
  EXPECT_EQ(stage.state().local_ports->used(), 0u);
  for (ServerSlot slot = 0; slot < stage.builder().server_slot_limit(); slot++) {
    EXPECT_EQ(stage.state().server_stats[slot].active, 0u);
    EXPECT_EQ(stage.state().server_stats[slot].inactive, 0u);
    EXPECT_EQ(sessions_now(stage.state().server_stats[slot]), 0u);
  }
  for (LocalSlot slot = 0; slot < 2; slot++) EXPECT_EQ(stage.state().local_sessions[slot], 0u);
  stage.expect_accounted();
}

TEST(Sessions, ATurnOfTimersEndsNoMoreThanItsBudget) {
  Stage stage({});
  for (std::uint16_t n = 0; n < 100; n++) expect_forwarded(stage, from_port(static_cast<std::uint16_t>(2000 + n)));
  stage.pass(100'000);
  stage.state().now_ms = stage.now_ms();
  auto released = std::make_unique<Batch>();
  int calls = 0;
  for (std::uint64_t left = 100; left != 0; calls++) {
    ASSERT_LT(calls, 40);
    EXPECT_EQ(run_timers(stage.state(), 10, *released), 0u);
    EXPECT_LE(left - stage.count(Counter::sessions), 10u);
    left = stage.count(Counter::sessions);
  }
  EXPECT_GE(calls, 10);
}

TEST(Sessions, AServerThatLeftServesItsSessionsToTheEnd) {
  Stage stage({});
  Flow f = from_port(5000);
  const Flow at_server = expect_forwarded(stage, f);
  TablesConfig tables = default_tables(1);
  std::erase_if(tables.services[0].servers, [&](const ServerConfig& s) { return s.address == ip(at_server.destination); });
  stage.apply(tables);
  stage.reclaim();
  f.flags = kAck;
  EXPECT_EQ(expect_forwarded(stage, f).destination, at_server.destination);
  for (std::uint16_t n = 0; n < 4; n++) EXPECT_NE(expect_forwarded(stage, from_port(static_cast<std::uint16_t>(6000 + n))).destination, at_server.destination);
  EXPECT_TRUE(stage.builder().has_leavers());
  stage.pass(2'000'000);
  stage.settle();
  stage.reclaim();
  EXPECT_FALSE(stage.builder().has_leavers());
}

/// The default network with something changed.
template <class Change>
NetworkTables network_with(Change change) {
  NetworkTables network = default_network();
  change(network);
  return network;
}
NextHop& server_hop(NetworkTables& network, const std::string& server) {
  return network.next_hops[network.neighbours.at({ip(server), kServerSide})];
}
void set_resolved(NetworkTables& network, bool resolved) {
  for (std::size_t i = 2; i < network.next_hops.size(); i++) network.next_hops[i].resolved = resolved;
}

TEST(Resolve, PacketsWaitForASilentNeighbourAndKeepTheirOrder) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) { set_resolved(n, false); }));
  stage.settle();  // the new tables are looked at; packets held later are not tried again for them
  Flow f = from_port(5000);
  EXPECT_TRUE(stage.pass_through(f.build()).empty());
  Flow data = f;
  data.flags = kAck;
  for (std::uint8_t n = 0; n < 3; n++) {
    data.payload = {n};
    EXPECT_TRUE(stage.pass_through(data.build()).empty());
  }
  EXPECT_EQ(stage.count(Counter::held_packets), 4u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
  stage.expect_accounted();
  // Each packet asks again, for the next hop that is known but silent.
  ResolveRequest request;
  int requests = 0;
  for (; stage.memory().requests().pop(request); requests++) {
    EXPECT_EQ(request.kind, ResolveRequest::Kind::kNextHop);
    EXPECT_EQ(request.interface, kServerSide);
    EXPECT_NE(request.next_hop, 0u);
  }
  EXPECT_EQ(requests, 4);
  stage.network(default_network());
  stage.settle();
  const std::vector<Sent> sent = stage.take();
  ASSERT_EQ(sent.size(), 4u);
  EXPECT_EQ(sent[0].bytes, towards_server(f, sent[0].bytes).build());
  for (std::uint8_t n = 0; n < 3; n++) {
    data.payload = {n};
    EXPECT_EQ(sent[std::size_t{n} + 1].bytes, towards_server(data, sent[std::size_t{n} + 1].bytes).build());
  }
  EXPECT_EQ(stage.count(Counter::held_packets), 0u);
  stage.expect_accounted();
}

TEST(Resolve, ANeighbourWithoutANumberIsAskedForByItsAddress) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) { n.neighbours.clear(); }));
  stage.settle();
  EXPECT_TRUE(stage.pass_through(from_port(5000).build()).empty());
  ResolveRequest request;
  ASSERT_TRUE(stage.memory().requests().pop(request));
  EXPECT_EQ(request.kind, ResolveRequest::Kind::kNeighbour);
  EXPECT_EQ(request.interface, kServerSide);
  EXPECT_TRUE(request.address == ip("10.0.2.11") || request.address == ip("10.0.2.12"));
  EXPECT_EQ(stage.count(Counter::neighbour_requests), 1u);
  stage.network(default_network());
  stage.settle();
  EXPECT_EQ(stage.take().size(), 1u);
}

TEST(Resolve, AFullRequestRingOnlyDelays) {
  Stage stage({.max_sessions = 5000, .local_port_low = 1025});
  stage.network(network_with([](NetworkTables& n) { n.neighbours.clear(); }));
  for (std::uint16_t n = 0; n < 1200; n++) EXPECT_TRUE(stage.pass_through(from_port(static_cast<std::uint16_t>(2000 + n)).build()).empty());
  EXPECT_EQ(stage.count(Counter::neighbour_requests), 1024u);
  stage.expect_accounted();
}

TEST(Resolve, WhatWaitedTooLongIsDroppedWithItsReason) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) { set_resolved(n, false); }));
  EXPECT_TRUE(stage.pass_through(from_port(5000).build()).empty());
  stage.pass(HeldQueue::kWaitMs - 1);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::held_packets), 1u);
  stage.pass(1);
  stage.settle();
  EXPECT_EQ(stage.count(Counter::held_packets), 0u);
  EXPECT_EQ(stage.count(DropReason::neighbour_unresolved), 1u);
  stage.expect_accounted();
}

TEST(Resolve, ANeighbourThatFailedCostsItsPacketsNoWait) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) {
    set_resolved(n, false);
    for (std::size_t i = 2; i < n.next_hops.size(); i++) n.next_hops[i].failed = true;
  }));
  expect_dropped(stage, from_port(5000).build(), DropReason::neighbour_unresolved);
  EXPECT_EQ(stage.count(Counter::neighbour_requests), 1u) << "it may have come back";
}

TEST(Resolve, ANewMacIsUsedAtOnceAndANewRouteAfterItsGeneration) {
  Stage stage({});
  Flow f = from_port(5000);
  const Flow first = expect_forwarded(stage, f);
  f.flags = kAck;
  NetworkTables moved = default_network();
  server_hop(moved, first.destination).destination = mac("02:00:00:00:99:01");
  stage.network(moved);
  std::vector<Sent> sent = stage.pass_through(f.build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Bytes(sent[0].bytes.begin(), sent[0].bytes.begin() + 6), packet_detail::mac_bytes("02:00:00:00:99:01"));
  // The server is now behind the client's router. Sessions look again only when the generation says so.
  NetworkTables rerouted = default_network();
  rerouted.routes.add({ip("10.0.2.0"), 120, 1, kClientSide, false});
  rerouted.route_generation = 2;
  stage.network(rerouted);
  sent = stage.pass_through(f.build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].interface, kClientSide);
  EXPECT_EQ(Bytes(sent[0].bytes.begin(), sent[0].bytes.begin() + 6), packet_detail::mac_bytes("02:00:00:00:00:0c"));
  EXPECT_EQ(stage.drops(), 0u);
}

TEST(Resolve, NamesWhyThereIsNoWay) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) {
    n.routes = RouteTable();
    n.routes.add({ip("0.0.0.0"), 96, 1, kClientSide, false});
    n.routes.add({ip("10.0.2.0"), 120, 0, kServerSide, true});
    n.routes.add({ip("::"), 0, 1, kClientSide, false});
  }));
  expect_dropped(stage, from_port(5000).build(), DropReason::no_route);  // unreachable, though the default route would match
  stage.network(network_with([](NetworkTables& n) { n.routes = RouteTable(); }));
  expect_dropped(stage, from_port(5001).build(), DropReason::no_route);
  stage.network(network_with([](NetworkTables& n) { n.interfaces[kServerSide].usable = false; }));
  expect_dropped(stage, from_port(5002).build(), DropReason::interface_gone);
  stage.network(network_with([](NetworkTables& n) {
    for (NextHop& hop : n.next_hops) hop.mtu = 100;
  }));
  Flow f = from_port(5003, false);
  f.payload = Bytes(72, 1);
  expect_forwarded(stage, f);
  f.payload.push_back(1);
  f.dont_fragment = true;
  expect_refused(stage, f.build(), DropReason::mtu_exceeded, 3, 4);
  stage.expect_accounted();
}

TEST(Resolve, TheReplyOfASessionWaitsForTheClientsRouter) {
  Stage stage({});
  const Flow f = from_port(5000);
  Flow reply = reply_of(expect_forwarded(stage, f));
  reply.flags = kSyn | kAck;
  NetworkTables silent = default_network();
  silent.next_hops[1].resolved = false;
  stage.network(silent);
  EXPECT_TRUE(stage.pass_through(reply.build(), kServerSide).empty());
  EXPECT_EQ(stage.count(Counter::held_packets), 1u);
  stage.network(default_network());
  stage.settle();
  const std::vector<Sent> sent = stage.take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes, towards_client(reply, f).build());
}

TEST(HeldQueue, GivesEachDestinationAShareAndAllOfThemALimit) {
  HeldQueue queue;
  const auto destination = [](std::uint32_t n) { return IpAddress::v4(be32(0x0a000000 + n)); };
  for (std::uint32_t d = 0; d < 8; d++) {
    for (std::uint32_t n = 0; n < HeldQueue::kPerDestination; n++) EXPECT_TRUE(queue.hold({nullptr, d * 100 + n, 0, 0, 0}, destination(d), 5));
    EXPECT_FALSE(queue.hold({}, destination(d), 5));
  }
  EXPECT_EQ(queue.size(), HeldQueue::kCapacity);
  EXPECT_FALSE(queue.hold({}, destination(9), 5)) << "full for everybody";
  // The oldest come first, as many as fit.
  Batch batch;
  batch.count = kBatchSize - 3;
  queue.release_into(batch);
  EXPECT_TRUE(batch.full());
  for (std::uint32_t n = 0; n < 3; n++) EXPECT_EQ(batch.packets[kBatchSize - 3 + n].length, n);
  EXPECT_EQ(queue.size(), HeldQueue::kCapacity - 3);
  EXPECT_TRUE(queue.hold({nullptr, 777, 0, 0, 0}, destination(0), 900));
  // A clock that wraps does not confuse deadlines.
  std::vector<std::uint32_t> given_up;
  queue.expire(5 + HeldQueue::kWaitMs, [&](const Packet& packet) { given_up.push_back(packet.length); });
  EXPECT_EQ(given_up.size(), 61u);
  EXPECT_EQ(given_up.front(), 3u);
  EXPECT_EQ(queue.size(), 1u);
  queue.expire(900 + HeldQueue::kWaitMs, [&](const Packet& packet) { EXPECT_EQ(packet.length, 777u); });
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_TRUE(queue.hold({}, destination(0), 0xffffffff - 10));
  queue.expire(500, [&](const Packet&) { ADD_FAILURE() << "511 ms are not a second"; });
  EXPECT_EQ(queue.size(), 1u);
}

TEST(HeldQueue, PacketsBeyondADestinationsShareAreDroppedWithTheirReason) {
  Stage stage({});
  stage.network(network_with([](NetworkTables& n) { set_resolved(n, false); }));
  Flow f = from_port(5000);
  for (std::uint32_t n = 0; n < HeldQueue::kPerDestination; n++) EXPECT_TRUE(stage.pass_through(f.build()).empty());
  expect_dropped(stage, f.build(), DropReason::held_queue_full);
  EXPECT_EQ(stage.count(Counter::held_packets), HeldQueue::kPerDestination);
  stage.expect_accounted();
}

}  // namespace
}  // namespace millrace::test
