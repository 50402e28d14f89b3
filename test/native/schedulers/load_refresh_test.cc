// The control thread keeps every worker's view of the others' sessions fresh while a scheduler counts them. Needs a network
// namespace.
#include <gtest/gtest.h>

#include <thread>

#include "control/namespaces.h"
#include "support/stage.h"
#include "worker/control_thread.h"

namespace millrace::test {
namespace {

class LoadRefresh : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = namespaces_.open(); !why.empty()) GTEST_SKIP() << why;
    options_.workers = 2;
    options_.max_sessions_per_worker = 64;
    InterfaceOptions link;
    link.name = "v0";
    options_.interfaces = {link};
    loads_ = std::move(LoadTable::create(2)).value();
    ControlThread::Parts parts;
    parts.interfaces = options_.interfaces;
    for (std::uint32_t worker = 0; worker < 2; worker++) {
      memories_.push_back(std::move(WorkerMemory::create(options_, worker, hash_key_from_seed(1), 0, *templates_, loads_.get())).value());
      parts.workers.push_back(memories_.back().get());
    }
    parts.published = &published_;
    parts.loads = loads_.get();
    auto control = ControlThread::create(std::move(parts));
    ASSERT_TRUE(control.ok()) << control.error().message;
    control_ = std::move(control).value();
    control_->publish_first();
    control_->start();
  }
  void TearDown() override {
    if (control_) control_->stop();
  }

  /// Applies the tables while both workers' places are taken by this thread, which looks at each snapshot at once.
  SlotMap apply(const TablesConfig& tables) {
    std::atomic<bool> done{false};
    std::thread workers([&] {
      while (!done) {
        for (std::uint32_t worker = 0; worker < 2; worker++) (void)published_.enter(worker);
        std::this_thread::yield();
      }
    });
    auto outcome = control_->apply(tables);
    done = true;
    workers.join();
    EXPECT_TRUE(outcome.ok());
    return outcome.ok() ? std::move(outcome).value().slots : SlotMap{};
  }

  ServerStats& stats(std::uint32_t worker, ServerSlot slot) { return memories_[worker]->statistics()->servers[slot]; }
  ServerLoad seen_by(std::uint32_t worker, ServerSlot slot) { return memories_[worker]->state().loads.of(slot); }

  /// Milliseconds until the worker sees so many active sessions, or a second.
  std::uint64_t wait_for(std::uint32_t worker, ServerSlot slot, std::uint64_t active) {
    const std::uint64_t begin = clock_ms();
    while (seen_by(worker, slot).active != active && clock_ms() < begin + 1000) std::this_thread::yield();
    return clock_ms() - begin;
  }

  Namespaces namespaces_;
  DataplaneOptions options_;
  Published<Snapshot> published_{2};
  std::unique_ptr<LoadTable> loads_;
  std::unique_ptr<TemplateTable> templates_ = std::move(TemplateTable::create(hash_key_from_seed(1), 256)).value();
  std::vector<std::unique_ptr<WorkerMemory>> memories_;
  std::unique_ptr<ControlThread> control_;
};

TEST_F(LoadRefresh, AWorkerSeesTheOthersSessionsWithinMilliseconds) {
  TablesConfig tables = default_tables(2);
  tables.services.resize(1);
  tables.services[0].scheduler = scheduler_named("wlc");
  const SlotMap map = apply(tables);
  ASSERT_EQ(map.services.size(), 1u);
  const ServerSlot slot = map.services[0].servers[0].slot;
  std::vector<std::uint64_t> waited;
  std::vector<std::uint64_t> late;
  for (std::uint64_t active = 1; active <= 50; active++) {
    store_relaxed(stats(0, slot).active, active);
    waited.push_back(wait_for(1, slot, active));
    EXPECT_EQ(seen_by(0, slot).active, active) << "its own are seen at once, and once";
    // How late any thread of this machine wakes up now: the control thread cannot do better.
    const auto before = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(kLoadRefreshMs / 2));
    const auto slept = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - before);
    late.push_back(static_cast<std::uint64_t>(slept.count()) - kLoadRefreshMs / 2);
  }
  std::sort(waited.begin(), waited.end());
  std::sort(late.begin(), late.end());
  EXPECT_LE(waited[waited.size() / 2], kLoadRefreshMs + 3 * late[late.size() / 2]);
}

TEST_F(LoadRefresh, AServiceThatBeginsToCountFindsTheSessionsThatWereThere) {
  TablesConfig tables = default_tables(2);
  tables.services.resize(1);
  const SlotMap map = apply(tables);
  const ServerSlot slot = map.services[0].servers[1].slot;
  store_relaxed(stats(0, slot).active, 7);
  store_relaxed(stats(0, slot).inactive, 9);
  EXPECT_EQ(seen_by(1, slot).active, 0u) << "rr does not count: nobody adds up";
  tables.services[0].scheduler = scheduler_named("lc");
  (void)apply(tables);
  EXPECT_EQ(seen_by(1, slot).active, 7u) << "before the workers get the new table";
  EXPECT_EQ(seen_by(1, slot).inactive, 9u);
}

}  // namespace
}  // namespace millrace::test
