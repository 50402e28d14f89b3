// AfXdpPort: one worker's share of one interface over AF_XDP sockets: every receive queue q with q % workers == w, and the
// transmit ring of the first of them.
//
//   packet memory (all workers) <--- registered whole by every port, so that a frame received by worker A can be sent by worker B
//        |
//        |  acquire        +------------- one socket ---------------+
//   FramePool ------------>| fill ring --> kernel --> receive ring  |--> Batch
//        ^     release     |                                        |
//        +-----------------| completion <-- kernel <-- transmit ring|<-- packets, of any worker
//                          +----------------------------------------+
//
// Frame budget. Of a worker's frames at most half wait on receive sides (fill and receive rings together), shared evenly by its
// sockets and never more than one ring's worth each; so a receive ring cannot overflow, and the other half stays for transmit
// rings, for hand-over rings and for packets held for a neighbour. Should those use it up, the fill rings run low and the kernel
// drops arrivals (counted as fill_ring_empty), until transmissions complete: these need no free frame, so there is no deadlock.
//
// One registration (UMEM) per port, shared by its sockets; not one per worker: libxdp keeps the first socket of a
// registration open, on its queue, until the last one that shares it is closed, so ports of several interfaces could not come and
// go by themselves, nor could one of them copy and another not. Memory is not used twice by this, only counted twice as locked.
//
// Guarantees: a frame is in exactly one place; frames that the kernel still held when a port is destroyed go back to their pools,
// except with zero copy, where the device may write for moments after the close: those are written off.
// Threads: open() and the destructor run on a set-up thread while the worker is not running; all else belongs to the worker,
// except statistics(), descriptors() and sockets(), which any thread may call.
#pragma once

#include <xdp/xsk.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/packet_memory.h"
#include "core/result.h"
#include "ports/interface_check.h"

namespace millrace {

struct UmemDeleter {
  void operator()(xsk_umem* umem) const { (void)xsk_umem__delete(umem); }
};
struct SocketDeleter {
  void operator()(xsk_socket* socket) const { xsk_socket__delete(socket); }
};

/// Frames that one of a worker's `sockets` sockets may keep on its receive side.
std::uint32_t receive_budget(std::uint32_t frames_per_worker, std::uint32_t sockets, std::uint32_t ring_size);

/// What the kernel says of this port's sockets, summed (XDP_STATISTICS, Documentation/networking/af_xdp.rst). Packets; do not add
/// them up: in copy mode a packet that found the fill ring empty also counts as dropped.
struct AfXdpStatistics {
  std::uint64_t rx_dropped = 0;
  std::uint64_t rx_invalid = 0;
  std::uint64_t tx_invalid = 0;
  std::uint64_t rx_ring_full = 0;
  std::uint64_t fill_ring_empty = 0;
};

class AfXdpPort {
 public:
  struct Options {
    std::string interface;
    /// What Packet::interface says of packets that arrive here (Snapshot::interfaces).
    std::uint16_t interface_index = 0;
    /// Receive queues of this worker, at least one; packets are sent on the first.
    std::vector<std::uint32_t> queues;
    /// Sockets that this worker opens in all, on every interface; sets each one's share of its frames.
    std::uint32_t worker_sockets = 1;
    /// Descriptors per ring, a power of two.
    std::uint32_t ring_size = 2048;
    /// kOff where the XDP program runs in skb mode.
    ZeroCopy zero_copy = ZeroCopy::kAuto;
    /// Packets per busy poll (SO_BUSY_POLL_BUDGET); 0 leaves the device to its interrupts.
    std::uint32_t busy_poll_budget = 0;
  };

  /// Opens and binds the sockets and fills their fill rings. A queue that its previous owner has just left answers EBUSY for up
  /// to a second; that is tried again for three. Errors: those of af_xdp_error().
  static Result<std::unique_ptr<AfXdpPort>> open(FramePool& pool, const Options& options);
  ~AfXdpPort();
  AfXdpPort(const AfXdpPort&) = delete;
  AfXdpPort& operator=(const AfXdpPort&) = delete;

  // Concept Port (ports/port.h).
  std::uint32_t receive(Batch& batch);
  std::uint32_t transmit(std::span<const Packet> packets);
  std::uint32_t flush();

  /// Descriptors given to transmit() that the kernel has not taken yet: while there are any, the worker must not sleep.
  std::uint32_t transmit_pending() const;
  /// Frames that are with the kernel now, on either side of any socket.
  std::uint32_t frames_in_kernel() const;

  /// File descriptors to poll for POLLIN before sleeping, one per queue.
  std::span<const int> descriptors() const { return descriptors_; }
  struct Socket {
    std::uint32_t queue;
    int fd;
  };
  /// For XdpAttachment::set_socket.
  std::vector<Socket> sockets() const;
  bool zero_copy() const { return zero_copy_; }
  AfXdpStatistics statistics() const;

 private:
  struct Queue {
    std::unique_ptr<xsk_socket, SocketDeleter> socket;
    xsk_ring_cons rx{};
    xsk_ring_prod tx{};
    xsk_ring_prod fill{};
    xsk_ring_cons completion{};
    int fd = -1;
    std::uint32_t id = 0;
    /// Frames in the fill ring, in the driver, or in the receive ring.
    std::uint32_t receiving = 0;
    /// Frames in the transmit ring, in the driver, or in the completion ring.
    std::uint32_t sending = 0;
  };

  AfXdpPort(FramePool& pool, const Options& options);
  Result<void> open_queue(std::uint32_t queue_id);
  int bind_queue(Queue& queue);
  int try_bind(Queue& queue);
  std::uint32_t receive_from(Queue& queue, Batch& batch);
  void refill(Queue& queue);
  void reclaim(Queue& queue);
  std::uint32_t kick(Queue& queue);
  std::uint32_t wake(Queue& queue);

  FramePool& pool_;
  std::uint8_t* const base_;
  const std::uint32_t receive_budget_;
  const Options options_;
  bool zero_copy_ = false;
  std::size_t next_queue_ = 0;
  std::unique_ptr<xsk_umem, UmemDeleter> umem_;
  // Queues do not move: libxdp keeps pointers to the rings in them.
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<int> descriptors_;
  // One byte per frame of the whole memory: is it with the kernel through this port? Plain stores, no read-modify-write; it makes
  // the destructor exact, since a driver also holds frames that stand in no ring.
  std::vector<std::uint8_t> with_kernel_;
};

}  // namespace millrace
