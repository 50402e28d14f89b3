// Every recorded transition, conversation, timeout and active/inactive count of a live IPVS (recordings/*.txt): the tables alone,
// and
// real packets through the pipeline. Prints one line per set, which `npm run test:schedulers` shows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "forwarders/registry.h"
#include "sessions/sctp_state.h"
#include "sessions/tcp_state.h"
#include "support/stage.h"

namespace millrace {
namespace {

using test::Bytes;
using test::ip;
using test::PacketBuilder;
using test::Stage;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::vector<std::vector<std::string>> read_lines(const std::string& file) {
  std::ifstream in(std::filesystem::absolute(__FILE__).parent_path() / "recordings" / file);
  EXPECT_TRUE(in.is_open()) << file;
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(words_of(line));
  }
  return lines;
}

struct Transition {
  std::string from;
  std::string event;
  /// "-": no session.
  std::string to;
  std::string seconds;
  std::optional<int> active;
  std::optional<int> inactive;
  std::vector<std::string> path;
  std::string text;
};

struct TransitionSet {
  std::string protocol;
  std::string mode;
  std::vector<Transition> transitions;
};

std::optional<int> change_of(const std::string& word) {
  return word == "?" ? std::nullopt : std::optional<int>(std::stoi(word));
}

std::vector<TransitionSet> read_transitions() {
  std::vector<TransitionSet> sets;
  for (const auto& words : read_lines("transitions.txt")) {
    if (words[0] == "set") {
      sets.push_back({words.at(1), words.at(2), {}});
      continue;
    }
    Transition t{words.at(0), words.at(1), words.at(2), words.at(3), change_of(words.at(4)), change_of(words.at(5)), {}, {}};
    t.path.assign(words.begin() + 6, words.end());
    t.text = sets.back().protocol + " " + sets.back().mode + ": " + t.from + " + " + t.event;
    sets.back().transitions.push_back(std::move(t));
  }
  EXPECT_EQ(sets.size(), 6u);
  return sets;
}

Direction direction_of(const std::string& event) { return event[0] == 'I' ? Direction::kInbound : Direction::kOutbound; }

std::uint8_t tcp_flags_of(const std::string& event) {
  static const std::map<std::string, std::uint8_t> flags = {{"SYN", 0x02}, {"SYNACK", 0x12}, {"ACK", 0x10}, {"FIN", 0x11}, {"RST", 0x04}};
  return flags.at(event.substr(2));
}

std::uint8_t chunk_of(const std::string& event) {
  static const std::map<std::string, std::uint8_t> chunks = {
      {"DATA", 0},     {"INIT", 1},         {"INIT_ACK", 2}, {"SACK", 3},         {"HEARTBEAT", 4},  {"HB_ACK", 5},            {"ABORT", 6},
      {"SHUTDOWN", 7}, {"SHUTDOWN_ACK", 8}, {"ERROR", 9},    {"COOKIE_ECHO", 10}, {"COOKIE_ACK", 11}, {"SHUTDOWN_COMPLETE", 14}};
  return chunks.at(event.substr(2));
}

/// The state that the tables give. `sctp`: of that protocol.
SessionState step(bool sctp, SessionState state, const std::string& event, bool input_only) {
  if (!sctp) return next_tcp_state(state, direction_of(event), tcp_flags_of(event), input_only);
  const SctpEvent e = sctp_event(chunk_of(event));
  // An INIT on an association that is over begins another one.
  if (sctp_may_open(e) && direction_of(event) == Direction::kInbound && sctp_is_over(state)) state = SessionState::kNone;
  return next_sctp_state(state, direction_of(event), e, input_only);
}

/// Listings cut fractions off, and some time passes before they are made: 60 s show as 59, seldom as 60.
void expect_seconds(std::uint32_t timeout_ms, const std::string& shown, const std::string& what) {
  const std::uint32_t seconds = timeout_ms / 1000;
  const std::uint32_t listed = static_cast<std::uint32_t>(std::stoul(shown));
  EXPECT_TRUE(listed + 1 == seconds || listed == seconds) << what << ": " << seconds << " s, and " << listed << " was shown";
}

TEST(Recordings, EveryTransitionOfTheTablesIsTheRecordedOne) {
  const TimeoutTable& timeouts = default_timeouts(TimeoutProfile::kIpvs);
  for (const TransitionSet& set : read_transitions()) {
    const bool sctp = set.protocol == "sctp";
    const bool input_only = set.mode != "nat";
    std::size_t compared = 0;
    for (const Transition& t : set.transitions) {
      SessionState state = SessionState::kNone;
      for (const std::string& event : t.path) state = step(sctp, state, event, input_only);
      if (t.from != "-") {
        EXPECT_EQ(state_name(state), t.from) << t.text;
      }
      if (t.to == "-") continue;  // whether a session may begin is not the tables' business
      const SessionState next = step(sctp, state, t.event, input_only);
      EXPECT_EQ(state_name(next), t.to) << t.text;
      expect_seconds(timeouts[static_cast<std::size_t>(next)], t.seconds, t.text);
      const int active = static_cast<int>(is_active(next)) - static_cast<int>(t.from != "-" && is_active(state));
      if (t.active) {
        EXPECT_EQ(active, *t.active) << t.text;
      }
      compared++;
    }
    std::cout << "states " << set.protocol << " " << set.mode << ": " << compared << " of " << set.transitions.size()
              << " recorded rows are transitions, all equal\n";
  }
}

/// Real packets through a pipeline with services of the three recorded modes.
class Player {
 public:
  Player() : stage_(Stage::Options{}, tables()) {}

  /// Plays an event of the flow with this client port; false if the packet did not pass.
  bool play(const std::string& protocol, const std::string& mode, std::uint16_t client_port, const std::string& event) {
    const std::uint16_t service = port_of(mode);
    const bool inbound = direction_of(event) == Direction::kInbound;
    const std::string client = "198.51.100.7", server = "10.0.2.11";
    PacketBuilder packet;
    packet.eth().ipv4({.source = inbound ? client : server, .destination = inbound ? test::kVip : client});
    const std::uint16_t from = inbound ? client_port : service, to = inbound ? service : client_port;
    if (protocol == "sctp") {
      packet.sctp({.source_port = from, .destination_port = to, .chunks = {{.type = chunk_of(event), .value = Bytes(16)}}});
    } else if (protocol == "udp") {
      packet.udp({.source_port = from, .destination_port = to});
    } else {
      packet.tcp({.source_port = from, .destination_port = to, .flags = tcp_flags_of(event)});
    }
    return stage_.pass_through(packet.build(), inbound ? test::kClientSide : test::kServerSide).size() == 1;
  }

  const Session* session(const std::string& mode, std::uint16_t client_port) {
    const Session* found = nullptr;
    stage_.state().sessions->for_each([&](SessionId, Session& session) {
      if (session.client_port == be16(client_port) && session.vip_port == be16(port_of(mode))) found = &session;
    });
    return found;
  }

  ServerLoad load(const std::string& protocol, const std::string& mode) {
    for (const SlotMap::Service& service : stage_.builder().slot_map().services) {
      if (service.name != protocol + " " + mode) continue;
      const ServerStats& stats = stage_.state().server_stats[service.servers.at(0).slot];
      return {stats.active, stats.inactive};
    }
    ADD_FAILURE() << "no service " << protocol << " " << mode;
    return {};
  }

  std::uint32_t now_ms() const { return stage_.now_ms(); }
  Stage& stage() { return stage_; }

 private:
  static std::uint16_t port_of(const std::string& mode) { return mode == "nat" ? 9000 : mode == "direct" ? 9001 : 9002; }

  static TablesConfig tables() {
    TablesConfig config;
    for (const char* protocol : {"tcp", "udp", "sctp"}) {
      for (const char* mode : {"nat", "direct", "ipip"}) {
        ServiceConfig service;
        service.name = std::string(protocol) + " " + mode;
        service.address = ip(test::kVip);
        service.port = be16(port_of(mode));
        service.protocol = static_cast<std::uint8_t>(service.name[0] == 't' ? 6 : service.name[0] == 'u' ? 17 : 132);
        service.scheduler = SchedulerKind::kRoundRobin;
        service.servers.push_back({ip("10.0.2.11"), be16(port_of(mode)), 1});
        service.servers[0].mode = *forward_mode(mode);
        config.services.push_back(std::move(service));
      }
    }
    config.local_addresses = {ip("10.0.3.1")};
    config.timeouts_ms = default_timeouts(TimeoutProfile::kIpvs);
    return config;
  }

  Stage stage_;
};

std::string state_of(const Session* session) { return session == nullptr ? "-" : std::string(state_name(session->state)); }

TEST(Recordings, EveryRecordedPacketMovesItsSessionThroughThePipelineAsRecorded) {
  Player player;
  std::uint16_t port = 2000;
  for (const TransitionSet& set : read_transitions()) {
    if (set.protocol == "sloppy") continue;  // another setting
    for (const Transition& t : set.transitions) {
      port++;
      for (const std::string& event : t.path) ASSERT_TRUE(player.play(set.protocol, set.mode, port, event)) << t.text;
      ASSERT_EQ(state_of(player.session(set.mode, port)), t.from) << t.text;
      const ServerLoad before = player.load(set.protocol, set.mode);
      EXPECT_EQ(player.play(set.protocol, set.mode, port, t.event), t.to != "-") << t.text;
      const Session* session = player.session(set.mode, port);
      ASSERT_EQ(state_of(session), t.to) << t.text;
      const ServerLoad after = player.load(set.protocol, set.mode);
      if (t.active) {
        EXPECT_EQ(static_cast<std::int64_t>(after.active - before.active), *t.active) << t.text;
      }
      if (t.inactive) {
        EXPECT_EQ(static_cast<std::int64_t>(after.inactive - before.inactive), *t.inactive) << t.text;
      }
      if (session != nullptr) expect_seconds(session->deadline_ms - player.now_ms(), t.seconds, t.text);
    }
  }
  player.stage().expect_accounted();
}

TEST(Recordings, AUdpSessionIsInactiveAndItsTimerBeginsAnewWithEveryDatagramOfEitherSide) {
  // Recorded: 300 s after the first datagram, 296 shown 3 s later, 300 after the reply and after the next datagram; InActConn 1.
  Player player;
  const auto expect = [&](std::uint32_t seconds) {
    const Session* session = player.session("nat", 777);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(state_name(session->state), "UDP");
    EXPECT_EQ((session->deadline_ms - player.now_ms()) / 1000, seconds);
    const ServerLoad load = player.load("udp", "nat");
    EXPECT_EQ(load.active, 0u);
    EXPECT_EQ(load.inactive, 1u);
  };
  ASSERT_TRUE(player.play("udp", "nat", 777, "I:UDP"));
  expect(300);
  player.stage().pass(3001);
  expect(296);
  ASSERT_TRUE(player.play("udp", "nat", 777, "O:UDP"));
  expect(300);
  player.stage().pass(3001);
  ASSERT_TRUE(player.play("udp", "nat", 777, "I:UDP"));
  expect(300);
}

TEST(Recordings, EveryRecordedConversationGoesAsRecorded) {
  Player player;
  std::uint16_t port = 2000;
  std::string mode, name;
  std::size_t steps = 0;
  for (const auto& words : read_lines("conversations.txt")) {
    if (words[0] == "conversation") {
      mode = words.at(1) == "DR" ? "direct" : "nat";
      name.clear();
      for (std::size_t i = 1; i < words.size(); i++) name += words[i] + " ";
      port++;
      continue;
    }
    const std::string what = name + words[0];
    const ServerLoad before = player.load("tcp", mode);
    ASSERT_TRUE(player.play("tcp", mode, port, words[0])) << what;
    const Session* session = player.session(mode, port);
    ASSERT_EQ(state_of(session), words.at(1)) << what;
    expect_seconds(session->deadline_ms - player.now_ms(), words.at(2), what);
    const ServerLoad after = player.load("tcp", mode);
    EXPECT_EQ(static_cast<std::int64_t>(after.active - before.active), std::stoi(words.at(3))) << what;
    EXPECT_EQ(static_cast<std::int64_t>(after.inactive - before.inactive), std::stoi(words.at(4))) << what;
    steps++;
  }
  EXPECT_EQ(steps, 61u);
}

}  // namespace
}  // namespace millrace
