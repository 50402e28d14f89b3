// Set-up of the rings between workers, and the bell's system calls.
#include "worker/links.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace millrace {

namespace {
/// A ring as large as one worker's frames cannot overflow between two workers; beyond this size memory matters more.
constexpr std::uint32_t kLargestHandoffRing = 16384;
}  // namespace

Bell::Bell() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Bell::~Bell() {
  if (fd_ >= 0) close(fd_);
}

void Bell::awake() {
  // False means that somebody has rung: one event has been written, or is about to be. What is not there yet stays owed: left in the
  // descriptor unnoticed, it would make every later poll() return at once.
  if (!sleeping_.exchange(false, std::memory_order_acq_rel)) owed_++;
  if (owed_ == 0) return;
  std::uint64_t events = 0;
  if (read(fd_, &events, sizeof(events)) == static_cast<ssize_t>(sizeof(events))) owed_ -= events;
}

void Bell::write_event() {
  const std::uint64_t one = 1;
  (void)!write(fd_, &one, sizeof(one));
}

Links::Links(const PacketMemory& memory) : workers_(memory.workers()), returns_(memory) {
  handoff_.resize(static_cast<std::size_t>(workers_) * workers_);
  for (std::uint32_t from = 0; from < workers_; from++) {
    bells_.push_back(std::make_unique<Bell>());
    for (std::uint32_t to = 0; to < workers_; to++) {
      if (from == to) continue;
      handoff_[static_cast<std::size_t>(from) * workers_ + to] =
          std::make_unique<SpscRing<Packet>>(std::min(memory.frames_per_worker(), kLargestHandoffRing));
    }
  }
}

}  // namespace millrace
