// Maglev tables: how even they are, how little they change, and how long they take to build, by the definitions of the paper
// (Eisenbud et al., NSDI 2016, 5.3 and 5.4): balance is the most loaded server's share over the average, for servers of equal
// weight; disruption is the share of slots that change hands although their server stayed, when some servers leave.
//   maglev_bench
// Building happens on the control thread while workers go on with the former table, so its time delays a change and no packet. What the
// packets notice all the same, by shared caches and memory, is measured: a worker's packets while another thread builds tables without
// pause, over the same packets while it does not.
// Prints one JSON object per line. Threads: one, and the builder while packets are measured.
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "balancer.h"
#include "measure.h"
#include "schedulers/mh.h"

namespace millrace::bench {
namespace {

constexpr std::uint32_t kNobody = SchedulerTable::kNoServer;

std::vector<BuildServer> servers_of(std::uint32_t count, std::uint32_t weight_limit, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<BuildServer> servers;
  for (std::uint32_t i = 0; i < count; i++) {
    const std::uint32_t weight = weight_limit == 1 ? 1 : 1 + static_cast<std::uint32_t>(random() % weight_limit);
    // Addresses as they are given out: runs in a few networks.
    const std::uint32_t address = 0x0a000000u + (i / 200) * 0x10000u + 10 + i % 200 + seed * 0x100u;
    servers.push_back({IpAddress::v4(be32(address)), be16(8080), weight, weight, 0});
  }
  return servers;
}

/// Slots per server over the average; most and least.
Spread balance(std::uint32_t count, std::uint32_t size) {
  std::vector<double> shares;
  for (std::uint32_t seed = 0; seed < 5; seed++) {
    std::vector<std::uint32_t> slots;
    build_maglev(servers_of(count, 1, seed), size, true, slots);
    std::vector<double> taken(count);
    for (const std::uint32_t server : slots) taken[server] += static_cast<double>(count) / size;
    shares.insert(shares.end(), taken.begin(), taken.end());
  }
  return Spread::of(shares);
}

/// Percent of slots that change hands although their server stayed, when the servers in `leaving` places leave.
double disruption(const std::vector<BuildServer>& servers, const std::vector<bool>& leaving, std::uint32_t size) {
  std::vector<std::uint32_t> before, after;
  build_maglev(servers, size, true, before);
  std::vector<BuildServer> rest;
  std::vector<std::uint32_t> former;
  for (std::uint32_t i = 0; i < servers.size(); i++) {
    if (leaving[i]) continue;
    rest.push_back(servers[i]);
    former.push_back(i);
  }
  build_maglev(rest, size, true, after);
  std::uint32_t moved = 0;
  for (std::uint32_t slot = 0; slot < size; slot++) {
    if (!leaving[before[slot]] && former[after[slot]] != before[slot]) moved++;
  }
  return 100.0 * moved / size;
}

/// Of several choices of leavers.
Spread disruptions(std::uint32_t count, std::uint32_t leavers, std::uint32_t size, std::uint32_t weight_limit) {
  std::mt19937 random(1);
  std::vector<double> percents;
  for (std::uint32_t seed = 0; seed < 10; seed++) {
    std::vector<bool> leaving(count);
    for (std::uint32_t chosen = 0; chosen < leavers;) {
      const std::uint32_t server = static_cast<std::uint32_t>(random() % count);
      if (leaving[server]) continue;
      leaving[server] = true;
      chosen++;
    }
    percents.push_back(disruption(servers_of(count, weight_limit, seed), leaving, size));
  }
  return Spread::of(percents);
}

/// Milliseconds of processor time.
Spread build_time(std::uint32_t count, std::uint32_t size, std::uint32_t weight_limit) {
  std::vector<double> ms;
  const std::vector<BuildServer> servers = servers_of(count, weight_limit, 0);
  for (int round = 0; round < 9; round++) {
    std::vector<std::uint32_t> slots;
    ms.push_back(measure(1, [&] { build_maglev(servers, size, true, slots); }) / 1e6);
    if (slots.size() != size || slots[0] == kNobody) std::abort();
  }
  return Spread::of(ms);
}

/// Nanoseconds of a worker's CPU time per packet while tables are built, over those while none are; in turns.
Spread packets_while_building(std::uint32_t count, std::uint32_t size) {
  constexpr std::uint32_t kSessions = 65536;
  constexpr std::uint32_t kNeverMs = 1u << 30;
  constexpr std::uint64_t kPacketsPerMs = 10'000;
  constexpr std::uint64_t kPackets = 1u << 18;
  Balancer balancer({}, kSessions, kNeverMs);
  balancer.port().begin(FlowPort::Order::kSequential, 0, 0);
  balancer.run(kSessions, kPacketsPerMs);
  balancer.port().begin(FlowPort::Order::kRandom, 0, kSessions);

  std::atomic<bool> wanted{false};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> built{0};
  std::thread builder([&] {
    const std::vector<BuildServer> servers = servers_of(count, 1, 0);
    std::vector<std::uint32_t> slots;
    while (!over.load(std::memory_order_relaxed)) {
      if (!wanted.load(std::memory_order_relaxed)) {
        std::this_thread::yield();
        continue;
      }
      build_maglev(servers, size, true, slots);
      built.fetch_add(1, std::memory_order_relaxed);
    }
  });
  const auto packets = [&] { return measure(kPackets, [&] { balancer.run(kPackets, kPacketsPerMs); }); };
  packets();
  std::vector<double> ratios;
  for (int round = 0; round < 9; round++) {
    const double alone = packets();
    wanted.store(true, std::memory_order_relaxed);
    const std::uint64_t before = built.load(std::memory_order_relaxed);
    while (built.load(std::memory_order_relaxed) == before) std::this_thread::yield();
    ratios.push_back(packets() / alone);
    wanted.store(false, std::memory_order_relaxed);
  }
  over.store(true, std::memory_order_relaxed);
  builder.join();
  balancer.require_lossless();
  return Spread::of(ratios);
}

void print(const char* kind, std::uint32_t servers, std::uint32_t leavers, std::uint32_t size, bool weighted, const Spread& s) {
  std::printf(
      "{\"kind\":\"%s\",\"servers\":%u,\"leavers\":%u,\"slots\":%u,\"weighted\":%s,\"median\":%.5f,\"min\":%.5f,\"max\":%.5f}\n",
      kind, servers, leavers, size, weighted ? "true" : "false", s.median, s.min, s.max);
}

void run() {
  for (const std::uint32_t size : {65537u, 655373u}) {
    for (const std::uint32_t count : {10u, 100u, 1000u}) {
      print("balance", count, 0, size, false, balance(count, size));
      print("disruption", count, 1, size, false, disruptions(count, 1, size, 1));
      if (count == 1000) print("disruption", count, 10, size, false, disruptions(count, 10, size, 1));
      if (count == 100) print("disruption", count, 1, size, true, disruptions(count, 1, size, 10));
      print("build_ms", count, 0, size, false, build_time(count, size, 1));
      print("build_ms", count, 0, size, true, build_time(count, size, 100));
    }
  }
  print("packets", 1000, 0, 65537, false, packets_while_building(1000, 65537));
}

}  // namespace
}  // namespace millrace::bench

int main() {
  millrace::bench::run();
  return 0;
}
