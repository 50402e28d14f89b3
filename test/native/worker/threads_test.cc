// Workers on threads of their own, while a control thread changes the configuration, publishes, and frees what nobody looks at: the
// way the product runs, without a kernel under it. Meant for ThreadSanitizer; it also checks that no session notices a thing.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/quiescence.h"
#include "support/flow.h"

namespace millrace::test {
namespace {

constexpr std::uint16_t kFlows = 120;

Flow flow_of(std::uint32_t worker, std::uint16_t number) {
  Flow f = number % 3 == 0 ? flow6() : Flow{};
  f.source_port = static_cast<std::uint16_t>(1000 + worker * 1000 + number);
  return f;
}

/// A server's answer to what it was sent.
Bytes answer(const Sent& sent) {
  const bool six = sent.bytes[12] == 0x86;
  Flow f;
  f.six = six;
  f.eth_source = "02:00:00:00:02:11";
  f.eth_destination = "02:00:00:00:00:02";
  f.source = address_at(sent.bytes, six ? 38 : 30, six);
  f.destination = address_at(sent.bytes, six ? 22 : 26, six);
  f.source_port = read16(sent.bytes, l4_of(f) + 2);
  f.destination_port = read16(sent.bytes, l4_of(f));
  f.flags = kSyn | kAck;
  return f.build();
}

class Running {
 public:
  explicit Running(std::uint32_t workers)
      : stage_({.workers = workers, .frames_per_worker = 512, .ring_size = 512}), published_(workers), base_(default_tables(workers)) {
    publish();
  }

  Stage& stage() { return stage_; }

  /// Traffic on every worker's thread, changes on this one, until both have had enough.
  void run(int changes) {
    const std::uint32_t workers = stage_.workers();
    std::vector<std::thread> threads;
    for (std::uint32_t worker = 0; worker < workers; worker++) threads.emplace_back([this, worker] { work(worker); });
    std::mt19937 random(workers);
    std::vector<std::uint64_t> received(workers);
    for (int change = 0; change < changes || begun_ < workers * kFlows; change++) {
      apply(random);
      for (std::uint32_t worker = 0; worker < workers; worker++) {
        const std::uint64_t now = stage_.state(worker).counters.get(Counter::rx_packets);
        EXPECT_GE(now, std::exchange(received[worker], now)) << "counters are read while workers run";
      }
      while (!published_.all_reached(published_.epoch())) std::this_thread::yield();
      reclaim();
    }
    stop_ = true;
    for (std::uint32_t worker = 0; worker < workers; worker++) stage_.links().bell(worker).ring();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(published_.reclaim(), 0u);
  }
  std::uint64_t slept() const { return slept_; }

 private:
  void publish() {
    published_.publish(std::make_unique<const Snapshot>(stage_.snapshot()));
    (void)published_.reclaim();
  }

  /// The servers that sessions may choose stay; around them all kinds of things come and go.
  void apply(std::mt19937& random) {
    TablesConfig tables = base_;
    for (ServiceConfig& service : tables.services) {
      const bool six = !service.address.is_v4();
      for (const char* last : {"13", "14"}) {
        if (random() % 2 == 0) service.servers.push_back({ip((six ? "fd00:2::" : "10.0.2.") + std::string(last)), service.servers[0].port, 1});
      }
      if (random() % 4 == 0) service.servers.erase(service.servers.begin());
      if (random() % 2 == 0) service.scheduler = SchedulerKind::kWeightedRoundRobin;
    }
    for (int n = 0; n < 3; n++) {
      if (random() % 2 != 0) continue;
      ServiceConfig extra = base_.services[0];
      extra.port = be16(static_cast<std::uint16_t>(9000 + n));
      tables.services.push_back(extra);
      tables.local_addresses.push_back(ip("10.0.4." + std::to_string(1 + random() % 5)));
    }
    if (random() % 3 == 0) {
      NetworkTables network = default_network();
      network.route_generation = static_cast<std::uint16_t>(1 + random() % 1000);
      stage_.network(std::move(network));
    }
    std::vector<IpAddress>& locals = tables.local_addresses;
    for (auto l = locals.begin(); l != locals.end();) l = std::find(locals.begin(), l, *l) == l ? l + 1 : locals.erase(l);
    stage_.apply(tables);
    publish();
  }

  void reclaim() {
    const std::shared_ptr<const ServiceTables> before = stage_.snapshot().services;
    stage_.reclaim();
    if (stage_.snapshot().services != before) publish();
    (void)published_.reclaim();
  }

  void work(std::uint32_t worker) {
    Stage& stage = stage_;
    std::mt19937 random(worker + 77);
    published_.wake(worker);
    std::uint16_t next = 0;
    std::vector<Bytes> answers;
    for (std::uint32_t now_ms = 1000; !stop_; now_ms++) {
      if (next < kFlows && random() % 2 == 0 && stage.inject(flow_of(worker, next).build(), kClientSide, worker)) {
        next++;
        begun_++;
      }
      // A packet of anybody's session, on the wrong worker as often as not.
      Flow later = flow_of(static_cast<std::uint32_t>(random() % stage.workers()), static_cast<std::uint16_t>(random() % kFlows));
      later.flags = kAck;
      (void)stage.inject(later.build(), kClientSide, worker);
      for (const Bytes& frame : answers) (void)stage.inject(frame, kServerSide, worker);
      answers.clear();
      const std::uint32_t moved = stage.loop(worker).turn(published_.enter(worker), now_ms);
      for (const Sent& sent : stage.take(worker)) {
        if (sent.interface == kServerSide && random() % 4 == 0) answers.push_back(answer(sent));
      }
      if (moved == 0 || random() % 16 == 0) sleep(worker);
    }
    published_.leave(worker);
  }

  void sleep(std::uint32_t worker) {
    Bell& bell = stage_.links().bell(worker);
    bell.announce_sleep();
    if (!stage_.loop(worker).has_work() && !stop_) {
      published_.leave(worker);
      pollfd waiting{bell.fd(), POLLIN, 0};
      (void)poll(&waiting, 1, 1);
      published_.wake(worker);
      slept_++;
    }
    bell.awake();
  }

  Stage stage_;
  Published<Snapshot> published_;
  const TablesConfig base_;
  std::atomic<std::uint32_t> begun_{0};
  std::atomic<std::uint64_t> slept_{0};
  std::atomic<bool> stop_{false};
};

class Threads : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Threads, SessionsSurviveEveryChangeOfTheConfiguration) {
  const std::uint32_t workers = GetParam();
  Running running(workers);
  running.run(150);
  Stage& stage = running.stage();
  EXPECT_GT(running.slept(), 0u);
  stage.settle();
  stage.take();
  stage.expect_accounted();
  EXPECT_EQ(stage.count(Counter::sessions), std::uint64_t{workers} * kFlows) << "every flow has its one session";
  EXPECT_EQ(stage.count(Counter::sessions_expired), 0u);
  EXPECT_GT(stage.count(Counter::handoff_sent), 0u);
  // Each session still works, also for packets that arrive on the wrong worker, and leaves from the worker that owns it.
  for (std::uint32_t worker = 0; worker < workers; worker++) {
    for (std::uint16_t number = 0; number < kFlows; number++) {
      Flow f = flow_of(worker, number);
      f.flags = kAck;
      stage.pass(1);
      const std::vector<Sent> sent = stage.pass_through(f.build(), kClientSide, (worker + 1) % workers);
      ASSERT_EQ(sent.size(), 1u) << "flow " << number << " of worker " << worker;
      EXPECT_EQ(sent[0].worker, worker);
      EXPECT_EQ(sent[0].bytes, towards_server(f, sent[0].bytes).build());
    }
  }
  for (const DropReason reason : {DropReason::tx_ring_full, DropReason::handoff_ring_full, DropReason::no_server, DropReason::no_route,
                                  DropReason::local_no_session, DropReason::local_ports_exhausted, DropReason::neighbour_unresolved}) {
    EXPECT_EQ(stage.count(reason), 0u) << kCounterInfo[kPlainCounters + static_cast<std::size_t>(reason)].name;
  }
}

TEST(Statistics, ASessionThatChangesItsStateIsNeverCountedAsNone) {
  // Active and inactive are two numbers; whoever adds them up while a session goes from one to the other may find neither.
  Stage stage({});
  const std::string server = expect_forwarded(stage, from_port(5000)).destination;
  ServerSlot slot = 0;
  while (stage.builder().server_slots()[slot].address != ip(server)) slot++;
  const ServerStats& stats = stage.state().server_stats[slot];
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> looks{0};
  std::thread worker([&] {
    Flow f = from_port(5000);
    for (int round = 0; round < 3000 || looks < 1000; round++) {
      f.flags = round % 2 == 0 ? kRst : kSyn;
      EXPECT_EQ(stage.pass_through(f.build()).size(), 1u);
    }
    done = true;
  });
  while (!done) {
    EXPECT_EQ(sessions_now(stats), 1u);
    looks++;
  }
  worker.join();
  EXPECT_EQ(stats.active + stats.inactive, 1u);
}

INSTANTIATE_TEST_SUITE_P(Workers, Threads, testing::Values(2u, 4u));

}  // namespace
}  // namespace millrace::test
