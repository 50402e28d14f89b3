// Allocation of the packet region and the return paths of frames. Set-up code, except FramePool::collect_returns/send_home.
#include "core/packet_memory.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdlib>

namespace millrace {

namespace {
constexpr std::size_t kHugePage = 2u << 20;

void bind_to_node(void* start, std::size_t length, int node) {
  if (node < 0 || node >= 64) return;
  const unsigned long mask = 1ul << static_cast<unsigned>(node);
  // Best effort: without CONFIG_NUMA the call fails and first touch by the worker decides.
  (void)syscall(SYS_mbind, start, length, MPOL_PREFERRED, &mask, 65, 0);
}
}  // namespace

Result<std::unique_ptr<PacketMemory>> PacketMemory::create(const Options& options) {
  if (options.workers == 0 || options.frames_per_worker == 0) {
    return Error{"packet_memory_invalid", "packet memory needs at least one worker and one frame", 0};
  }
  if (options.frame_size != 2048 && options.frame_size != 4096) {
    return Error{"packet_memory_invalid", "frame size must be 2048 or 4096 bytes", 0};
  }
  std::unique_ptr<PacketMemory> memory(new PacketMemory());
  memory->frame_shift_ = static_cast<std::uint32_t>(std::countr_zero(options.frame_size));
  memory->frames_per_worker_ = options.frames_per_worker;
  memory->workers_ = options.workers;
  const std::size_t part = static_cast<std::size_t>(options.frames_per_worker) * options.frame_size;
  memory->size_ = (part * options.workers + kHugePage - 1) / kHugePage * kHugePage;

  void* base = MAP_FAILED;
  if (options.huge_pages) {
    base = mmap(nullptr, memory->size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    memory->on_huge_pages_ = base != MAP_FAILED;
  }
  if (base == MAP_FAILED) {
    // Over-map, then trim to 2 MiB alignment so that transparent huge pages can back the region.
    const std::size_t mapped = memory->size_ + kHugePage;
    void* raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
      return Error{"packet_memory_unavailable",
                   "cannot map " + std::to_string(memory->size_ >> 20) + " MiB of packet memory; lower packetMemory.framesPerWorker",
                   errno};
    }
    const auto address = reinterpret_cast<std::uintptr_t>(raw);
    const std::uintptr_t aligned = (address + kHugePage - 1) / kHugePage * kHugePage;
    if (aligned != address) munmap(raw, aligned - address);
    const std::size_t tail = mapped - (aligned - address) - memory->size_;
    if (tail != 0) munmap(reinterpret_cast<void*>(aligned + memory->size_), tail);
    base = reinterpret_cast<void*>(aligned);
    (void)madvise(base, memory->size_, MADV_HUGEPAGE);
  }
  memory->base_ = static_cast<std::uint8_t*>(base);
  for (std::uint32_t w = 0; w < options.workers && w < options.numa_nodes.size(); w++) {
    bind_to_node(memory->base_ + part * w, part, options.numa_nodes[w]);
  }
  return memory;
}

PacketMemory::~PacketMemory() {
  if (base_ != nullptr) munmap(base_, size_);
}

FrameReturnRings::FrameReturnRings(const PacketMemory& memory) : workers_(memory.workers()) {
  rings_.resize(static_cast<std::size_t>(workers_) * workers_);
  for (std::uint32_t from = 0; from < workers_; from++) {
    for (std::uint32_t to = 0; to < workers_; to++) {
      if (from == to) continue;
      rings_[static_cast<std::size_t>(from) * workers_ + to] =
          std::make_unique<SpscRing<std::uint32_t>>(memory.frames_per_worker());
    }
  }
}

FramePool::FramePool(const PacketMemory& memory, FrameReturnRings& rings, std::uint32_t worker)
    : memory_(memory), rings_(rings), worker_(worker) {
  free_.reserve(memory.frames_per_worker());
  // Lowest frame last, so that a lightly loaded worker keeps using the same few cache-warm frames.
  for (std::uint32_t i = memory.frames_per_worker(); i-- > 0;) free_.push_back(worker * memory.frames_per_worker() + i);
}

void FramePool::send_home(std::uint32_t frame, std::uint32_t owner) {
  if (!rings_.ring(worker_, owner).push(frame)) std::abort();  // unreachable: the ring holds all frames its consumer owns
}

void FramePool::collect_returns() {
  std::uint32_t frames[64];
  for (std::uint32_t from = 0; from < memory_.workers(); from++) {
    if (from == worker_) continue;
    SpscRing<std::uint32_t>& ring = rings_.ring(from, worker_);
    for (std::size_t n = ring.pop(frames); n != 0; n = ring.pop(frames)) {
      free_.insert(free_.end(), frames, frames + n);
    }
  }
}

}  // namespace millrace
