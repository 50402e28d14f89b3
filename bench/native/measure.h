// Measuring on a machine that others use too: the thread's own CPU time, the core's real clock, and how much the others
// disturbed.
// Thread: the benchmark's only thread.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace millrace::bench {

inline void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) std::perror("cannot pin to a CPU");
}

inline double nanoseconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

/// Core clock in GHz: a chain of dependent additions takes one cycle each, whatever the time stamp counter says.
inline double core_ghz() {
  constexpr int kSteps = 2'000'000;
  const double before = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  std::uint64_t x = 0;
  for (int i = 0; i < kSteps; i += 10) {
    asm volatile(
        "add $1,%0\n\tadd $1,%0\n\tadd $1,%0\n\tadd $1,%0\n\tadd $1,%0\n\t"
        "add $1,%0\n\tadd $1,%0\n\tadd $1,%0\n\tadd $1,%0\n\tadd $1,%0"
        : "+r"(x));
  }
  return kSteps / (nanoseconds(CLOCK_THREAD_CPUTIME_ID) - before);
}

/// Jiffies that all CPUs spent busy, from /proc/stat: user, nice, system, interrupts, stolen by the hypervisor.
inline double busy_jiffies() {
  std::FILE* file = std::fopen("/proc/stat", "r");
  if (file == nullptr) return 0;
  unsigned long long user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  const int fields = std::fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq,
                                 &softirq, &steal);
  std::fclose(file);
  return fields == 8 ? static_cast<double>(user + nice + system + irq + softirq + steal) : 0;
}

/// How busy others kept the machine between construction and share(): CPUs' worth of time, 0.03 is 3 % of one CPU.
class Neighbours {
 public:
  double share() const {
    const double wall = nanoseconds(CLOCK_MONOTONIC) - wall_;
    const double own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own_;
    return std::max(0.0, ((busy_jiffies() - busy_) * 1e7 - own) / wall);
  }

 private:
  double wall_ = nanoseconds(CLOCK_MONOTONIC);
  double own_ = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  double busy_ = busy_jiffies();
};

/// Median and quartiles of what several rounds gave.
struct Spread {
  double median = 0, low = 0, high = 0, min = 0, max = 0;

  static Spread of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const auto at = [&](double q) {
      const double place = q * static_cast<double>(values.size() - 1);
      const auto i = static_cast<std::size_t>(place);
      const double rest = place - static_cast<double>(i);
      return i + 1 < values.size() ? values[i] * (1 - rest) + values[i + 1] * rest : values[i];
    };
    return {at(0.5), at(0.25), at(0.75), values.front(), values.back()};
  }
};

/// Nanoseconds of this thread's CPU time per unit of work.
template <typename Work>
double measure(std::uint64_t units, Work work) {
  const double before = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  work();
  return (nanoseconds(CLOCK_THREAD_CPUTIME_ID) - before) / static_cast<double>(units);
}

}  // namespace millrace::bench
