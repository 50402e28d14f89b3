// What is said of clients, byte by byte, and what is not: TOA, UOA, PROXY headers on datagrams; options that clients forge; numbers of new
// connections; headers of balancers in front that are none. Whole connections over bad links: told_connections_test.cc.
#include "pipeline/client_address.h"

#include <gtest/gtest.h>

#include <random>

#include "net/tcp_options.h"
#include "pipeline/toa.h"
#include "support/tiny_tcp.h"

namespace millrace::test {
namespace {

const std::string kClient = "198.51.100.7";
constexpr std::uint16_t kClientPort = 31337;

TablesConfig with(const ClientAddressConfig& tcp, const ClientAddressConfig& udp = {}) {
  TablesConfig config = default_tables(1);
  for (ServiceConfig& service : config.services) service.client_address = service.protocol == 6 ? tcp : udp;
  return config;
}

ClientAddressConfig method(ClientAddressMethod m) {
  ClientAddressConfig config;
  config.method = m;
  return config;
}

/// A connection by hand: what each side sends, and what the other one gets.
class Connection {
 public:
  explicit Connection(Stage& stage, std::uint16_t port = kClientPort, bool six = false) : stage_(stage) {
    client = six ? flow6() : Flow{};
    client.source_port = port;
    client.seq = 1000;
    client.dont_fragment = true;
  }
  /// What the server gets for the client's packet.
  std::vector<Segment> send(std::uint8_t flags, const Bytes& payload = {}, const std::vector<Bytes>& options = {}) {
    client.flags = flags;
    client.payload = payload;
    client.tcp_options = options;
    return segments(stage_.pass_through(client.build()), kServerSide);
  }
  std::vector<Segment> answer(std::uint8_t flags, std::uint32_t ack, const Bytes& payload = {}, const std::vector<Bytes>& options = {}) {
    server.flags = flags;
    server.ack = ack;
    server.payload = payload;
    server.tcp_options = options;
    return segments(stage_.pass_through(server.build(), kServerSide), kClientSide);
  }
  /// SYN and SYN-ACK; the server's next packet has seq 5001.
  void open(const std::vector<Bytes>& options = {{2, 4, 5, 0xb4}}) {
    const auto syn = send(kSyn, {}, options);
    ASSERT_EQ(syn.size(), 1u);
    first = syn[0].seq + 1;
    learn(syn[0]);
    server.seq = 5000;
    syn_ack = answer(kSyn | kAck, first, {}, options).at(0);
    server.seq = 5001;
    client.seq = 1001;
    client.ack = 5001;
  }
  void learn(const Segment& s) {
    server.six = s.six;
    server.source = address_at(s.destination, 0, s.six);
    server.destination = address_at(s.source, 0, s.six);
    server.source_port = s.destination_port;
    server.destination_port = s.source_port;
    server.eth_source = "02:00:00:00:02:0b";
    server.eth_destination = "02:00:00:00:00:02";
    server.dont_fragment = true;
  }
  static std::vector<Segment> segments(const std::vector<Sent>& sent, std::uint16_t side) {
    std::vector<Segment> out;
    for (const Sent& one : sent) {
      if (one.interface == side) out.push_back(segment_of(one.bytes));
    }
    return out;
  }

  Flow client, server;
  /// The first byte of the stream in the server's numbering.
  std::uint32_t first = 0;
  Segment syn_ack;

 private:
  Stage& stage_;
};

Bytes toa_of(std::uint8_t kind = 254) { return {kind, 8, 0x7a, 0x69, 198, 51, 100, 7}; }

TEST(Toa, IsTheFirstOptionAndAsDpvsAndAlibabaWriteIt) {
  ClientAddressConfig rule = method(ClientAddressMethod::kToa);
  rule.kind_ipv6 = 253;
  Stage stage({}, with(rule));
  Connection four(stage);
  four.open();
  EXPECT_EQ(four.send(kAck).at(0).options, toa_of());
  Connection six(stage, kClientPort, true);
  six.open();
  EXPECT_EQ(six.send(kAck).at(0).options, (Bytes{253, 20, 0x7a, 0x69, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}));
  EXPECT_EQ(stage.count(Counter::client_addresses_sent), 2u);
  stage.expect_accounted();
}

TEST(Toa, StandsOnEveryPacketUntilTheClientHasHeardTheServer) {
  Stage stage({}, with(method(ClientAddressMethod::kToa)));
  Connection c(stage);
  c.open();
  EXPECT_TRUE(c.send(kAck).at(0).option(254));
  EXPECT_TRUE(c.send(kAck, Bytes(100, 'x')).at(0).option(254));
  c.client.seq += 100;
  EXPECT_TRUE(c.send(kAck | kFin).at(0).option(254));
  c.answer(kAck, c.first + 101, Bytes(10, 'y'));
  c.client.ack = 5011;
  c.client.seq += 1;
  EXPECT_FALSE(c.send(kAck).at(0).option(254));
  // And not again for a packet that comes late.
  c.client.ack = 5001;
  EXPECT_FALSE(c.send(kAck).at(0).option(254));
  EXPECT_FALSE(c.send(kRst).at(0).option(254));
}

TEST(Toa, IsOnTheSynWhereAskedFor) {
  ClientAddressConfig rule = method(ClientAddressMethod::kToa);
  Stage plain({}, with(rule));
  Connection none(plain);
  EXPECT_FALSE(none.send(kSyn, {}, {{2, 4, 5, 0xb4}}).at(0).option(254));
  rule.on_syn = true;
  Stage stage({}, with(rule));
  Connection c(stage);
  // MSS, SACK, timestamps, window scale: 20 bytes; with TOA of IPv6 there is just room.
  const std::vector<Bytes> options = {{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7}};
  const Segment syn = c.send(kSyn, {}, options).at(0);
  EXPECT_EQ(Bytes(syn.options.begin(), syn.options.begin() + 8), toa_of());
  EXPECT_TRUE(syn.option(2) && syn.option(3) && syn.option(4) && syn.option(8));
}

TEST(Toa, OfASegmentThatIsFullIsOnBothHalvesOfIt) {
  Stage stage({}, with(method(ClientAddressMethod::kToa)));
  Connection c(stage);
  c.open();
  EXPECT_EQ(c.syn_ack.option(2), (Bytes{2, 4, 5, 0xb4}));
  Bytes payload(1460);
  for (std::size_t i = 0; i < payload.size(); i++) payload[i] = static_cast<std::uint8_t>(i * 7);
  const auto halves = c.send(kAck | kFin | 8, payload);
  ASSERT_EQ(halves.size(), 2u);
  Bytes together;
  for (const Segment& half : halves) {
    EXPECT_EQ(half.option(254), toa_of());
    EXPECT_EQ(half.seq, c.first + together.size());
    packet_detail::append(together, half.payload);
  }
  EXPECT_EQ(together, payload);
  EXPECT_FALSE(halves[0].has(kFin) || halves[0].has(8));
  EXPECT_TRUE(halves[1].has(kFin) && halves[1].has(8));
  EXPECT_EQ(stage.count(Counter::segments_divided), 1u);
  EXPECT_EQ(stage.count(Counter::client_address_no_room), 1u);
  // The next connection's segments are smaller by what the option needs.
  Connection next(stage, 31338);
  next.open();
  EXPECT_EQ(next.syn_ack.option(2), (Bytes{2, 4, 0x05, 0xac}));
  EXPECT_EQ(next.send(kAck, Bytes(1452, 'x')).size(), 1u);
  stage.expect_accounted();
}

TEST(Toa, WithAWrongChecksumOrAnUrgentPointerIsNotDivided) {
  Stage stage({}, with(method(ClientAddressMethod::kToa)));
  Connection c(stage);
  c.open();
  const auto urgent = c.send(kAck | 32, Bytes(1460, 'x'));
  ASSERT_EQ(urgent.size(), 1u);
  EXPECT_FALSE(urgent[0].option(254));
  c.client.checksum_error = 0x1234;
  c.client.flags = kAck;
  const auto sent = stage.pass_through(c.client.build());
  ASSERT_EQ(sent.size(), 1u) << "and stays wrong";
}

TEST(Pruning, MakesRoomInTheDocumentedOrderAndKeepsWhatMustStay) {
  const Bytes sack = {5, 26, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6};
  Bytes options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
  options.insert(options.end(), sack.begin(), sack.end());
  options.resize(40, 1);
  Bytes out(40);
  // 40 bytes less the option of IPv4: padding goes, and the last SACK block.
  std::int32_t length = prune_options(options, false, 32, out);
  ASSERT_EQ(length, 28 + 0);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + 12), (Bytes{8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 18}));
  // Less that of IPv6: one block stays.
  length = prune_options(options, false, 20, out);
  ASSERT_EQ(length, 20);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + 20), (Bytes{8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_EQ(prune_options(options, false, 12, out), 12) << "timestamps alone";
  EXPECT_EQ(prune_options(options, false, 8, out), -1) << "and they stay";
}

TEST(Pruning, OfAnyOptionsGivesOptionsThatFit) {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; round++) {
    Bytes options(4 * (random() % 11));
    std::size_t at = 0;
    while (at < options.size()) {
      static constexpr std::uint8_t kinds[] = {0, 1, 2, 3, 4, 5, 8, 30, 34, 77, 254};
      const std::uint8_t kind = kinds[random() % sizeof(kinds)];
      options[at++] = kind;
      if (kind < 2 || at == options.size()) continue;
      options[at] = static_cast<std::uint8_t>(random() % 8 == 0 ? random() : 2 + random() % 12);
      at += std::max<std::size_t>(1, options[at] - 1u);
    }
    const bool syn = random() % 2 == 0;
    for (const std::uint32_t room : {20u, 32u}) {
      Bytes out(44, 0xee);
      const std::int32_t length = prune_options(options, syn, room, out);
      if (length < 0) continue;
      ASSERT_LE(length, static_cast<std::int32_t>(room));
      ASSERT_EQ(length % 4, 0);
      for (std::size_t i = room; i < out.size(); i++) ASSERT_EQ(out[i], 0xee) << "written beyond the room";
      std::uint32_t kept = 0, had = 0;
      const auto must = [&](std::uint8_t kind) { return kind == 8 || (syn && (kind == 2 || kind == 3 || kind == 4)); };
      net::for_each_tcp_option(options, [&](std::uint8_t kind, std::uint32_t, std::uint32_t) { had += must(kind) ? 1u : 0u; });
      EXPECT_TRUE(net::for_each_tcp_option(std::span(out).first(static_cast<std::size_t>(length)), [&](std::uint8_t kind, std::uint32_t, std::uint32_t) { kept += must(kind) ? 1u : 0u; }));
      EXPECT_EQ(kept, had);
    }
  }
}

TEST(ForgedAddresses, OfAClientReachNoServer) {
  for (const auto m : {ClientAddressMethod::kNone, ClientAddressMethod::kToa, ClientAddressMethod::kProxyV2}) {
    Stage stage({}, with(method(m)));
    Connection c(stage);
    const Bytes forged4 = {254, 8, 1, 2, 10, 9, 8, 7}, forged6 = [] {
      Bytes b(20, 9);
      b[0] = 253;
      b[1] = 20;
      return b;
    }();
    c.open({{2, 4, 5, 0xb4}, forged4});
    for (const auto& [options, payload] : {std::pair<std::vector<Bytes>, Bytes>{{forged4}, {}},
                                           {{forged6}, Bytes(10, 'x')},
                                           {{{1}, forged4, {252, 8, 1, 2, 10, 9, 8, 7}}, Bytes(10, 'x')}}) {
      for (const Segment& s : c.send(kAck, payload, options)) {
        const auto toa = s.option(254);
        EXPECT_EQ(toa.has_value(), m == ClientAddressMethod::kToa);
        if (toa) {
          EXPECT_EQ(*toa, toa_of());
        }
        EXPECT_FALSE(s.option(253) || s.option(252));
      }
    }
    EXPECT_EQ(stage.count(Counter::forged_addresses_removed), 5u);
    stage.expect_accounted();
  }
}

TEST(ForgedAddresses, InIpOptionsAreBlankedAndOthersStay) {
  Stage stage({}, default_tables(1));
  Flow f;
  f.tcp = false;
  f.destination_port = 53;
  f.ip_options = {7, 3, 4, 31, 8, 1, 2, 10, 9, 8, 7};  // record route, then UOA
  f.payload = Bytes(9, 'q');
  const auto sent = stage.pass_through(f.build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Bytes(sent[0].bytes.begin() + 34, sent[0].bytes.begin() + 46), (Bytes{7, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 0}));
  EXPECT_EQ(packet_detail::sum(Bytes(sent[0].bytes.begin() + 14, sent[0].bytes.begin() + 46)), 0xffffu);
  // As a header of its own it is of no protocol that is balanced.
  Bytes frame = f.build();
  frame[23] = 248;
  EXPECT_TRUE(stage.pass_through(frame).empty());
}

TEST(FastOpen, IsTakenOutOfTheSyn) {
  for (const Bytes& option : {Bytes{34, 10, 1, 2, 3, 4, 5, 6, 7, 8}, Bytes{254, 8, 0xf9, 0x89, 1, 2, 3, 4}}) {
    Stage stage({}, with(method(ClientAddressMethod::kProxyV1)));
    Connection c(stage);
    const Segment syn = c.send(kSyn, Bytes(200, 'd'), {{2, 4, 5, 0xb4}, option}).at(0);
    EXPECT_TRUE(syn.payload.empty());
    EXPECT_TRUE(syn.option(2));
    EXPECT_FALSE(syn.option(34) || syn.option(254));
    EXPECT_EQ(stage.count(Counter::fast_open_refused), 1u);
  }
}

TEST(Numbers, OfConnectionsThatShareALocalPortOnlyGoUp) {
  for (const auto m : {ClientAddressMethod::kToa, ClientAddressMethod::kProxyV1}) {
    // One local port: every connection to a server has the same four numbers towards it.
    Stage stage({.local_port_low = 2000, .local_port_high = 2000}, with(method(m)));
    std::optional<Segment> last[2];
    for (std::uint16_t round = 0; round < 40; round++) {
      Connection c(stage, static_cast<std::uint16_t>(3000 + round));
      c.client.seq = round * 0x31415927u;
      Bytes ts = {1, 1, 8, 10};
      packet_detail::put32(ts, round * 0x27182818u);
      packet_detail::put32(ts, 0);
      const auto syn = c.send(kSyn, {}, {ts});
      if (syn.empty()) {
        stage.pass(200'000);  // the port is somebody's still
        stage.settle();
        continue;
      }
      auto& before = last[syn[0].destination.back() & 1];
      if (before) {
        EXPECT_EQ(before->source_port, syn[0].source_port);
        EXPECT_GT(static_cast<std::int32_t>(syn[0].seq - before->seq), 0);
        EXPECT_GT(static_cast<std::int32_t>(read32(*syn[0].option(8), 2) - read32(*before->option(8), 2)), 0);
      }
      before = syn[0];
      c.client.seq++;
      c.client.ack = 1;
      c.learn(syn[0]);
      c.answer(kRst | kAck, syn[0].seq + 1);
      stage.pass(11'000);
      stage.settle();
    }
    ASSERT_TRUE(last[0] || last[1]);
  }
}

TEST(Numbers, AreNotForetoldByThoseOfAnotherServer) {
  Stage stage({}, with(method(ClientAddressMethod::kToa)));
  std::vector<std::uint32_t> numbers;
  for (std::uint16_t i = 0; i < 200; i++) {
    Connection c(stage, static_cast<std::uint16_t>(4000 + i));
    numbers.push_back(c.send(kSyn).at(0).seq);
  }
  // One after the other in one millisecond: with a counter, or the hash's first byte alone, they would stand close.
  std::sort(numbers.begin(), numbers.end());
  std::size_t close = 0;
  for (std::size_t i = 1; i < numbers.size(); i++) close += numbers[i] - numbers[i - 1] < 4096 ? 1u : 0u;
  EXPECT_LE(close, 3u);
}

TEST(Headers, AreRepeatedByTheBalancerUntilTheServerHasThem) {
  ClientAddressConfig rule = method(ClientAddressMethod::kProxyV1);
  rule.server_first = true;
  Stage stage({}, with(rule));
  Connection c(stage);
  c.open();
  const Segment header = c.send(kAck).at(0);
  EXPECT_EQ(std::string(header.payload.begin(), header.payload.end()), "PROXY TCP4 198.51.100.7 203.0.113.10 31337 80\r\n");
  EXPECT_EQ(header.seq, c.first);
  std::uint32_t waited = 0;
  for (const std::uint32_t delay : {200u, 400u, 800u, 1600u, 3200u, 6400u, 6400u}) {
    stage.pass(delay - 1);
    stage.settle();
    EXPECT_TRUE(stage.take().empty());
    stage.pass(1);
    stage.settle();
    const auto again = Connection::segments(stage.take(), kServerSide);
    ASSERT_EQ(again.size(), 1u) << "after " << (waited += delay);
    EXPECT_EQ(again[0].payload, header.payload);
    EXPECT_EQ(again[0].seq, header.seq);
    EXPECT_EQ(again[0].ack, 5001u);
  }
  // A window that the header still has to go into is not all the client's.
  c.server.window = 1000;
  const Segment told = c.answer(kAck, c.first).at(0);
  EXPECT_EQ(told.ack, 1001u);
  EXPECT_EQ(told.window, 1000 - header.payload.size());
  const Segment taken = c.answer(kAck, c.first + static_cast<std::uint32_t>(header.payload.size())).at(0);
  EXPECT_EQ(taken.ack, 1001u);
  EXPECT_EQ(taken.window, 1000u);
  stage.pass(60'000);
  stage.settle();
  EXPECT_TRUE(stage.take().empty());
  EXPECT_EQ(stage.count(Counter::proxy_headers_repeated), 7u);
  stage.expect_accounted();
}

TEST(Headers, OfAConnectionStayWhatTheyWereWhenTheConfigurationChanges) {
  Stage stage({}, with(method(ClientAddressMethod::kProxyV1)));
  Connection c(stage);
  c.open();
  stage.apply(with({}));
  const Segment data = c.send(kAck, Bytes(5, 'x')).at(0);
  EXPECT_EQ(std::string(data.payload.begin(), data.payload.end()), "PROXY TCP4 198.51.100.7 203.0.113.10 31337 80\r\nxxxxx");
  Connection next(stage, 31338);
  next.open();
  EXPECT_EQ(next.send(kAck, Bytes(5, 'x')).at(0).payload.size(), 5u);
}

TEST(Headers, GoAheadOfASegmentThatHasNoRoomForThem) {
  Stage stage({}, with(method(ClientAddressMethod::kProxyV2)));
  Connection c(stage);
  c.open();
  const auto sent = c.send(kAck, Bytes(1460, 'x'));
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].payload.size(), 28u) << "first";
  EXPECT_EQ(sent[1].seq, sent[0].seq + 28);
  EXPECT_EQ(sent[1].payload, Bytes(1460, 'x'));
  stage.expect_accounted();
}

TEST(IcmpErrors, QuoteTheNumberThatTheClientKnows) {
  Stage stage({}, with(method(ClientAddressMethod::kToa)));
  Connection c(stage);
  c.open();
  c.client.flags = kAck;
  c.client.payload = Bytes(100, 'x');
  const auto sent = stage.pass_through(c.client.build());
  ASSERT_EQ(sent.size(), 1u);
  const Bytes quote(sent[0].bytes.begin() + 14, sent[0].bytes.begin() + 14 + 28);
  PacketBuilder error;
  error.eth({.source = "02:00:00:00:02:0b", .destination = "02:00:00:00:00:02"});
  error.ipv4({.source = "10.0.2.11", .destination = "10.0.3.1"});
  error.icmp({.type = 3, .code = 1});
  const auto told = stage.pass_through(error.payload(quote).build(), kServerSide);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(read32(told[0].bytes, 14 + 20 + 8 + 20 + 4), 1001u);
}

TEST(Fragments, ThatWouldHaveToCarryAnAddressAreDroppedWithAReason) {
  Stage stage({}, with(method(ClientAddressMethod::kToa), method(ClientAddressMethod::kProxyV2)));
  Flow f;
  f.tcp = false;
  f.destination_port = 53;
  f.payload = Bytes(64, 'x');
  Bytes first = f.build();
  first[20] = 0x20;  // more fragments
  first[24] = first[25] = 0;
  const std::uint32_t sum = 0xffff - packet_detail::sum(Bytes(first.begin() + 14, first.begin() + 34));
  first[24] = static_cast<std::uint8_t>(sum >> 8);
  first[25] = static_cast<std::uint8_t>(sum);
  EXPECT_TRUE(stage.pass_through(first).empty());
  EXPECT_EQ(stage.count(DropReason::client_address_fragment), 1u);
  stage.expect_accounted();
}

// ---- UDP

Flow datagram(std::size_t size, bool six = false) {
  Flow f = six ? flow6() : Flow{};
  f.tcp = false;
  f.source_port = kClientPort;
  f.destination_port = 53;
  f.payload = Bytes(size, 'q');
  return f;
}

Flow reply_to(const Bytes& sent, bool six) {
  Flow f;
  f.six = six;
  f.tcp = false;
  f.source = address_at(sent, six ? 38 : 30, six);
  f.destination = address_at(sent, six ? 22 : 26, six);
  f.source_port = 5353;
  f.eth_source = "02:00:00:00:02:0b";
  f.eth_destination = "02:00:00:00:00:02";
  f.payload = Bytes(20, 'r');
  return f;
}

TEST(ProxyOnUdp, StandsInFrontOfAsManyDatagramsAsAreAskedFor) {
  ClientAddressConfig rule = method(ClientAddressMethod::kProxyV2);
  for (const std::uint8_t datagrams : {std::uint8_t{2}, kEveryDatagram}) {
    rule.datagrams = datagrams;
    Stage stage({}, with({}, rule));
    for (int i = 0; i < 5; i++) {
      const auto sent = stage.pass_through(datagram(31).build());
      ASSERT_EQ(sent.size(), 1u);
      const Bytes payload(sent[0].bytes.begin() + 42, sent[0].bytes.end());
      const bool told = i < 2 || datagrams == kEveryDatagram;
      ASSERT_EQ(payload.size(), told ? 59u : 31u);
      EXPECT_EQ(read16(sent[0].bytes, 38), payload.size() + 8);
      if (told) {
        EXPECT_EQ(Bytes(payload.begin() + 12, payload.begin() + 28), (Bytes{0x21, 0x12, 0, 12, 198, 51, 100, 7, 203, 0, 113, 10, 0x7a, 0x69, 0, 53}));
      }
      Bytes pseudo(sent[0].bytes.begin() + 26, sent[0].bytes.begin() + 34);
      packet_detail::put32(pseudo, 17);
      packet_detail::put32(pseudo, read16(sent[0].bytes, 38));
      EXPECT_EQ(packet_detail::sum(Bytes(sent[0].bytes.begin() + 34, sent[0].bytes.end()), packet_detail::sum(pseudo)), 0xffffu);
    }
    stage.expect_accounted();
  }
}

TEST(ProxyOnUdp, OfADatagramThatDoesNotFitIsDoneAsConfigured) {
  ClientAddressConfig rule = method(ClientAddressMethod::kProxyV2);
  for (const bool six : {false, true}) {
    const std::size_t full = six ? 1452 : 1472;
    {
      Stage stage({}, with({}, rule));
      const auto sent = stage.pass_through(datagram(full, six).build());
      ASSERT_EQ(sent.size(), 2u) << "cut";
      std::size_t bytes = 0;
      for (const Sent& one : sent) {
        EXPECT_LE(one.bytes.size(), 1514u);
        bytes += one.bytes.size() - (six ? 14 + 40 + 8 : 14 + 20);
      }
      EXPECT_EQ(bytes, 8 + (six ? 52 : 28) + full);
      EXPECT_EQ(stage.count(Counter::fragmented), 1u);
      stage.expect_accounted();
    }
    if (!six) {
      Stage stage({}, with({}, rule));
      Flow f = datagram(full);
      f.dont_fragment = true;
      const auto sent = stage.pass_through(f.build());
      ASSERT_EQ(sent.size(), 2u) << "not to be cut by others; by its sender, which the balancer is, it may be";
    }
    rule.when_too_big = WhenTooBig::kDrop;
    Stage stage({}, with({}, rule));
    EXPECT_TRUE(stage.pass_through(datagram(full, six).build()).empty());
    EXPECT_EQ(stage.count(DropReason::client_address_too_big), 1u);
    EXPECT_EQ(stage.pass_through(datagram(full - 52, six).build()).size(), 1u);
    stage.expect_accounted();
    rule.when_too_big = WhenTooBig::kFragment;
  }
}

TEST(Uoa, StandsOnThreeDatagramsAndUntilTheServerAnswers) {
  for (const bool six : {false, true}) {
    Stage stage({}, with({}, method(ClientAddressMethod::kUoa)));
    const std::size_t ip_header = six ? 40 : 20;
    const Bytes header = six ? Bytes{0x20, 17, 0, 24, 31, 20, 0x7a, 0x69, 0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}
                             : Bytes{0x10, 17, 0, 12, 31, 8, 0x7a, 0x69, 198, 51, 100, 7};
    std::vector<Sent> sent;
    for (int i = 0; i < 5; i++) {
      sent = stage.pass_through(datagram(20, six).build());
      ASSERT_EQ(sent.size(), 1u);
      const Bytes& bytes = sent[0].bytes;
      EXPECT_EQ(bytes[six ? 20 : 23], 248);
      EXPECT_EQ(Bytes(bytes.begin() + 14 + static_cast<long>(ip_header), bytes.begin() + 14 + static_cast<long>(ip_header + header.size())), header);
      EXPECT_EQ(read16(bytes, 14 + ip_header + header.size() + 2), 5353) << "UDP follows, to the server's port";
      EXPECT_EQ(read16(bytes, 14 + ip_header + header.size() + 4), 28);
      EXPECT_EQ(bytes.size(), 14 + ip_header + header.size() + 28);
    }
    Flow reply = reply_to(sent[0].bytes, six);
    reply.destination_port = read16(sent[0].bytes, 14 + ip_header + header.size());
    EXPECT_EQ(stage.pass_through(reply.build(), kServerSide).size(), 1u);
    EXPECT_EQ(stage.pass_through(datagram(20, six).build()).at(0).bytes.size(), 14 + ip_header + 28);
    stage.expect_accounted();
  }
}

TEST(Uoa, AsAnOptionIsTheFirstOneOfTheIpv4Header) {
  ClientAddressConfig rule = method(ClientAddressMethod::kUoa);
  rule.carrier = UoaCarrier::kOption;
  Stage stage({}, with({}, rule));
  const Bytes bytes = stage.pass_through(datagram(20).build()).at(0).bytes;
  EXPECT_EQ(bytes[14], 0x47);
  EXPECT_EQ(bytes[23], 17);
  EXPECT_EQ(Bytes(bytes.begin() + 34, bytes.begin() + 42), (Bytes{31, 8, 0x7a, 0x69, 198, 51, 100, 7}));
  EXPECT_EQ(packet_detail::sum(Bytes(bytes.begin() + 14, bytes.begin() + 42)), 0xffffu);
  EXPECT_EQ(read16(bytes, 16), bytes.size() - 14);
}

TEST(Uoa, LeavesADatagramWithoutRoomAsItIs) {
  Stage stage({}, with({}, method(ClientAddressMethod::kUoa)));
  const auto sent = stage.pass_through(datagram(1472).build());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].bytes[23], 17);
  EXPECT_EQ(stage.count(Counter::client_address_no_room), 1u);
}

// ---- headers of balancers in front

ClientAddressConfig accepting(ClientAddressMethod m) {
  ClientAddressConfig rule = method(m);
  rule.accept_from = {Prefix{ip("198.51.100.0"), 120}};
  return rule;
}

Bytes text(const std::string& words) { return {words.begin(), words.end()}; }

TEST(AcceptedHeaders, ThatSayNothingLeaveTheConnectionItsOwnAddresses) {
  for (const Bytes& header : {text("PROXY UNKNOWN\r\n"), Bytes{13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x20, 0, 0, 0}}) {
    Stage stage({}, with(accepting(ClientAddressMethod::kProxyV1)));
    Connection c(stage);
    c.open();
    EXPECT_TRUE(c.send(kAck).empty()) << "the end of the handshake waits";
    Bytes both = header;
    packet_detail::append(both, text("hello"));
    const Segment data = c.send(kAck, both).at(0);
    EXPECT_EQ(std::string(data.payload.begin(), data.payload.end()), "PROXY TCP4 198.51.100.7 203.0.113.10 31337 80\r\nhello");
    EXPECT_EQ(data.seq, c.first);
    EXPECT_EQ(stage.count(Counter::proxy_headers_accepted), 1u);
    stage.expect_accounted();
  }
}

TEST(AcceptedHeaders, KeepTheirTlvsOnTheWay) {
  Stage stage({}, with(accepting(ClientAddressMethod::kProxyV2)));
  Connection c(stage);
  c.open();
  const Bytes header = {13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 19, 192, 0, 2, 77, 192, 0, 2, 99, 0x12, 0x67, 1, 0xbb, 0x02, 0, 4, 't', 'e', 's', 't'};
  // Alone in its segment: nobody but the balancer can say that it has come.
  c.client.flags = kAck;
  c.client.payload = header;
  const auto sent = stage.pass_through(c.client.build());
  const auto acks = Connection::segments(sent, kClientSide);
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].ack, 1001 + header.size());
  c.client.seq += static_cast<std::uint32_t>(header.size());
  const Segment data = c.send(kAck, text("hello")).at(0);
  Bytes expected = header;
  packet_detail::append(expected, text("hello"));
  EXPECT_EQ(data.payload, expected);
  stage.expect_accounted();
}

TEST(AcceptedHeaders, ThatAreNoneResetBothEnds) {
  for (const Bytes& wrong : {text("GET / HTTP/1.1\r\n"), text("PROXY TCP5 a b c d\r\n"), Bytes{13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x31}}) {
    Stage stage({}, with(accepting(ClientAddressMethod::kToa)));
    Connection c(stage);
    c.open();
    c.client.flags = kAck;
    c.client.payload = wrong;
    if (wrong.size() == 13) c.client.payload.resize(16, 0);
    const auto sent = stage.pass_through(c.client.build());
    const auto to_client = Connection::segments(sent, kClientSide), to_server = Connection::segments(sent, kServerSide);
    ASSERT_EQ(to_client.size(), 1u);
    ASSERT_EQ(to_server.size(), 1u);
    EXPECT_TRUE(to_client[0].has(kRst));
    EXPECT_EQ(to_client[0].seq, 5001u);
    EXPECT_TRUE(to_server[0].has(kRst));
    EXPECT_EQ(to_server[0].seq, c.first) << "nothing of it has reached the server";
    EXPECT_EQ(stage.count(DropReason::proxy_header_malformed), 1u);
    stage.expect_accounted();
  }
}

TEST(AcceptedHeaders, InPiecesThatComeOutOfOrderWaitForTheirTurn) {
  Stage stage({}, with(accepting(ClientAddressMethod::kNone)));
  Connection c(stage);
  c.open();
  const Bytes header = text("PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n");
  c.client.seq = 1001 + 10;
  EXPECT_TRUE(c.send(kAck, Bytes(header.begin() + 10, header.end())).empty());
  EXPECT_EQ(stage.count(DropReason::proxy_header_out_of_order), 1u);
  c.client.seq = 1001;
  EXPECT_TRUE(c.send(kAck, Bytes(header.begin(), header.begin() + 10)).empty());
  c.client.seq = 1001;
  Bytes rest = header;
  packet_detail::append(rest, text("hello"));
  EXPECT_EQ(c.send(kAck, rest).at(0).payload, text("hello"));
  stage.expect_accounted();
}

TEST(AcceptedHeaders, OfStrangersAreBytesLikeOthers) {
  ClientAddressConfig rule = accepting(ClientAddressMethod::kNone);
  rule.accept_from = {Prefix{ip("192.0.2.0"), 120}};
  Stage stage({}, with(rule));
  Connection c(stage);
  c.open();
  const Bytes header = text("PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\nGET");
  EXPECT_EQ(c.send(kAck, header).at(0).payload, header);
}

TEST(AcceptedHeaders, OfDatagramsAreTakenOffEachOfThem) {
  Stage stage({}, with({}, accepting(ClientAddressMethod::kUoa)));
  Flow f = datagram(0);
  f.payload = {13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x12, 0, 12, 192, 0, 2, 77, 192, 0, 2, 99, 0x12, 0x67, 1, 0xbb, 'h', 'i'};
  const Bytes bytes = stage.pass_through(f.build()).at(0).bytes;
  EXPECT_EQ(Bytes(bytes.begin() + 34, bytes.begin() + 46), (Bytes{0x10, 17, 0, 12, 31, 8, 0x12, 0x67, 192, 0, 2, 77}));
  EXPECT_EQ(Bytes(bytes.end() - 2, bytes.end()), (Bytes{'h', 'i'}));
  f.payload = Bytes(30, 'x');
  EXPECT_TRUE(stage.pass_through(f.build()).empty());
  EXPECT_EQ(stage.count(DropReason::proxy_header_malformed), 1u);
}

TEST(AcceptedHeaders, OfTooManyAtOnceWait) {
  Stage stage({.max_sessions = 80'000}, with(accepting(ClientAddressMethod::kToa)));
  for (std::uint32_t i = 0; i < AcceptedHeaders::kPlaces; i++) stage.state().accepted_headers->take();
  Connection c(stage);
  c.open();
  EXPECT_TRUE(c.send(kAck, text("PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n")).empty());
  EXPECT_EQ(stage.count(DropReason::proxy_headers_full), 1u);
  stage.state().accepted_headers->release(0);
  EXPECT_EQ(c.send(kAck, text("PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\nx")).at(0).option(254), (Bytes{254, 8, 0x12, 0x67, 192, 0, 2, 77}));
}

}  // namespace
}  // namespace millrace::test
