// Every recorded sequence and mapping of a live IPVS (recordings/*.txt), played with one worker and compared connection by
// connection. Prints one line per set, which `npm run test:schedulers` shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Keep;
using test::Scheduling;
using test::Service;

struct Connection {
  std::string source;
  std::string destination;
  std::string server;
};

struct RecordedSet {
  std::string title;
  std::string scheduler;
  SchedulerOptions options;
  std::vector<std::uint32_t> weights;
  bool held = true;
  bool ipv6 = false;
  std::uint16_t port = 80;
  std::uint64_t threshold = 0;
  std::vector<Connection> connections;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

RecordedSet read_head(const std::string& file, const std::vector<std::string>& words) {
  RecordedSet set;
  set.title = file + " " + words.at(1) + (words.at(2) == "none" ? "" : " (" + words.at(2) + ")") + " weights " + words.at(3);
  set.scheduler = words.at(1);
  for (const std::string& option : split(words.at(2), ',')) {
    if (option == "fallback") set.options.fallback = true;
    if (option == "port") set.options.port = true;
  }
  for (const std::string& weight : split(words.at(3), ',')) set.weights.push_back(static_cast<std::uint32_t>(std::stoul(weight)));
  if (file == "thresholds") {
    set.threshold = std::stoul(words.at(4));
    set.title += " threshold " + words.at(4);
    return set;
  }
  set.title += " " + words.at(4) + " " + words.at(5) + " port " + words.at(6);
  set.held = words.at(4) == "held";
  set.ipv6 = words.at(5) == "ipv6";
  set.port = static_cast<std::uint16_t>(std::stoul(words.at(6)));
  return set;
}

std::vector<RecordedSet> read_sets(const std::string& file) {
  std::vector<RecordedSet> sets;
  std::ifstream in(std::filesystem::absolute(__FILE__).parent_path() / "recordings" / (file + ".txt"));
  EXPECT_TRUE(in.good()) << file;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> words = split(line, ' ');
    if (words[0] == "set") {
      sets.push_back(read_head(file, words));
    } else if (file == "mappings") {
      sets.back().connections.push_back({words.at(0), words.at(1), words.at(2)});
    } else {
      for (const std::string& server : words) sets.back().connections.push_back({"-", "", server});
    }
  }
  return sets;
}

/// How many connections went elsewhere than recorded.
int differences(const RecordedSet& set) {
  Service service(set.scheduler, set.options);
  service.on_port(set.port);
  if (set.ipv6) service.ipv6();
  Scheduling scheduling;
  scheduling.limit(set.threshold);
  if (set.ipv6) {
    scheduling.asked().client = test::address("fd00:1::2");
    scheduling.asked().destination = test::address("fd00:9::10");
  }
  for (std::uint32_t i = 0; i < set.weights.size(); i++) service.add(i + 1, set.weights[i]);
  const ServiceTable& table = service.published();
  int wrong = 0;
  for (const Connection& connection : set.connections) {
    PickContext& asked = scheduling.asked();
    if (connection.source != "-") {
      const std::size_t colon = connection.source.rfind(':');
      const bool has_port = !set.ipv6 && colon != std::string::npos;
      asked.client = test::address(has_port ? connection.source.substr(0, colon) : connection.source);
      if (has_port) asked.client_port = be16(static_cast<std::uint16_t>(std::stoul(connection.source.substr(colon + 1))));
    }
    if (!connection.destination.empty()) asked.destination = test::address(connection.destination);
    const std::int64_t slot = scheduling.connect(table, set.held ? Keep::kHeld : Keep::kShort);
    if ((slot < 0 ? "-" : std::to_string(slot)) != connection.server) wrong++;
  }
  return wrong;
}

class Recordings : public testing::TestWithParam<std::string> {};

TEST_P(Recordings, AreEqualConnectionByConnectionWithOneWorker) {
  const std::vector<RecordedSet> sets = read_sets(GetParam());
  ASSERT_GE(sets.size(), 14u);
  for (const RecordedSet& set : sets) {
    ASSERT_TRUE(scheduler_kind(set.scheduler).has_value()) << set.title;
    ASSERT_GE(set.connections.size(), 3u) << set.title;
    const int wrong = differences(set);
    std::cout << "recording " << (wrong == 0 ? "equal  " : "differs") << "  " << set.title << ": " << set.connections.size()
              << " connections" << (wrong == 0 ? "" : ", " + std::to_string(wrong) + " elsewhere") << "\n";
    EXPECT_EQ(wrong, 0) << set.title;
  }
}

INSTANTIATE_TEST_SUITE_P(Ipvs, Recordings, testing::Values("sequences", "mappings", "thresholds"),
                         [](const testing::TestParamInfo<std::string>& file) { return file.param; });

}  // namespace
}  // namespace millrace
