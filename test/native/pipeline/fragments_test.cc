// Fragments: all of a datagram reach one server and come back translated, in every mode, in whatever order, on however many workers;
// memory stays bounded; what cannot be a datagram goes nowhere. Fragments are cut and put together by test code of its own.
#include "pipeline/fragments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "support/flow.h"
#include "support/fragmenting.h"
#include "support/modes.h"

namespace millrace::test {
namespace {

Bytes bytes_of(std::size_t length, std::uint32_t seed = 1) {
  Random random(seed);
  Bytes bytes(length);
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random());
  return bytes;
}

Flow datagram(bool six, std::size_t length, std::uint16_t port = 40000) {
  Flow f = six ? flow6() : Flow{};
  f.tcp = false;
  f.source_port = port;
  f.destination_port = 53;
  f.payload = bytes_of(length, port);
  return f;
}

std::vector<Bytes> frames_of(const std::vector<Sent>& sent) {
  std::vector<Bytes> frames;
  for (const Sent& one : sent) frames.push_back(one.bytes);
  return frames;
}

/// Injects on one worker and runs until all is quiet.
std::vector<Bytes> through(Stage& stage, const std::vector<Bytes>& frames, std::uint16_t interface = kClientSide, std::uint32_t worker = 0) {
  std::vector<Bytes> out;
  for (const Bytes& frame : frames) {
    for (const Sent& one : stage.pass_through(frame, interface, worker)) out.push_back(one.bytes);
  }
  return out;
}

/// What comes out is one datagram, translated for a server; returns it as the server sees it.
Flow expect_whole_at_server(const std::vector<Bytes>& out, Flow request, std::uint32_t id) {
  const std::vector<Bytes> whole = reassembled(out);
  EXPECT_EQ(whole.size(), 1u);
  if (whole.size() != 1) return request;
  if (!request.six) request.id = static_cast<std::uint16_t>(id);
  const Flow expected = towards_server(request, whole[0]);
  EXPECT_EQ(whole[0], expected.build());
  return expected;
}

TEST(Fragments, OfADatagramReachOneServerAndItsAnswerComesBackWhole) {
  for (const bool six : {false, true}) {
    Stage stage({});
    const Flow request = datagram(six, 5000);
    const Flow at_server = expect_whole_at_server(through(stage, fragments_of(request.build(), 1208, 77)), request, 77);
    Flow reply = reply_of(at_server);
    reply.ttl = 64;
    reply.payload = bytes_of(7000, 9);
    const std::vector<Bytes> back = reassembled(through(stage, fragments_of(reply.build(), 1448, 99), kServerSide));
    ASSERT_EQ(back.size(), 1u);
    Flow expected = towards_client(reply, request);
    if (!six) expected.id = 99;
    EXPECT_EQ(back[0], expected.build());
    EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
    EXPECT_EQ(stage.count(Counter::fragments_forwarded), 10u);
    EXPECT_EQ(stage.count(Counter::datagrams_tracked), 0u);
    stage.expect_accounted();
  }
}

TEST(Fragments, KeepIdentificationAndOffsets) {
  Stage stage({});
  const Flow request = datagram(false, 3000);
  const std::vector<Bytes> in = fragments_of(request.build(), 1208, 0xbeef);
  const std::vector<Bytes> out = through(stage, in);
  ASSERT_EQ(out.size(), 3u);
  for (std::size_t i = 0; i < 3; i++) {
    EXPECT_EQ(Bytes(out[i].begin() + 18, out[i].begin() + 22), Bytes(in[i].begin() + 18, in[i].begin() + 22));
    EXPECT_EQ(out[i][22], 63);
    EXPECT_EQ(out[i].size(), in[i].size());
  }
}

TEST(Fragments, OfATcpSegmentBelongToItsConnection) {
  for (const bool six : {false, true}) {
    Stage stage({});
    Flow f = six ? flow6() : Flow{};
    expect_forwarded(stage, f);
    f.flags = kAck;
    f.payload = bytes_of(2000);
    expect_whole_at_server(through(stage, fragments_of(f.build(), 1000, 5)), f, 5);
    f.source_port++;
    EXPECT_TRUE(through(stage, fragments_of(f.build(), 1000, 6)).empty());
    EXPECT_EQ(stage.count(DropReason::tcp_no_session), 1u);
    EXPECT_EQ(stage.count(DropReason::fragment_orphan), 2u);
    stage.expect_accounted();
  }
}

TEST(Fragments, ThatComeBeforeTheFirstOneWaitForIt) {
  for (const bool six : {false, true}) {
    Stage stage({});
    const Flow request = datagram(six, 4000);
    std::vector<Bytes> in = fragments_of(request.build(), 800, 3);
    std::reverse(in.begin(), in.end());
    for (std::size_t i = 0; i + 1 < in.size(); i++) EXPECT_TRUE(stage.pass_through(in[i]).empty());
    EXPECT_EQ(stage.count(Counter::fragments_held), in.size() - 1);
    EXPECT_EQ(stage.count(Counter::datagrams_tracked), 1u);
    stage.expect_accounted();
    const std::vector<Bytes> out = frames_of(stage.pass_through(in.back()));
    ASSERT_EQ(out.size(), in.size());
    EXPECT_TRUE(six ? out[0][14 + 42] == 0 && (out[0][14 + 43] & 0xf8) == 0 : (out[0][20] & 0x1f) == 0 && out[0][21] == 0) << "the first one leaves first";
    expect_whole_at_server(out, request, 3);
    EXPECT_EQ(stage.count(Counter::fragments_held), 0u);
    stage.expect_accounted();
  }
}

TEST(Fragments, ThatWaitInVainAreDroppedAfterTwoSeconds) {
  Stage stage({});
  const std::vector<Bytes> in = fragments_of(datagram(false, 3000).build(), 800, 3);
  EXPECT_TRUE(through(stage, {in[1], in[2]}).empty());
  stage.pass(FragmentTracker::kLifetimeMs - 1);
  stage.settle();
  EXPECT_EQ(stage.count(DropReason::fragment_timeout), 0u);
  stage.pass(1);
  stage.settle();
  EXPECT_EQ(stage.count(DropReason::fragment_timeout), 2u);
  EXPECT_EQ(stage.count(Counter::fragments_held), 0u);
  EXPECT_EQ(stage.count(Counter::datagrams_tracked), 0u);
  stage.expect_accounted();
}

TEST(Fragments, ThatOverlapEndTheirDatagram) {
  for (const bool six : {false, true}) {
    const Bytes frame = datagram(six, 3000).build();
    struct Case {
      const char* what;
      std::vector<Bytes> in;
      std::size_t sent;
    };
    const auto part = [&](std::size_t from, std::size_t to) { return fragment_of(frame, from, to, 3); };
    const Bytes shorter = datagram(six, 2000).build();
    const std::vector<Case> cases = {
        {"begins inside another", {part(0, 800), part(792, 1600), part(1600, 3008)}, 1},
        {"ends inside another", {part(0, 800), part(1600, 3008), part(800, 1608)}, 2},
        {"contains another", {part(0, 800), part(1600, 2400), part(1592, 2408)}, 2},
        {"ends at two places", {part(0, 800), part(1600, 3008), fragment_of(shorter, 1200, 2008, 3)}, 2},
        {"goes on behind the end", {part(0, 800), fragment_of(shorter, 1200, 2008, 3), part(2400, 3008)}, 2},
        {"waits already", {part(1600, 2400), part(1592, 2408), part(0, 800)}, 0},
    };
    for (const Case& c : cases) {
      Stage stage({});
      EXPECT_EQ(through(stage, c.in).size(), c.sent) << c.what;
      EXPECT_EQ(stage.count(DropReason::fragment_overlap), c.in.size() - c.sent) << c.what;
      EXPECT_TRUE(through(stage, {part(2400, 3008)}).empty()) << c.what;
      stage.expect_accounted();
      stage.pass(FragmentTracker::kLifetimeMs);
      stage.settle();
      const Flow request = datagram(six, 3000);
      expect_whole_at_server(through(stage, fragments_of(request.build(), 1000, 3)), request, 3);
    }
  }
}

TEST(Fragments, ThatComeTwiceLeaveOnce) {
  Stage stage({});
  const Flow request = datagram(false, 3000);
  const std::vector<Bytes> in = fragments_of(request.build(), 800, 3);
  expect_whole_at_server(through(stage, {in[1], in[1], in[0], in[0], in[2], fragment_of(request.build(), 800, 1200, 3), in[3]}), request, 3);
  EXPECT_EQ(stage.count(DropReason::fragment_duplicate), 3u);
  stage.expect_accounted();
}

TEST(Fragments, OfAnAtomicDatagramAreOrdinaryPackets) {
  Stage stage({});
  const Flow request = datagram(true, 300);
  const Bytes atomic = fragment_of(request.build(), 0, 308, 3);
  const std::vector<Sent> sent = stage.pass_through(atomic);
  ASSERT_EQ(sent.size(), 1u);
  const Bytes header(sent[0].bytes.begin() + 54, sent[0].bytes.begin() + 62);
  EXPECT_EQ(header, (Bytes{17, 0, 0, 0, 0, 0, 0, 3})) << "the fragment header stays";
  EXPECT_EQ(stage.count(Counter::fragments_forwarded), 0u);
  EXPECT_EQ(stage.count(Counter::sessions), 1u);
}

TEST(Fragments, HaveNoEndlessMemory) {
  Stage stage({.frames_per_worker = 256});  // 32 may wait
  for (std::uint32_t id = 0; id < 2000; id++) {
    EXPECT_TRUE(stage.pass_through(fragment_of(datagram(false, 3000).build(), 800, 1600, id)).empty());
  }
  EXPECT_EQ(stage.count(Counter::fragments_held), 32u);
  EXPECT_EQ(stage.count(DropReason::fragment_table_full), 2000u - 32u);
  // Those that came last are still there.
  const Flow request = datagram(false, 3000);
  const std::vector<Bytes> out = through(stage, {fragment_of(request.build(), 0, 800, 1999), fragment_of(request.build(), 1600, 3008, 1999)});
  expect_whole_at_server(out, request, 1999);
  // Of one datagram no more than its share.
  Stage greedy({.frames_per_worker = 1024});
  const Bytes large = datagram(false, 60000).build();
  for (std::size_t from = 8; from < 8 * 100; from += 8) EXPECT_TRUE(greedy.pass_through(fragment_of(large, from, from + 8, 1)).empty());
  EXPECT_EQ(greedy.count(Counter::fragments_held), FragmentTracker::kHeldPerDatagram);
  EXPECT_EQ(greedy.count(DropReason::fragment_held_full), 99u - FragmentTracker::kHeldPerDatagram);
  greedy.expect_accounted();
}

TEST(Fragments, OfManyDatagramsMakeRoomForNewOnes) {
  Stage stage({});
  const Flow request = datagram(false, 3000);
  // Never complete, each known: more than the table has places for.
  for (std::uint32_t id = 0; id < FragmentTracker::kDatagrams + 50; id++) {
    EXPECT_EQ(stage.pass_through(fragment_of(request.build(), 0, 800, id)).size(), 1u);
  }
  EXPECT_EQ(stage.count(Counter::datagrams_tracked), FragmentTracker::kDatagrams);
  EXPECT_EQ(stage.pass_through(fragment_of(request.build(), 800, 1600, 500)).size(), 1u) << "a later one is known";
  EXPECT_EQ(stage.pass_through(fragment_of(request.build(), 800, 1600, 3)).size(), 0u) << "the oldest ones are forgotten";
  EXPECT_EQ(stage.count(Counter::fragments_held), 1u);
  stage.expect_accounted();
}

TEST(Fragments, ThatWaitedGoOnThoughOtherDatagramsFillTheTable) {
  Stage stage({.frames_per_worker = 1024});
  const Flow request = datagram(false, 3000);
  for (std::uint32_t id = 0; id + 1 < FragmentTracker::kDatagrams; id++) {
    EXPECT_EQ(stage.pass_through(fragment_of(request.build(), 0, 800, id)).size(), 1u);
  }
  std::vector<Bytes> in = fragments_of(request.build(), 1000, 5000);
  std::reverse(in.begin(), in.end());
  EXPECT_TRUE(through(stage, {in[0], in[1], in[2]}).empty());
  EXPECT_EQ(stage.count(Counter::fragments_held), 3u);
  // In one turn: the first fragment that they wait for, and one more datagram.
  ASSERT_TRUE(stage.inject(in[3]));
  ASSERT_TRUE(stage.inject(fragment_of(request.build(), 0, 800, 6000)));
  stage.settle();
  std::vector<Bytes> out = frames_of(stage.take());
  std::erase_if(out, [](const Bytes& frame) { return read16(frame, 18) != 5000; });
  expect_whole_at_server(out, request, 5000);
  EXPECT_EQ(stage.count(Counter::fragments_held), 0u);
  stage.expect_accounted();
}

TEST(Fragments, WaitForANeighbourLikeWholePackets) {
  Stage stage({});
  NetworkTables network = default_network();
  const NetworkTables resolved = network;
  for (NextHop& hop : network.next_hops) hop.resolved = false;
  stage.network(std::move(network));
  const Flow request = datagram(false, 3000);
  EXPECT_TRUE(through(stage, fragments_of(request.build(), 800, 3)).empty());
  EXPECT_EQ(stage.count(Counter::held_packets), 4u);
  stage.expect_accounted();
  stage.network(resolved);
  stage.settle();
  expect_whole_at_server(frames_of(stage.take()), request, 3);
  stage.expect_accounted();
}

TEST(Fragments, ThatAreTooBigForTheNextLinkAreCutAgain) {
  Stage stage({});
  NetworkTables network = default_network();
  for (NextHop& hop : network.next_hops) {
    if (hop.interface == kServerSide) hop.mtu = 700;
  }
  stage.network(std::move(network));
  const Flow request = datagram(false, 5000);
  const std::vector<Bytes> out = through(stage, fragments_of(request.build(), 1448, 3));
  EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](const Bytes& f) { return f.size() <= 714; }));
  EXPECT_GT(out.size(), 8u);
  expect_whole_at_server(out, request, 3);
  stage.expect_accounted();
  // IPv6 is never cut on the way: the sender is told.
  const std::vector<Bytes> in6 = fragments_of(datagram(true, 5000).build(), 1448, 3);
  const std::vector<Bytes> out6 = through(stage, {in6[0]});
  ASSERT_EQ(out6.size(), 1u);
  EXPECT_EQ(out6[0][20], 58);
  EXPECT_EQ(out6[0][54], 2);
  EXPECT_EQ(read16(out6[0], 60), 700);
}

TEST(Fragments, OfUdpWithoutChecksumCannotBecomeIpv6) {
  Stage stage({}, mode_tables(1, ForwardMode::kFullNat, false, true));
  Flow request = datagram(false, 3000);
  request.no_udp_checksum = true;
  EXPECT_TRUE(through(stage, fragments_of(request.build(), 800, 3)).empty());
  EXPECT_EQ(stage.count(DropReason::udp_checksum_missing), 1u);
  EXPECT_EQ(stage.count(DropReason::fragment_overlap) + stage.count(DropReason::fragment_orphan), 3u);
  stage.expect_accounted();
}

TEST(Fragments, ADatagramThatIsTooBigAsIpv6IsCutAndSummedUp) {
  Stage stage({}, mode_tables(1, ForwardMode::kFullNat, false, true));
  for (const bool summed : {true, false}) {
    Flow request = datagram(false, 1472);  // 1500 bytes as IPv4
    request.no_udp_checksum = !summed;
    const std::vector<Bytes> out = through(stage, {request.build()});
    ASSERT_EQ(out.size(), 2u);
    const std::vector<Bytes> whole = reassembled(out);
    ASSERT_EQ(whole.size(), 1u);
    request.no_udp_checksum = false;
    EXPECT_EQ(whole[0], expected_at_server(ForwardMode::kFullNat, true, request, whole[0]).build());
  }
}

TEST(Fragments, AUdpChecksumThatIsMissingIsThatOfTheDatagramNotOfWhatFollowsIt) {
  for (const std::size_t length : {std::size_t{100}, std::size_t{1440}}) {
    Stage stage({}, mode_tables(1, ForwardMode::kFullNat, false, true));
    const Bytes payload = bytes_of(length);
    PacketBuilder b;
    b.eth().ipv4().udp({.length = 58, .checksum = std::uint16_t{0}}).payload(payload);  // 50 bytes, and some behind them
    const std::vector<Bytes> whole = reassembled(through(stage, {b.build()}));
    ASSERT_EQ(whole.size(), 1u);
    const Bytes& out = whole[0];
    const Bytes source(out.begin() + 22, out.begin() + 38), destination(out.begin() + 38, out.begin() + 54);
    const Bytes udp(out.begin() + 54, out.begin() + 54 + 58);
    EXPECT_EQ(packet_detail::sum(udp, packet_detail::pseudo_sum(source, destination, 17, 58)), 0xffffu) << length;
    EXPECT_EQ(Bytes(out.begin() + 62, out.end()), payload) << "what follows is carried along";
    stage.expect_accounted();
  }
}

/// Random datagrams, fragmentations, orders and duplicates; each arrives at random workers.
void expect_everything_reassembles(ForwardMode mode, bool client6, bool server6, std::uint32_t workers, std::uint32_t seed) {
  SCOPED_TRACE(std::string(mode_name(mode)) + (client6 ? " 6" : " 4") + (server6 ? "6" : "4") + " workers " + std::to_string(workers));
  Random random(seed);
  Stage stage({.workers = workers, .frames_per_worker = 1024}, mode_tables(workers, mode, client6, server6));
  for (std::uint32_t round = 0; round < 30; round++) {
    Flow request = datagram(client6, random() % 6000, static_cast<std::uint16_t>(40000 + random() % 8));
    const std::uint32_t id = random();
    std::vector<Bytes> in = random_fragments_of(request.build(), 8, id, random);
    if (in.size() == 1) in = {request.build()};
    const bool single = in.size() == 1;
    std::shuffle(in.begin(), in.end(), random);
    // A copy that came after the last missing piece would begin the datagram anew.
    if (!single && random() % 2 == 0)
      in.insert(in.begin() + static_cast<std::ptrdiff_t>(random() % (in.size() - 1)), in[random() % (in.size() - 1)]);
    // All fragments in front of any worker, in groups: within a group they come in one turn.
    std::vector<Bytes> out;
    for (const Bytes& frame : in) {
      if (&frame == &in.back()) {
        stage.settle();
        for (Bytes& f : frames_of(stage.take())) out.push_back(std::move(f));
      }
      ASSERT_TRUE(stage.inject(frame, kClientSide, random() % workers));
      if (random() % 2 == 0) continue;
      stage.settle();
      for (Bytes& f : frames_of(stage.take())) out.push_back(std::move(f));
    }
    stage.settle();
    for (Bytes& f : frames_of(stage.take())) out.push_back(std::move(f));
    std::vector<Bytes> inner;
    for (const Bytes& frame : out) inner.push_back(without_tunnel(mode, client6, server6, frame));
    const std::vector<Bytes> whole = reassembled(inner);
    ASSERT_EQ(whole.size(), 1u) << "round " << round;
    if (!client6 && !single) request.id = static_cast<std::uint16_t>(id);
    if (client6 && !server6 && !is_tunnel(mode)) request.id = static_cast<std::uint16_t>(whole[0][18] << 8 | whole[0][19]);
    if (!client6 && server6 && !is_tunnel(mode)) request.id = 0;
    const Flow expected = expected_at_server(mode, server6, request, whole[0]);
    ASSERT_EQ(whole[0], expected.build()) << "round " << round;
    stage.expect_accounted();
    if (is_one_way(mode) || (mode == ForwardMode::kNat && workers > 1)) continue;
    // The answer, in fragments too.
    Flow reply = reply_of(expected);
    reply.ttl = 64;
    reply.payload = bytes_of(2000 + random() % 4000, random());
    std::vector<Bytes> back_in = random_fragments_of(reply.build(), 8, id, random);
    std::shuffle(back_in.begin(), back_in.end(), random);
    std::vector<Bytes> back;
    for (const Bytes& frame : back_in) {
      for (Bytes& f : through(stage, {frame}, kServerSide, random() % workers)) back.push_back(std::move(f));
    }
    const std::vector<Bytes> answer = reassembled(back);
    ASSERT_EQ(answer.size(), 1u);
    Flow at_client = towards_client(reply, request);
    at_client.six = client6;
    at_client.id = client6 == server6 ? (client6 ? reply.id : static_cast<std::uint16_t>(id)) : client6 ? std::uint16_t{0} : static_cast<std::uint16_t>(id);
    ASSERT_EQ(answer[0], at_client.build()) << "round " << round;
  }
  EXPECT_LE(stage.count(Counter::sessions_created), 8u) << "one session per flow, whoever created it";
  stage.expect_accounted();
}

TEST(Fragments, WhateverTheFragmentationTheDatagramArrivesTranslatedInEveryMode) {
  std::uint32_t seed = 1;
  for (const std::uint32_t workers : {1u, 2u, 3u}) {
    for (const bool six : {false, true}) {
      for (const ForwardMode mode : {ForwardMode::kFullNat, ForwardMode::kNat, ForwardMode::kDirect, ForwardMode::kTunnelIpip,
                                     ForwardMode::kTunnelGre, ForwardMode::kTunnelGue, ForwardMode::kL3Dsr}) {
        expect_everything_reassembles(mode, six, six, workers, seed++);
      }
      expect_everything_reassembles(ForwardMode::kFullNat, six, !six, workers, seed++);
      expect_everything_reassembles(ForwardMode::kTunnelIpip, six, !six, workers, seed++);
    }
  }
}

TEST(Fragments, ASessionThatBeganWithAFragmentIsFoundByWholePacketsEverywhere) {
  constexpr std::uint32_t workers = 3;
  for (std::uint32_t fragments_at = 0; fragments_at < workers; fragments_at++) {
    for (std::uint32_t whole_at = 0; whole_at < workers; whole_at++) {
      Stage stage({.workers = workers});
      const Flow large = datagram(false, 3000);
      expect_whole_at_server(through(stage, fragments_of(large.build(), 800, 3), kClientSide, fragments_at), large, 3);
      Flow small = large;
      small.payload = bytes_of(10);
      const std::vector<Sent> sent = stage.pass_through(small.build(), kClientSide, whole_at);
      ASSERT_EQ(sent.size(), 1u);
      EXPECT_EQ(sent[0].bytes, towards_server(small, sent[0].bytes).build());
      EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
      stage.expect_accounted();
    }
  }
}

TEST(Fragments, FindTheSessionThatAWholePacketBeganOnAnyWorker) {
  constexpr std::uint32_t workers = 3;
  for (std::uint32_t whole_at = 0; whole_at < workers; whole_at++) {
    for (std::uint32_t fragments_at = 0; fragments_at < workers; fragments_at++) {
      Stage stage({.workers = workers});
      const Flow small = datagram(true, 10);
      expect_forwarded(stage, small, whole_at);
      Flow large = small;
      large.payload = bytes_of(4000);
      expect_whole_at_server(through(stage, fragments_of(large.build(), 1000, 3), kClientSide, fragments_at), large, 3);
      EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
      EXPECT_EQ(stage.count(Counter::datagrams_tracked), 0u) << "nobody keeps what is complete";
      stage.expect_accounted();
    }
  }
}

TEST(Fragments, OfOneFlowOnSeveralWorkersAtOnceBeginOneSession) {
  constexpr std::uint32_t workers = 3;
  Stage stage({.workers = workers});
  const Flow large = datagram(false, 3000);
  Flow small = large;
  small.payload = bytes_of(10);
  for (std::uint32_t worker = 0; worker < workers; worker++) {
    for (const Bytes& f : fragments_of(large.build(), 1000, worker)) stage.inject(f, kClientSide, worker);
  }
  stage.settle();
  stage.take();
  for (std::uint32_t worker = 0; worker < workers; worker++) stage.inject(small.build(), kClientSide, worker);
  stage.settle();
  EXPECT_EQ(stage.take().size(), 3u);
  EXPECT_EQ(stage.count(Counter::sessions_created), 1u);
  stage.expect_accounted();
}

TEST(Fragments, OnceTheirSessionsAreGoneNewFlowsStayWhereTheyArrive) {
  constexpr std::uint32_t workers = 2;
  Stage stage({.workers = workers});
  const Flow large = datagram(false, 3000);
  through(stage, fragments_of(large.build(), 1000, 1), kClientSide, 0);
  stage.pass(310'000);  // longer than a UDP session lives, and than a mark
  stage.settle();
  ASSERT_EQ(stage.count(Counter::sessions), 0u);
  const std::uint64_t handed = stage.count(Counter::handoff_sent);
  for (std::uint32_t worker = 0; worker < workers; worker++) {
    expect_forwarded(stage, datagram(false, 10, static_cast<std::uint16_t>(41000 + worker)), worker);
  }
  EXPECT_EQ(stage.count(Counter::handoff_sent), handed);
}

TEST(Fragments, AFloodOfFirstOnesIsNotMultipliedByTheWorkers) {
  constexpr std::uint32_t workers = 2;
  Stage stage({.workers = workers, .frames_per_worker = 1024, .max_sessions = 2048});
  for (std::uint16_t port = 0; port < 200; port++) {
    Flow f = datagram(false, 1000, static_cast<std::uint16_t>(1000 + port));
    stage.inject(fragment_of(f.build(), 0, 504, port), kClientSide, 0);
  }
  stage.settle();
  stage.take();
  EXPECT_EQ(stage.count(DropReason::fragment_search_limited), 200u - kSearchesPerMs);
  EXPECT_EQ(stage.count(Counter::sessions_created), kSearchesPerMs);
  stage.expect_accounted();
}

TEST(Fragments, ExpiredTtlIsToldOnlyForTheFirstOne) {
  Stage stage({});
  Flow f = datagram(false, 3000);
  f.ttl = 1;
  const std::vector<Bytes> in = fragments_of(f.build(), 800, 3);
  EXPECT_EQ(through(stage, {in[1]}).size(), 0u);
  EXPECT_EQ(through(stage, {in[0]}).size(), 1u);
  EXPECT_EQ(stage.count(DropReason::ttl_expired), 2u);
}

TEST(Fragments, WithAHopLimitOfOneGoNoFurtherWhateverProtocolTheyClaim) {
  Stage stage({});
  Flow f = datagram(true, 3000);
  EXPECT_EQ(through(stage, {fragments_of(f.build(), 800, 3)[0]}).size(), 1u);
  f.ttl = 1;
  Bytes later = fragments_of(f.build(), 800, 3)[1];
  later[54] = 58;  // of later fragments nobody looks at it; ICMPv6 may arrive with hop limit 1
  const std::vector<Bytes> out = through(stage, {later});
  for (const Bytes& frame : out) EXPECT_EQ(frame[20], 58) << "what leaves is an ICMPv6 error";
  EXPECT_EQ(stage.count(DropReason::ttl_expired), 1u);
  EXPECT_EQ(stage.count(Counter::fragments_forwarded), 1u);
  stage.expect_accounted();
}

TEST(FragmentHomes, AMarkLastsAsLongAsItsSessionsAndAWhileAfterASearch) {
  FragmentHomes homes;
  EXPECT_FALSE(homes.marked(7, 1000));
  homes.mark(7, 1000);
  EXPECT_TRUE(homes.marked(7, 1000));
  EXPECT_TRUE(homes.marked(7, 1000 + FragmentHomes::kMarkMs - 1));
  EXPECT_FALSE(homes.marked(7, 1000 + FragmentHomes::kMarkMs));
  EXPECT_FALSE(homes.marked(8, 1000));
  homes.add_session(7);
  homes.add_session(7);
  EXPECT_TRUE(homes.marked(7, 900'000));
  homes.remove_session(7);
  EXPECT_TRUE(homes.marked(7, 900'000));
  homes.remove_session(7);
  EXPECT_FALSE(homes.marked(7, 900'000));
}

}  // namespace
}  // namespace millrace::test
