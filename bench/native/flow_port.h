// FlowPort: a port whose receive side makes the packets of any number of flows, and whose transmit side only counts. It feeds the
// production worker loop and the bare loop with the same bytes at the same cost, which is measured on its own and subtracted.
//
//   frame:    template (64 or 128 bytes) + client address, client port, checksums of flow i
//   order:    sequential (flow 0, 1, 2 ... to create them) or uniformly random over the first `flows` (to meet them again)
//
// Flow numbers become addresses by arithmetic, so the generator touches no memory that grows with the number of flows and leaves
// the caches to what is measured. Frames stand at offset 256 of 2 KiB, as AF_XDP leaves them, and are made 64 at a time, so that
// packets handed out one by one are not read while they are still being written.
// Guarantees: IP and transport checksums are right. Thread: the benchmark's only thread.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "core/batch.h"
#include "core/hash.h"
#include "core/packet_memory.h"
#include "net/checksum.h"
#include "net/headers.h"

namespace millrace::bench {

/// What the packets look like. All flows go to one service.
struct Traffic {
  bool ipv6 = false;
  std::uint8_t protocol = net::kProtocolUdp;
  /// Bytes of the frame without frame check sequence.
  std::uint32_t frame_bytes = 60;
};

inline const char* const kVip4 = "203.0.113.10";
inline const char* const kVip6 = "2001:db8:f::10";
inline constexpr std::uint16_t kVipPort = 53;

/// Zeroed memory on huge pages where the system gives them; freed with the process.
template <typename T>
T* huge_array(std::size_t count) {
  constexpr std::size_t kHugePage = 2u << 20;
  const std::size_t bytes = (count * sizeof(T) + kHugePage - 1) / kHugePage * kHugePage;
  void* raw = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) std::abort();
  void* aligned = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(raw) + kHugePage - 1) / kHugePage * kHugePage);
  (void)madvise(aligned, bytes, MADV_HUGEPAGE);
  return static_cast<T*>(aligned);
}

class FlowPort {
 public:
  enum class Order { kSequential, kRandom };

  FlowPort(const PacketMemory& memory, const Traffic& traffic) : traffic_(traffic) {
    for (std::uint32_t i = 0; i < kFrames; i++) frames_[i] = memory.frame_start(i) + kFrameHeadroom;
    make_template();
  }

  /// From now on: packets of flows `first`, `first` + 1, ... or of random ones below `flows`.
  void begin(Order order, std::uint64_t first, std::uint64_t flows) {
    order_ = order;
    next_flow_ = first;
    flows_ = flows;
    random_ = 0x9e3779b97f4a7c15ull;
    ready_ = 0;
  }
  /// At most this many packets per receive(): 64, or 1 to see what batches are good for.
  void set_burst(std::uint32_t packets) { burst_ = packets; }
  void set_tcp_flags(std::uint8_t flags) {
    template_[l4_offset() + 13] = flags;
    sum_template();
  }
  std::uint64_t next_flow() const { return next_flow_; }
  std::uint64_t transmitted() const { return transmitted_; }
  /// The packet sent last, for checking it; data is nullptr before the first.
  const Packet& last_sent() const { return last_sent_; }

  // Concept Port (ports/port.h).
  std::uint32_t receive(Batch& batch) {
    const std::uint32_t n = burst_ < batch.room() ? burst_ : batch.room();
    for (std::uint32_t i = 0; i < n; i++) {
      if (ready_ == 0) make_packets();
      batch.push(made_[kBatchSize - ready_--]);
    }
    return n;
  }
  std::uint32_t transmit(std::span<const Packet> packets) {
    transmitted_ += packets.size();
    last_sent_ = packets.back();
    return static_cast<std::uint32_t>(packets.size());
  }
  std::uint32_t flush() { return 0; }

 private:
  static constexpr std::uint32_t kFrames = 128;

  std::uint32_t l4_offset() const {
    return static_cast<std::uint32_t>(sizeof(net::Ethernet) + (traffic_.ipv6 ? sizeof(net::Ipv6) : sizeof(net::Ipv4)));
  }
  std::uint32_t checksum_offset() const { return l4_offset() + (traffic_.protocol == net::kProtocolTcp ? 16u : 6u); }

  void make_template() {
    template_.fill(0);
    const auto length = static_cast<std::uint16_t>(traffic_.frame_bytes - sizeof(net::Ethernet));
    const std::uint8_t macs[12] = {2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 0xfe};
    std::memcpy(template_.data(), macs, sizeof(macs));
    auto* ethernet = reinterpret_cast<net::Ethernet*>(template_.data());
    bool ok;
    if (traffic_.ipv6) {
      ethernet->type = net::kEtherTypeIpv6;
      auto* ip = reinterpret_cast<net::Ipv6*>(ethernet + 1);
      ip->version_class_label = be32(6u << 28);
      ip->payload_length = be16(static_cast<std::uint16_t>(length - sizeof(net::Ipv6)));
      ip->next_header = traffic_.protocol;
      ip->hop_limit = 64;
      std::memcpy(ip->source, IpAddress::parse("2001:db8:c::", ok).bytes(), 16);
      std::memcpy(ip->destination, IpAddress::parse(kVip6, ok).bytes(), 16);
    } else {
      ethernet->type = net::kEtherTypeIpv4;
      auto* ip = reinterpret_cast<net::Ipv4*>(ethernet + 1);
      ip->version_ihl = 0x45;
      ip->total_length = be16(length);
      ip->fragment = be16(0x4000);
      ip->ttl = 64;
      ip->protocol = traffic_.protocol;
      ip->destination = IpAddress::parse(kVip4, ok).v4_part();
    }
    std::uint8_t* l4 = template_.data() + l4_offset();
    const be16 port(kVipPort);
    std::memcpy(l4 + 2, &port, 2);
    if (traffic_.protocol == net::kProtocolTcp) {
      l4[12] = 5 << 4;
      l4[13] = net::tcp_flag::kAck;
    } else {
      const be16 udp_length(static_cast<std::uint16_t>(traffic_.frame_bytes - l4_offset()));
      std::memcpy(l4 + 4, &udp_length, 2);
    }
    for (std::uint8_t* frame : frames_) std::memset(frame, 0, traffic_.frame_bytes);
    sum_template();
  }

  /// Sums of everything that is the same in all packets; the payload is zero.
  void sum_template() {
    const auto l4_length = static_cast<std::uint32_t>(traffic_.frame_bytes - l4_offset());
    const std::uint8_t* l3 = template_.data() + sizeof(net::Ethernet);
    const std::size_t headers = traffic_.protocol == net::kProtocolTcp ? sizeof(net::Tcp) : sizeof(net::Udp);
    net::Sum l4 = net::add_bytes(0, template_.data() + l4_offset(), headers);
    l4 += be32(l4_length).raw;
    l4 += be16(traffic_.protocol).raw;
    if (traffic_.ipv6) {
      l4_sum_ = net::fold(net::add_bytes(l4, l3 + 8, 32));
    } else {
      l4_sum_ = net::fold(net::add_bytes(l4, l3 + 16, 4));
      ip_sum_ = net::fold(net::add_bytes(0, l3, sizeof(net::Ipv4)));
    }
  }

  static std::uint16_t fold32(std::uint32_t sum) {
    sum = (sum & 0xffffu) + (sum >> 16);
    return static_cast<std::uint16_t>(~(sum + (sum >> 16)));
  }

  std::uint64_t pick_flow() {
    if (order_ == Order::kSequential) return next_flow_++;
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(random_) * flows_ >> 64);
  }

  /// Flow i is a client of 10.0.0.0/8 (or as many IPv6 addresses) and its port from 1024 on.
  void make_packets() {
    const std::uint32_t address_offset = traffic_.ipv6 ? 34 : 26;
    const std::uint32_t port_offset = l4_offset();
    const std::uint32_t sum_offset = checksum_offset();
    const std::uint32_t copied = traffic_.frame_bytes <= 64 ? 64 : 128;
    for (std::uint32_t i = 0; i < kBatchSize; i++) {
      const std::uint64_t flow = pick_flow();
      const be32 address((10u << 24) | static_cast<std::uint32_t>(flow & 0xffffffu));
      const be16 port(static_cast<std::uint16_t>(1024u + (flow >> 24) % 60000u));
      const std::uint32_t variable = (address.raw & 0xffffu) + (address.raw >> 16);
      std::uint8_t* frame = frames_[frame_++ % kFrames];
      if (copied == 64) {
        std::memcpy(frame, template_.data(), 64);
      } else {
        std::memcpy(frame, template_.data(), 128);
      }
      std::memcpy(frame + address_offset, &address, 4);
      std::memcpy(frame + port_offset, &port, 2);
      std::uint16_t l4 = fold32(l4_sum_ + variable + port.raw);
      if (l4 == 0) l4 = 0xffff;  // for UDP zero means "none" (RFC 768); for TCP both are right
      std::memcpy(frame + sum_offset, &l4, 2);
      if (!traffic_.ipv6) {
        const std::uint16_t ip = fold32(ip_sum_ + variable);
        std::memcpy(frame + 24, &ip, 2);
      }
      made_[i] = {frame, traffic_.frame_bytes, 0, 0, 0};
    }
    ready_ = kBatchSize;
  }

  const Traffic traffic_;
  alignas(64) std::array<std::uint8_t, 128> template_;
  std::array<std::uint8_t*, kFrames> frames_{};
  std::array<Packet, kBatchSize> made_{};
  Packet last_sent_;
  std::uint32_t frame_ = 0;
  std::uint32_t ready_ = 0;
  std::uint32_t burst_ = kBatchSize;
  std::uint32_t l4_sum_ = 0;
  std::uint32_t ip_sum_ = 0;
  Order order_ = Order::kSequential;
  std::uint64_t next_flow_ = 0;
  std::uint64_t flows_ = 1;
  std::uint64_t random_ = 1;
  std::uint64_t transmitted_ = 0;
};

}  // namespace millrace::bench
