// What workers tell operators: records of one cache line each, in a ring of the worker's own, read by one thread that may do with them
// whatever takes time.
// Guarantees: writing takes no lock, no system call and no memory; a full ring drops the record and counts it; of one event at most `rate`
// records a second are written, the others are counted, so that a flood of packets cannot become a flood of lines. Until somebody reads,
// the rate is 0 and nothing is written or counted.
// Threads: LogWriter is the worker's; LogReader is one thread's; WorkerLog is the memory between them and outlives both.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/counters.h"
#include "core/spsc_ring.h"
#include "net/address.h"

namespace millrace {

enum class LogEvent : std::uint8_t {
#define MILLRACE_LOG_EVENT(name, level, value, text) name,
#include "core/log_events.def"
#undef MILLRACE_LOG_EVENT
  kCount
};
inline constexpr std::size_t kLogEvents = static_cast<std::size_t>(LogEvent::kCount);

struct LogEventInfo {
  std::string_view name;
  std::string_view level;
  /// What LogRecord::value is; "none" if it is nothing.
  std::string_view value;
  std::string_view text;
};

inline constexpr std::array<LogEventInfo, kLogEvents> kLogEventInfo = {{
#define MILLRACE_LOG_EVENT(name, level, value, text) {#name, #level, #value, text},
#include "core/log_events.def"
#undef MILLRACE_LOG_EVENT
}};

/// In LogRecord::service and server: none.
inline constexpr std::uint32_t kNoLogSlot = 0xffffffffu;

/// Numbers in the host's byte order, addresses and ports in that of the network. src/logs/record.ts has the same layout.
///
///   0      8        24            40      48        52       56            58                 60      61       62         63
///   | time | client | destination | value | service | server | client port | destination port | event | reason | protocol | worker |
struct alignas(64) LogRecord {
  /// Milliseconds of the worker's clock: CLOCK_MONOTONIC.
  std::uint64_t time_ms;
  /// Who sent the first packet of the flow and what for; unspecified where the event is about no flow.
  IpAddress client;
  IpAddress destination;
  std::uint64_t value;
  std::uint32_t service;
  std::uint32_t server;
  be16 client_port;
  be16 destination_port;
  LogEvent event;
  /// Why the packet was dropped; kCount where it was not.
  DropReason reason;
  /// IP protocol; 0 where the event is about no flow.
  std::uint8_t protocol;
  std::uint8_t worker;
};
static_assert(sizeof(LogRecord) == 64);

struct LogField {
  std::string_view name;
  std::size_t offset;
  std::size_t bytes;
};

/// The layout as this compiler has it, for the test that compares it with TypeScript's.
#define MILLRACE_LOG_FIELD(name) {#name, offsetof(LogRecord, name), sizeof(LogRecord::name)}
inline constexpr std::array kLogFields = std::to_array<LogField>(
    {MILLRACE_LOG_FIELD(time_ms), MILLRACE_LOG_FIELD(client), MILLRACE_LOG_FIELD(destination), MILLRACE_LOG_FIELD(value),
     MILLRACE_LOG_FIELD(service), MILLRACE_LOG_FIELD(server), MILLRACE_LOG_FIELD(client_port), MILLRACE_LOG_FIELD(destination_port),
     MILLRACE_LOG_FIELD(event), MILLRACE_LOG_FIELD(reason), MILLRACE_LOG_FIELD(protocol), MILLRACE_LOG_FIELD(worker)});
#undef MILLRACE_LOG_FIELD

/// Records that a worker's ring holds: at the usual rates some seconds of every event at once. 256 KiB.
inline constexpr std::size_t kLogRingRecords = 4096;

/// The memory between one worker and the reader.
struct WorkerLog {
  explicit WorkerLog(std::size_t records = kLogRingRecords) : ring(records) {}

  SpscRing<LogRecord> ring;
  /// Most records of one event in a second; 0: nobody reads.
  std::atomic<std::uint32_t> rate{0};
  // Written by the worker alone, read by anyone.
  alignas(kCacheLine) std::atomic<std::uint64_t> dropped{0};
  std::array<std::atomic<std::uint64_t>, kLogEvents> suppressed{};
};

/// The worker's end. Without a WorkerLog it does nothing.
class LogWriter {
 public:
  /// Before the worker runs.
  void attach(WorkerLog* log) { log_ = log; }
  /// The whole clock, of which workers else only know the lower 32 bits.
  void start_clock(std::uint64_t now_ms) { time_ms_ = now_ms; }
  /// At each turn of the worker, so that no run of the 32 bits is missed. The clock may step back a little.
  void advance(std::uint32_t now_ms) {
    const auto step = static_cast<std::int32_t>(now_ms - static_cast<std::uint32_t>(time_ms_));
    time_ms_ = static_cast<std::uint64_t>(static_cast<std::int64_t>(time_ms_) + step);
  }

  /// Whether a record of this event may be written now; counts it as suppressed if not. Asked before the record is made.
  bool admits(LogEvent event, Counters& counters, std::uint32_t now_ms) {
    const std::uint32_t rate = log_ == nullptr ? 0 : log_->rate.load(std::memory_order_relaxed);
    if (rate == 0) return false;
    Window& window = windows_[static_cast<std::size_t>(event)];
    if (now_ms - window.begin_ms >= 1000) window = {now_ms, 0};
    if (window.written < rate) {
      window.written++;
      return true;
    }
    add(log_->suppressed[static_cast<std::size_t>(event)]);
    counters.add(Counter::log_records_suppressed);
    return false;
  }

  /// Only what admits() admitted; sets the time.
  void write(LogRecord& record, Counters& counters, std::uint32_t now_ms) {
    advance(now_ms);
    record.time_ms = time_ms_;
    if (log_->ring.push(record)) {
      counters.add(Counter::log_records);
    } else {
      add(log_->dropped);
      counters.add(Counter::log_records_dropped);
    }
  }

 private:
  struct Window {
    std::uint32_t begin_ms = 0;
    std::uint32_t written = 0;
  };
  /// One writer: a plain load and store.
  static void add(std::atomic<std::uint64_t>& count) {
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  WorkerLog* log_ = nullptr;
  std::uint64_t time_ms_ = 0;
  std::array<Window, kLogEvents> windows_{};
};

/// All workers' logs of one dataplane, and the right to read them, which one reader has at a time.
class LogSource {
 public:
  explicit LogSource(std::vector<std::shared_ptr<WorkerLog>> workers) : workers_(std::move(workers)) {}

  std::span<const std::shared_ptr<WorkerLog>> workers() const { return workers_; }
  bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
  void give_back() { taken_.store(false, std::memory_order_release); }

 private:
  const std::vector<std::shared_ptr<WorkerLog>> workers_;
  std::atomic<bool> taken_{false};
};

/// Reads all rings. Keeps their memory: the dataplane may go at any time, also while this reads; what its workers wrote last is still there.
class LogReader {
 public:
  /// nullptr while somebody else reads.
  static std::unique_ptr<LogReader> open(std::shared_ptr<LogSource> source, std::uint32_t rate) {
    if (!source->take()) return nullptr;
    std::unique_ptr<LogReader> reader(new LogReader(std::move(source)));
    reader->set_rate(rate);
    return reader;
  }
  /// Workers write no more; what is in the rings stays for the next reader.
  ~LogReader() {
    set_rate(0);
    source_->give_back();
  }
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  void set_rate(std::uint32_t rate) {
    for (const auto& worker : source_->workers()) worker->rate.store(rate, std::memory_order_relaxed);
  }

  /// Moves records out, as many as are there or fit. Each call begins with another worker, so that one with much to say leaves room for
  /// the others.
  std::size_t drain(std::span<LogRecord> out) {
    const auto workers = source_->workers();
    std::size_t count = 0;
    for (std::size_t i = 0; i < workers.size() && count < out.size(); i++) {
      SpscRing<LogRecord>& ring = workers[(next_ + i) % workers.size()]->ring;
      // Twice: pop() gives what it saw last, and may see more when that is empty. A ring that fills as fast as it is read ends here, too.
      for (int look = 0; look < 2; look++) count += ring.pop(out.subspan(count));
    }
    if (!workers.empty()) next_ = (next_ + 1) % workers.size();
    return count;
  }

  /// Over all workers, since the dataplane began.
  std::uint64_t dropped() const {
    std::uint64_t sum = 0;
    for (const auto& worker : source_->workers()) sum += worker->dropped.load(std::memory_order_relaxed);
    return sum;
  }
  std::uint64_t suppressed(LogEvent event) const {
    std::uint64_t sum = 0;
    for (const auto& worker : source_->workers()) {
      sum += worker->suppressed[static_cast<std::size_t>(event)].load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  explicit LogReader(std::shared_ptr<LogSource> source) : source_(std::move(source)) {}

  const std::shared_ptr<LogSource> source_;
  std::size_t next_ = 0;
};

}  // namespace millrace
