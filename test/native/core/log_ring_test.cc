// Log rings: layout, limits, what is counted when nobody reads, two threads at once (meant for ThreadSanitizer too).
#include "core/log_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace millrace {
namespace {

/// A worker's end of a log, as a worker has it.
struct Bench {
  explicit Bench(std::size_t records = kLogRingRecords) : log(std::make_shared<WorkerLog>(records)) { writer.attach(log.get()); }
  std::shared_ptr<LogSource> source() { return std::make_shared<LogSource>(std::vector{log}); }
  /// Whether a record was admitted; it is written then.
  bool write(LogEvent event, std::uint32_t now_ms, std::uint64_t value = 0) {
    if (!writer.admits(event, counters, now_ms)) return false;
    LogRecord record{};
    record.event = event;
    record.value = value;
    writer.write(record, counters, now_ms);
    return true;
  }

  std::shared_ptr<WorkerLog> log;
  LogWriter writer;
  std::array<std::uint64_t, kCounterSlots> slots{};
  Counters counters{slots.data()};
};

std::vector<LogRecord> drain(LogReader& reader, std::size_t room = 8192) {
  std::vector<LogRecord> records(room);
  records.resize(reader.drain(records));
  return records;
}

TEST(LogRecords, HaveTheLayoutThatTypeScriptReads) {
  const auto at = [](std::string_view name) {
    for (const LogField& field : kLogFields) {
      if (field.name == name) return field.offset;
    }
    return std::size_t{64};
  };
  EXPECT_EQ(at("time_ms"), 0u);
  EXPECT_EQ(at("client"), 8u);
  EXPECT_EQ(at("destination"), 24u);
  EXPECT_EQ(at("value"), 40u);
  EXPECT_EQ(at("service"), 48u);
  EXPECT_EQ(at("server"), 52u);
  EXPECT_EQ(at("client_port"), 56u);
  EXPECT_EQ(at("destination_port"), 58u);
  EXPECT_EQ(at("event"), 60u);
  EXPECT_EQ(at("reason"), 61u);
  EXPECT_EQ(at("protocol"), 62u);
  EXPECT_EQ(at("worker"), 63u);
  std::size_t bytes = 0;
  for (const LogField& field : kLogFields) bytes += field.bytes;
  EXPECT_EQ(bytes, sizeof(LogRecord)) << "a field is missing from the list, or there is a hole";
}

TEST(LogRecords, HaveEventsWithLevelsOfPinoAndNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const LogEventInfo& event : kLogEventInfo) {
    EXPECT_TRUE(names.insert(std::string(event.name)).second) << event.name;
    EXPECT_TRUE(event.level == "info" || event.level == "warn" || event.level == "error") << event.name;
    EXPECT_FALSE(event.text.empty());
  }
}

TEST(LogRing, IsSilentUntilSomebodyReadsAndAfterwards) {
  Bench bench;
  EXPECT_FALSE(bench.write(LogEvent::no_server, 5000));
  {
    const auto reader = LogReader::open(bench.source(), 10);
    EXPECT_TRUE(bench.write(LogEvent::no_server, 5000, 7));
    const auto records = drain(*reader);
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records[0].value, 7u);
  }
  EXPECT_FALSE(bench.write(LogEvent::no_server, 9000));
  EXPECT_EQ(bench.counters.get(Counter::log_records), 1u);
  EXPECT_EQ(bench.counters.get(Counter::log_records_suppressed), 0u) << "what nobody asks for is not suppressed";
  LogWriter unattached;
  EXPECT_FALSE(unattached.admits(LogEvent::no_server, bench.counters, 1));
}

TEST(LogRing, HasOneReaderAtATime) {
  Bench bench;
  const auto source = bench.source();
  auto first = LogReader::open(source, 10);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(LogReader::open(source, 99), nullptr);
  EXPECT_EQ(bench.log->rate.load(), 10u) << "the refused one changes nothing";
  first.reset();
  EXPECT_NE(LogReader::open(source, 10), nullptr);
}

TEST(LogRing, DropsAndCountsWhenItIsFull) {
  Bench bench(8);
  const auto reader = LogReader::open(bench.source(), 1000);
  for (std::uint64_t n = 0; n < 20; n++) EXPECT_TRUE(bench.write(LogEvent::no_server, 1, n));
  EXPECT_EQ(bench.counters.get(Counter::log_records), 8u);
  EXPECT_EQ(bench.counters.get(Counter::log_records_dropped), 12u);
  EXPECT_EQ(reader->dropped(), 12u);
  const auto records = drain(*reader);
  ASSERT_EQ(records.size(), 8u);
  for (std::uint64_t n = 0; n < 8; n++) EXPECT_EQ(records[n].value, n) << "the oldest stay";
  EXPECT_TRUE(bench.write(LogEvent::no_server, 1, 99));
  EXPECT_EQ(drain(*reader).size(), 1u) << "and there is room again";
}

TEST(LogRing, WritesOfEachEventAsManyInASecondAsItMay) {
  Bench bench;
  const auto reader = LogReader::open(bench.source(), 3);
  int written = 0;
  for (int n = 0; n < 10; n++) written += bench.write(LogEvent::no_server, 10'000) ? 1 : 0;
  EXPECT_EQ(written, 3);
  EXPECT_TRUE(bench.write(LogEvent::rate_limit, 10'000)) << "another event has a share of its own";
  EXPECT_FALSE(bench.write(LogEvent::no_server, 10'999));
  EXPECT_TRUE(bench.write(LogEvent::no_server, 11'000)) << "the next second";
  EXPECT_EQ(reader->suppressed(LogEvent::no_server), 8u);
  EXPECT_EQ(reader->suppressed(LogEvent::rate_limit), 0u);
  EXPECT_EQ(bench.counters.get(Counter::log_records_suppressed), 8u);
  EXPECT_EQ(bench.counters.get(Counter::log_records), 5u);
  reader->set_rate(1);
  EXPECT_FALSE(bench.write(LogEvent::no_server, 11'001)) << "a new rate counts at once";
}

TEST(LogRing, KnowsTheWholeClockAlsoWhereWorkersCountFromZeroAgain) {
  Bench bench;
  const auto reader = LogReader::open(bench.source(), 1000);
  bench.writer.start_clock(0x1'ffff'fff0ull);
  bench.writer.advance(0xffff'fff8u);
  EXPECT_TRUE(bench.write(LogEvent::no_server, 0xffff'fffau));
  bench.writer.advance(0x0000'0004u);
  EXPECT_TRUE(bench.write(LogEvent::no_server, 0x0000'0005u));
  EXPECT_TRUE(bench.write(LogEvent::no_server, 0x0000'0003u)) << "a clock that steps back";
  const auto records = drain(*reader);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].time_ms, 0x1'ffff'fffaull);
  EXPECT_EQ(records[1].time_ms, 0x2'0000'0005ull);
  EXPECT_EQ(records[2].time_ms, 0x2'0000'0003ull);
}

TEST(LogRing, OneWorkerThatTalksALotLeavesRoomForTheOthers) {
  std::vector<std::unique_ptr<Bench>> benches;
  std::vector<std::shared_ptr<WorkerLog>> logs;
  for (int worker = 0; worker < 3; worker++) {
    benches.push_back(std::make_unique<Bench>());
    logs.push_back(benches.back()->log);
  }
  const auto reader = LogReader::open(std::make_shared<LogSource>(logs), 10'000);
  for (std::uint64_t worker = 0; worker < 3; worker++) {
    for (int n = 0; n < 100; n++) benches[worker]->write(LogEvent::no_server, 1, worker);
  }
  std::set<std::uint64_t> seen;
  for (int turn = 0; turn < 3; turn++) {
    for (const LogRecord& record : drain(*reader, 10)) seen.insert(record.value);
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST(LogRing, TwoThreadsLoseNothingThatIsNotCounted) {
  constexpr std::uint64_t kWrites = 100'000;
  Bench bench(64);
  const auto reader = LogReader::open(bench.source(), 0xffffffffu);
  std::atomic<bool> done{false};
  std::thread worker([&] {
    for (std::uint64_t n = 0; n < kWrites; n++) {
      bench.write(LogEvent::rate_limit, static_cast<std::uint32_t>(n / 1000), n);
      if (n % 64 == 0) std::this_thread::yield();
    }
    done.store(true, std::memory_order_release);
  });
  std::uint64_t seen = 0, last = 0;
  bool in_order = true;
  std::array<LogRecord, 48> out;
  for (bool more = true; more;) {
    const bool over = done.load(std::memory_order_acquire);
    const std::size_t got = reader->drain(out);
    if (got == 0) std::this_thread::yield();  // the other side may share the core
    for (std::size_t i = 0; i < got; i++) {
      in_order = in_order && (seen == 0 || out[i].value > last) && out[i].event == LogEvent::rate_limit &&
                 out[i].time_ms == out[i].value / 1000;
      last = out[i].value;
      seen++;
    }
    more = got != 0 || !over;
  }
  worker.join();
  EXPECT_TRUE(in_order);
  EXPECT_GT(seen, 0u);
  EXPECT_EQ(seen + reader->dropped(), kWrites);
  EXPECT_EQ(bench.counters.get(Counter::log_records), seen);
}

TEST(LogRing, MayBeReadWhileItsDataplaneGoes) {
  for (int round = 0; round < 20; round++) {
    auto bench = std::make_unique<Bench>(256);
    auto source = bench->source();
    std::atomic<bool> reading{false};
    std::atomic<std::uint64_t> seen{0};
    std::atomic<bool> stop{false};
    std::thread drainer([&, source]() mutable {
      const auto reader = LogReader::open(std::move(source), 0xffffffffu);
      reading.store(true, std::memory_order_release);
      std::array<LogRecord, 16> out;
      for (bool more = true; more;) {
        const bool over = stop.load(std::memory_order_acquire);
        const std::size_t got = reader->drain(out);
        seen += got;
        if (got == 0) std::this_thread::yield();
        more = got != 0 || !over;
      }
    });
    source.reset();
    while (!reading.load(std::memory_order_acquire)) std::this_thread::yield();
    std::uint64_t written = 0;
    for (int n = 0; n < 200; n++) written += bench->write(LogEvent::no_route, 1) ? 1 : 0;
    bench.reset();  // the worker, its memory and the dataplane; only the reader is left
    stop.store(true, std::memory_order_release);
    drainer.join();
    EXPECT_EQ(seen.load(), written);
  }
}

}  // namespace
}  // namespace millrace
