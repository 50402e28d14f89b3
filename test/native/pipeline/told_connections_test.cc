// Whole connections through the pipeline, over links that lose, repeat and reorder on both sides: the server learns the client's address
// exactly once, in the right place, and both streams arrive as they were sent, whatever happens to their segments.
#include <gtest/gtest.h>

#include <arpa/inet.h>

#include "support/tiny_tcp.h"

namespace millrace::test {
namespace {

enum class Kind { kNone, kToa, kV1, kV2 };

struct Case {
  Kind kind;
  bool server_first = false;
  bool six = false;
  bool accept = false;
  std::uint32_t loss = 0;  ///< per mille; as many are repeated, and as many come late
  std::size_t least = 1000, most = 1000;
  bool fin_with_data = false;
  bool timestamps = true;
  bool abort = false;
  std::size_t request = 3000;
};

ClientAddressConfig rule_of(const Case& c) {
  ClientAddressConfig rule;
  rule.method = c.kind == Kind::kToa  ? ClientAddressMethod::kToa
                : c.kind == Kind::kV1 ? ClientAddressMethod::kProxyV1
                : c.kind == Kind::kV2 ? ClientAddressMethod::kProxyV2
                                      : ClientAddressMethod::kNone;
  rule.server_first = c.server_first;
  rule.unique_id = rule.crc32c = c.kind == Kind::kV2;
  if (c.kind == Kind::kV2) rule.tlvs = {{0xe0, {'v', 'i', 'p'}}};
  if (c.accept) rule.accept_from = {Prefix{ip(c.six ? "2001:db8:1::" : "198.51.100.0"), static_cast<std::uint8_t>(c.six ? 64 : 120)}};
  return rule;
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
Bytes text_address(const std::string& text) {
  Bytes raw(text.find(':') == std::string::npos ? 4 : 16);
  inet_pton(raw.size() == 4 ? AF_INET : AF_INET6, text.c_str(), raw.data());
  return raw;
}

Bytes pattern(std::size_t length, std::uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(length);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

/// Length of the header that `stream` begins with; 0 while it is not whole.
std::size_t header_length(Kind kind, const Bytes& stream) {
  if (kind == Kind::kV1) {
    for (std::size_t i = 1; i < stream.size(); i++) {
      if (stream[i - 1] == '\r' && stream[i] == '\n') return i + 1;
    }
    return 0;
  }
  if (kind == Kind::kV2) return stream.size() >= 16 && stream.size() >= 16u + read16(stream, 14) ? 16u + read16(stream, 14) : 0;
  return 0;
}

/// One direction of a link: frames and when they arrive.
class Link {
 public:
  Link(std::uint32_t per_mille, std::uint32_t seed) : bad_(per_mille), random_(seed) {}
  void send(const Bytes& frame, std::uint32_t now) {
    if (random_() % 1000 < bad_) return;
    const std::uint32_t copies = random_() % 1000 < bad_ ? 2 : 1;
    for (std::uint32_t i = 0; i < copies; i++) {
      const auto late = static_cast<std::uint32_t>(random_() % 1000 < bad_ ? 1 + random_() % 60 : 0);
      frames_.insert({now + 1 + late, frame});
    }
  }
  std::vector<Bytes> arrived(std::uint32_t now) {
    std::vector<Bytes> out;
    while (!frames_.empty() && frames_.begin()->first <= now) {
      out.push_back(frames_.begin()->second);
      frames_.erase(frames_.begin());
    }
    return out;
  }

 private:
  std::uint32_t bad_;
  std::mt19937 random_;
  std::multimap<std::uint32_t, Bytes> frames_;
};

constexpr const char* kFrontClient = "192.0.2.77";
constexpr const char* kFrontClient6 = "2001:db8:77::7";

Bytes front_header(bool six) {
  return bytes_of(six ? "PROXY TCP6 2001:db8:77::7 2001:db8:99::1 4711 443\r\n" : "PROXY TCP4 192.0.2.77 192.0.2.99 4711 443\r\n");
}

void run(const Case& c, std::uint32_t seed) {
  SCOPED_TRACE("kind " + std::to_string(static_cast<int>(c.kind)) + " server first " + std::to_string(c.server_first) + " six " +
               std::to_string(c.six) + " accept " + std::to_string(c.accept) + " loss " + std::to_string(c.loss) + " seed " + std::to_string(seed));
  TablesConfig config = default_tables(1);
  for (ServiceConfig& service : config.services) {
    if (service.protocol == 6) service.client_address = rule_of(c);
  }
  Stage stage({.now_ms = 5000 + seed * 977}, config);

  std::mt19937 random(seed * 7919 + 1);
  Flow from_client = c.six ? flow6() : Flow{};
  from_client.source_port = static_cast<std::uint16_t>(20000 + seed % 20000);
  Flow from_server;
  from_server.six = c.six;
  from_server.eth_source = "02:00:00:00:02:0b";
  from_server.eth_destination = "02:00:00:00:00:02";
  TinyTcp client({.timestamps = c.timestamps, .isn = static_cast<std::uint32_t>(random()), .clock = static_cast<std::uint32_t>(random()), .mss = 1460,
                  .least = c.least, .most = c.most, .seed = seed},
                 from_client, false);
  TinyTcp server({.isn = static_cast<std::uint32_t>(random()), .clock = static_cast<std::uint32_t>(random()), .mss = 1460, .seed = seed + 1, .old_bytes_differ = c.accept},
                 from_server, true);
  client.fin_with_data = c.fin_with_data;

  const Bytes request = pattern(c.request, seed), response = pattern(5000, seed + 1), banner = pattern(200, seed + 2);
  const Bytes in_front = c.accept ? front_header(c.six) : Bytes{};
  bool client_spoke = false, banner_sent = false, responded = false;
  const bool proxy = c.kind == Kind::kV1 || c.kind == Kind::kV2;
  client.connect();
  client.send(in_front);
  Link to_vip(c.loss, seed + 10), to_server(c.loss, seed + 11), to_local(c.loss, seed + 12), to_client(c.loss, seed + 13);

  std::uint32_t now = 0;
  for (; now < 120'000; now++) {
    // The applications.
    if (client.connected() && c.abort) client.abort();
    if (!client_spoke && client.connected() && (!c.server_first || client.received().size() >= banner.size())) {
      client.send(request);
      client.close();
      client_spoke = true;
    }
    const std::size_t header = proxy ? header_length(c.kind, server.received()) : 0;
    const bool known = server.connected() && (!proxy || header != 0);
    if (c.server_first && !banner_sent && known) {
      server.send(banner);
      banner_sent = true;
    }
    if (!responded && known && server.received().size() >= header + request.size()) {
      server.send(response);
      server.close();
      responded = true;
    }
    if ((client.done() && server.done()) || (c.abort && server.was_reset())) break;
    // The wires.
    for (const Bytes& frame : client.tick(now)) to_vip.send(frame, now);
    for (const Bytes& frame : server.tick(now)) to_local.send(frame, now);
    for (const Bytes& frame : to_vip.arrived(now)) stage.inject(frame, kClientSide);
    for (const Bytes& frame : to_local.arrived(now)) stage.inject(frame, kServerSide);
    stage.settle();
    for (const Sent& sent : stage.take()) {
      if (sent.interface == kServerSide) to_server.send(sent.bytes, now);
      else to_client.send(sent.bytes, now);
    }
    for (const Bytes& frame : to_server.arrived(now)) server.receive(frame, now);
    for (const Bytes& frame : to_client.arrived(now)) client.receive(frame, now);
    stage.pass(1);
    if (::testing::Test::HasFailure()) break;
  }
  if (!c.abort && !(client.done() && server.done())) {
    std::string drops;
    for (std::size_t r = 0; r < kDropReasons; r++) {
      const auto n = stage.count(static_cast<DropReason>(r));
      if (n != 0) drops += "reason " + std::to_string(r) + ": " + std::to_string(n) + "; ";
    }
    ADD_FAILURE() << drops << client.status() << server.status();
  }
  if (!c.abort) {
    ASSERT_TRUE(client.done() && server.done()) << "hangs: client has " << client.received().size() << ", server " << server.received().size();
  }

  // What the server knows.
  const std::string address = c.accept ? (c.six ? kFrontClient6 : kFrontClient) : from_client.source;
  const std::uint16_t port = c.accept ? 4711 : from_client.source_port;
  const std::string vip = c.accept ? (c.six ? "2001:db8:99::1" : "192.0.2.99") : from_client.destination;
  Bytes stream = request;
  if (c.kind == Kind::kV1) {
    const std::string line = std::string("PROXY ") + (c.six ? "TCP6 " : "TCP4 ") + address + " " + vip + " " + std::to_string(port) + " " +
                             (c.accept ? "443" : "80") + "\r\n";
    stream = bytes_of(line);
    packet_detail::append(stream, c.abort ? Bytes{} : request);
    if (c.abort && server.received().empty()) stream.clear();
    EXPECT_EQ(server.received(), stream);
  } else if (c.kind == Kind::kV2) {
    const std::size_t header = header_length(c.kind, server.received());
    if (c.abort && header == 0) return;
    ASSERT_GE(header, c.six ? 52u : 28u);
    const std::size_t size = c.six ? 16 : 4;
    const Bytes& got = server.received();
    EXPECT_EQ(Bytes(got.begin(), got.begin() + 14), (Bytes{13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, static_cast<std::uint8_t>(c.six ? 0x21 : 0x11)}));
    EXPECT_EQ(Bytes(got.begin() + 16, got.begin() + 16 + static_cast<long>(size)), text_address(address));
    EXPECT_EQ(Bytes(got.begin() + 16 + static_cast<long>(size), got.begin() + 16 + static_cast<long>(2 * size)), text_address(vip));
    EXPECT_EQ(read16(got, 16 + 2 * size), port);
    if (!c.abort) {
      EXPECT_EQ(Bytes(got.begin() + static_cast<long>(header), got.end()), request);
    }
  } else if (!c.abort) {
    EXPECT_EQ(server.received(), request);
  }
  if (c.kind == Kind::kToa && server.accepted()) {
    const auto toa = server.accepted()->option(254);
    ASSERT_TRUE(toa.has_value()) << "the segment that made the connection does not say whose it is";
    EXPECT_EQ(read16(*toa, 2), port);
    EXPECT_EQ(Bytes(toa->begin() + 4, toa->end()), text_address(address));
    for (const Segment& s : server.heard()) {
      const auto other = s.option(254);
      if (s.has(kSyn)) {
        EXPECT_FALSE(other.has_value());
      } else if (other) {
        EXPECT_EQ(*other, *toa);
      }
    }
  }
  if (c.abort) return;
  Bytes expected = c.server_first ? banner : Bytes{};
  packet_detail::append(expected, response);
  EXPECT_EQ(client.received(), expected);
  EXPECT_LT(now, c.loss == 0 ? 1000u : 60'000u);
  stage.expect_accounted();
}

/// How many, times MILLRACE_TEST_ROUNDS.
std::uint32_t seeds(std::uint32_t count) {
  const char* rounds = std::getenv("MILLRACE_TEST_ROUNDS");
  return rounds == nullptr ? count : count * static_cast<std::uint32_t>(std::atoi(rounds));
}

TEST(ToldConnections, TellTheServerOnCleanLinks) {
  for (const Kind kind : {Kind::kNone, Kind::kToa, Kind::kV1, Kind::kV2}) {
    for (const bool server_first : {false, true}) {
      for (const bool six : {false, true}) {
        for (const bool timestamps : {false, true}) run({.kind = kind, .server_first = server_first, .six = six, .timestamps = timestamps}, 1);
      }
    }
  }
}

TEST(ToldConnections, TellTheServerWhateverIsLostRepeatedOrReordered) {
  for (std::uint32_t seed = 1; seed <= seeds(150); seed++) {
    for (const Kind kind : {Kind::kToa, Kind::kV1, Kind::kV2}) {
      run({.kind = kind, .server_first = seed % 2 == 0, .six = seed % 3 == 0, .loss = seed % 5 == 0 ? 200u : 50u, .least = seed % 4 == 0 ? 1u : 300u, .most = 1400,
           .fin_with_data = seed % 7 == 0, .timestamps = seed % 6 != 0},
          seed);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(ToldConnections, TellTheServerOfAClientThatSendsSingleBytes) {
  for (std::uint32_t seed = 1; seed <= seeds(12); seed++) {
    for (const Kind kind : {Kind::kToa, Kind::kV1, Kind::kV2}) {
      run({.kind = kind, .server_first = seed % 2 == 0, .loss = 50, .least = 1, .most = 1, .request = 60}, seed);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(ToldConnections, TellTheServerOfAClientWhoseOnlySegmentIsFullOrAbsent) {
  for (std::uint32_t seed = 1; seed <= seeds(40); seed++) {
    for (const Kind kind : {Kind::kToa, Kind::kV1, Kind::kV2}) {
      const std::size_t request = seed % 2 == 0 ? 1448 : 0;
      run({.kind = kind, .loss = seed % 3 == 0 ? 100u : 0u, .least = 1448, .most = 1448, .fin_with_data = true, .request = request}, seed);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(ToldConnections, TellTheServerOfAClientThatResetsAtOnce) {
  for (std::uint32_t seed = 1; seed <= seeds(10); seed++) {
    for (const Kind kind : {Kind::kToa, Kind::kV1, Kind::kV2}) run({.kind = kind, .six = seed % 2 == 0, .abort = true}, seed);
  }
}

TEST(ToldConnections, TakeOffTheHeaderOfABalancerInFrontAndTellItOn) {
  for (std::uint32_t seed = 1; seed <= seeds(100); seed++) {
    for (const Kind kind : {Kind::kNone, Kind::kToa, Kind::kV1, Kind::kV2}) {
      run({.kind = kind, .server_first = seed % 2 == 0, .six = seed % 3 == 0, .accept = true, .loss = seed < 10 ? 0u : 50u, .least = seed % 4 == 0 ? 1u : 300u, .most = 1400,
           .timestamps = seed % 6 != 0},
          seed);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace millrace::test
