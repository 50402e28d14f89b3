// Replay: the same capture and seed give the same bytes, another seed gives other choices, and wrong steering changes no result.
#include "worker/replay.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ports/pcap.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

/// A directory that goes with the test.
class Folder {
 public:
  Folder() : path_((std::filesystem::temp_directory_path() / "millrace-replay-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Bytes content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Replay : public testing::Test {
 protected:
  void SetUp() override {
    auto writer = PcapWriter::create(folder_.file("in.pcap"));
    ASSERT_TRUE(writer.ok());
    std::uint64_t time_ns = 0;
    for (std::uint16_t n = 0; n < 200; n++) {
      const std::uint16_t flow = n % 50;
      Flow f = flow % 3 == 0 ? flow6() : Flow{};
      f.tcp = flow % 2 == 0;
      f.destination_port = f.tcp ? 80 : 53;
      f.source_port = static_cast<std::uint16_t>(1000 + flow);
      f.flags = n < 50 ? kSyn : kAck;
      ASSERT_TRUE(writer.value().write(time_ns, f.build()).ok());
      time_ns += 100'000;
    }
    ASSERT_TRUE(writer.value().write(time_ns, PacketBuilder().eth({.type = 0x0806}).payload_of(28).build()).ok());
    ASSERT_TRUE(writer.value().close().ok());
  }
  ReplayResult run(const std::string& output, std::uint64_t seed, std::uint32_t workers, ReplaySteering steering = ReplaySteering::kFlow) {
    DataplaneOptions options;
    options.workers = workers;
    options.seed = seed;
    options.max_sessions_per_worker = 1000;
    bool ok = false;
    for (const auto& [name, address, address6] : {std::array<const char*, 3>{"client", "198.51.100.1/24", "2001:db8:1::1/64"},
                                                  {"server", "10.0.2.1/24", "fd00:2::1/64"}}) {
      InterfaceOptions interface;
      interface.name = name;
      interface.mac = mac(name[0] == 'c' ? "02:00:00:00:00:01" : "02:00:00:00:00:02");
      interface.addresses = {Prefix::parse(address, ok), Prefix::parse(address6, ok)};
      options.interfaces.push_back(interface);
    }
    TablesConfig tables = default_tables(workers);
    for (const auto& [address, interface] : {std::pair<const char*, const char*>{"198.51.100.7", "client"}, {"2001:db8:1::7", "client"},
                                             {"10.0.2.11", "server"}, {"10.0.2.12", "server"}, {"fd00:2::11", "server"}, {"fd00:2::12", "server"}}) {
      tables.neighbours.push_back({ip(address), mac("02:00:00:00:00:77"), interface});
    }
    auto result = replay(options, tables, {folder_.file("in.pcap"), folder_.file(output), steering});
    EXPECT_TRUE(result.ok()) << result.error().message;
    return std::move(result).value();
  }
  Folder folder_;
};

TEST_F(Replay, GivesTheSameBytesForTheSameSeed) {
  for (const std::uint32_t workers : {1u, 3u}) {
    const ReplayResult first = run("a.pcap", 5, workers);
    const ReplayResult second = run("b.pcap", 5, workers);
    EXPECT_EQ(first.packets, 201u);
    EXPECT_EQ(first.passed_to_kernel, 1u);
    EXPECT_EQ(first.sent, 200u);
    EXPECT_EQ(first.counters, second.counters);
    EXPECT_EQ(content(folder_.file("a.pcap")), content(folder_.file("b.pcap")));
    run("c.pcap", 6, workers);
    EXPECT_NE(content(folder_.file("a.pcap")), content(folder_.file("c.pcap"))) << "local ports are drawn from the seed";
  }
}

TEST_F(Replay, EveryTcpPacketArrivesWhateverTheSteering) {
  const ReplayResult right = run("a.pcap", 5, 3);
  const ReplayResult wrong = run("b.pcap", 5, 3, ReplaySteering::kWrong);
  EXPECT_EQ(wrong.sent, right.sent);
  for (const ReplayResult* result : {&right, &wrong}) {
    for (const auto& counters : result->counters) {
      std::uint64_t drops = 0;
      for (std::size_t r = 0; r < kDropReasons; r++) drops += counters[kPlainCounters + r];
      EXPECT_EQ(drops, 0u);
      const auto get = [&](Counter c) { return counters[static_cast<std::size_t>(c)]; };
      EXPECT_EQ(get(Counter::rx_packets) + get(Counter::handoff_received), get(Counter::forwarded) + get(Counter::handoff_sent));
    }
  }
  std::uint64_t connections = 0;
  for (const ReplayResult::Server& server : right.servers) connections += server.stats.connections;
  EXPECT_EQ(connections, 50u);
}

}  // namespace
}  // namespace millrace::test
