// See af_xdp.h. The four ring functions (receive_from, refill, reclaim, transmit) never enter the kernel; kick and wake are the
// only ones that do, and only flush calls them.
#include "ports/af_xdp.h"

#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "ports/port.h"

// Newer than the C library's headers on Debian 12 (kernel 5.11, Documentation/networking/napi.rst).
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif

namespace millrace {
namespace {

/// Packets that the kernel copies out of a transmit ring in one call (TX_BATCH_SIZE in net/xdp/xsk.c).
constexpr std::uint32_t kKernelTransmitBatch = 32;
constexpr int kBindRetryMilliseconds = 3000;
constexpr int kBindRetryStepMilliseconds = 20;
/// Microseconds that one busy poll may last (SO_BUSY_POLL).
constexpr int kBusyPollMicroseconds = 20;

void pause_milliseconds(int milliseconds) {
  const timespec span{milliseconds / 1000, (milliseconds % 1000) * 1'000'000L};
  nanosleep(&span, nullptr);
}

/// Best effort: without preferred busy polling the device simply stays interrupt driven.
void set_busy_poll(int fd, std::uint32_t budget) {
  const int on = 1;
  const int packets = static_cast<int>(budget);
  (void)setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof(on));
  (void)setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &kBusyPollMicroseconds, sizeof(kBusyPollMicroseconds));
  (void)setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &packets, sizeof(packets));
}

}  // namespace

static_assert(Port<AfXdpPort>);

std::uint32_t receive_budget(std::uint32_t frames_per_worker, std::uint32_t sockets, std::uint32_t ring_size) {
  const std::uint32_t share = frames_per_worker / 2 / std::max(sockets, 1u);
  return std::min(ring_size, std::max(share, 1u));
}

AfXdpPort::AfXdpPort(FramePool& pool, const Options& options)
    : pool_(pool),
      base_(pool.memory().base()),
      receive_budget_(receive_budget(pool.memory().frames_per_worker(), options.worker_sockets, options.ring_size)),
      options_(options),
      zero_copy_(options.zero_copy != ZeroCopy::kOff),
      with_kernel_(pool.memory().size() / pool.memory().frame_size(), std::uint8_t{0}) {}

Result<std::unique_ptr<AfXdpPort>> AfXdpPort::open(FramePool& pool, const Options& options) {
  std::unique_ptr<AfXdpPort> port(new AfXdpPort(pool, options));
  for (const std::uint32_t queue_id : options.queues) {
    if (Result<void> opened = port->open_queue(queue_id); !opened) return opened.error();
  }
  return port;
}

Result<void> AfXdpPort::open_queue(std::uint32_t queue_id) {
  auto queue = std::make_unique<Queue>();
  queue->id = queue_id;
  int error = bind_queue(*queue);
  // The first socket decides for all that share its registration. Other errors than these have nothing to do with zero copy.
  const bool not_offered = error == EOPNOTSUPP || error == EINVAL || error == ENOTSUP;
  if (not_offered && zero_copy_ && options_.zero_copy == ZeroCopy::kAuto && queues_.empty()) {
    zero_copy_ = false;
    error = bind_queue(*queue);
  }
  if (error != 0) return af_xdp_error(options_.interface, queue_id, zero_copy_, error, read_capabilities());
  queue->fd = xsk_socket__fd(queue->socket.get());
  if (options_.busy_poll_budget != 0) set_busy_poll(queue->fd, options_.busy_poll_budget);
  descriptors_.push_back(queue->fd);
  queues_.push_back(std::move(queue));
  refill(*queues_.back());
  return {};
}

/// 0 or the errno. Patient with a queue that its previous owner is just leaving.
int AfXdpPort::bind_queue(Queue& queue) {
  for (int waited = 0;; waited += kBindRetryStepMilliseconds) {
    const int error = try_bind(queue);
    if (error != EBUSY || waited >= kBindRetryMilliseconds) return error;
    pause_milliseconds(kBindRetryStepMilliseconds);
  }
}

/// 0 or the errno.
int AfXdpPort::try_bind(Queue& queue) {
  const bool first = umem_ == nullptr;
  if (first) {
    xsk_umem_config config{};
    config.fill_size = options_.ring_size;
    config.comp_size = options_.ring_size;
    config.frame_size = pool_.memory().frame_size();
    xsk_umem* made = nullptr;
    const int error = xsk_umem__create(&made, base_, pool_.memory().size(), &queue.fill, &queue.completion, &config);
    if (error != 0) return -error;
    umem_.reset(made);
  }
  xsk_socket_config config{};
  config.rx_size = options_.ring_size;
  config.tx_size = options_.ring_size;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  // Sockets that share the registration take these flags over from the first one.
  config.bind_flags = static_cast<std::uint16_t>(XDP_USE_NEED_WAKEUP | (zero_copy_ ? XDP_ZEROCOPY : XDP_COPY));
  xsk_socket* made = nullptr;
  const int error = xsk_socket__create_shared(&made, options_.interface.c_str(), queue.id, umem_.get(), &queue.rx, &queue.tx,
                                              &queue.fill, &queue.completion, &config);
  if (error == 0) {
    queue.socket.reset(made);
    return 0;
  }
  // The registration's own socket is half set up now; a new one is the simplest clean state.
  if (first) umem_.reset();
  return -error;
}

AfXdpPort::~AfXdpPort() {
  // The registration keeps its first socket open, so both must go before the kernel lets go of every frame.
  queues_.clear();
  umem_.reset();
  if (zero_copy_) return;
  for (std::uint32_t frame = 0; frame < with_kernel_.size(); frame++) {
    if (with_kernel_[frame] != 0) pool_.release(pool_.memory().frame_start(frame));
  }
}

std::uint32_t AfXdpPort::receive(Batch& batch) {
  const std::size_t count = queues_.size();
  if (count == 1) [[likely]]
    return receive_from(*queues_.front(), batch);
  std::uint32_t received = 0;
  // Starts one queue further each time, so that a busy queue cannot keep the others waiting.
  for (std::size_t i = 0; i < count && !batch.full(); i++) {
    received += receive_from(*queues_[next_queue_], batch);
    next_queue_ = next_queue_ + 1 == count ? 0 : next_queue_ + 1;
  }
  return received;
}

std::uint32_t AfXdpPort::receive_from(Queue& queue, Batch& batch) {
  std::uint32_t index = 0;
  const std::uint32_t count = xsk_ring_cons__peek(&queue.rx, batch.room(), &index);
  if (count == 0) return 0;
  Packet packet;
  packet.interface = options_.interface_index;
  for (std::uint32_t i = 0; i < count; i++) {
    const xdp_desc& descriptor = *xsk_ring_cons__rx_desc(&queue.rx, index + i);
    packet.data = base_ + descriptor.addr;
    packet.length = descriptor.len;
    with_kernel_[pool_.memory().frame_of(packet.data)] = 0;
    batch.push(packet);
  }
  xsk_ring_cons__release(&queue.rx, count);
  queue.receiving -= count;
  return count;
}

std::uint32_t AfXdpPort::transmit(std::span<const Packet> packets) {
  Queue& queue = *queues_.front();
  // Counting what is in flight, and not only what is in the ring, keeps the completion ring from overflowing.
  const std::uint32_t room = options_.ring_size - queue.sending;
  const std::uint32_t count = std::min(room, static_cast<std::uint32_t>(packets.size()));
  std::uint32_t index = 0;
  if (count == 0 || xsk_ring_prod__reserve(&queue.tx, count, &index) == 0) return 0;
  for (std::uint32_t i = 0; i < count; i++) {
    const Packet& packet = packets[i];
    xdp_desc& descriptor = *xsk_ring_prod__tx_desc(&queue.tx, index + i);
    descriptor.addr = static_cast<std::uint64_t>(packet.data - base_);
    descriptor.len = packet.length;
    descriptor.options = 0;
    with_kernel_[pool_.memory().frame_of(packet.data)] = 1;
  }
  xsk_ring_prod__submit(&queue.tx, count);
  queue.sending += count;
  return count;
}

std::uint32_t AfXdpPort::flush() {
  std::uint32_t calls = 0;
  for (const std::unique_ptr<Queue>& queue : queues_) {
    if (queue->sending != 0) {
      calls += kick(*queue);
      reclaim(*queue);
    }
    if (queue->receiving < receive_budget_) refill(*queue);
    if (xsk_ring_prod__needs_wakeup(&queue->fill) != 0 || options_.busy_poll_budget != 0) calls += wake(*queue);
  }
  return calls;
}

void AfXdpPort::reclaim(Queue& queue) {
  std::uint32_t index = 0;
  const std::uint32_t count = xsk_ring_cons__peek(&queue.completion, queue.sending, &index);
  if (count == 0) return;
  for (std::uint32_t i = 0; i < count; i++) {
    const std::uint8_t* packet = base_ + *xsk_ring_cons__comp_addr(&queue.completion, index + i);
    with_kernel_[pool_.memory().frame_of(packet)] = 0;
    pool_.release(packet);
  }
  xsk_ring_cons__release(&queue.completion, count);
  queue.sending -= count;
}

void AfXdpPort::refill(Queue& queue) {
  const std::uint32_t count = std::min(receive_budget_ - queue.receiving, pool_.available());
  std::uint32_t index = 0;
  // Never short of room: the fill ring is as large as the budget.
  if (count == 0 || xsk_ring_prod__reserve(&queue.fill, count, &index) == 0) return;
  for (std::uint32_t i = 0; i < count; i++) {
    const std::uint32_t frame = pool_.memory().frame_of(pool_.acquire());
    with_kernel_[frame] = 1;
    *xsk_ring_prod__fill_addr(&queue.fill, index + i) = static_cast<std::uint64_t>(pool_.memory().frame_start(frame) - base_);
  }
  xsk_ring_prod__submit(&queue.fill, count);
  queue.receiving += count;
}

/// Lets the kernel send what is queued. Copy mode sends only inside this call, a batch at a time, and stops early when the
/// device's queue is full (EAGAIN with nothing taken): what is left then goes with the next turn. The socket's send buffer is
/// left at its default on purpose: it holds less than a veth's ring of 256, so packets wait here instead of being lost there.
std::uint32_t AfXdpPort::kick(Queue& queue) {
  std::uint32_t calls = 0;
  std::uint32_t queued = queue.tx.cached_prod - __atomic_load_n(queue.tx.consumer, __ATOMIC_ACQUIRE);
  while (queued != 0 && xsk_ring_prod__needs_wakeup(&queue.tx) != 0) {
    const ssize_t result = sendto(queue.fd, nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    calls++;
    const std::uint32_t left = queue.tx.cached_prod - __atomic_load_n(queue.tx.consumer, __ATOMIC_ACQUIRE);
    // Zero copy takes note of everything at once; any error but EAGAIN (ENETDOWN, ENOBUFS) will not pass within this turn.
    if (zero_copy_ || (result < 0 && errno != EAGAIN) || queued - left < kKernelTransmitBatch) break;
    queued = left;
  }
  return calls;
}

/// Lets the driver see the fill ring again after it ran dry, or polls the device when busy polling.
std::uint32_t AfXdpPort::wake(Queue& queue) {
  (void)recvfrom(queue.fd, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  return 1;
}

std::uint32_t AfXdpPort::transmit_pending() const {
  const Queue& queue = *queues_.front();
  return queue.tx.cached_prod - __atomic_load_n(queue.tx.consumer, __ATOMIC_ACQUIRE);
}

std::uint32_t AfXdpPort::frames_in_kernel() const {
  std::uint32_t frames = 0;
  for (const std::unique_ptr<Queue>& queue : queues_) frames += queue->receiving + queue->sending;
  return frames;
}

std::vector<AfXdpPort::Socket> AfXdpPort::sockets() const {
  std::vector<Socket> sockets;
  for (const std::unique_ptr<Queue>& queue : queues_) sockets.push_back({queue->id, queue->fd});
  return sockets;
}

AfXdpStatistics AfXdpPort::statistics() const {
  AfXdpStatistics sum;
  for (const std::unique_ptr<Queue>& queue : queues_) {
    xdp_statistics one{};
    socklen_t length = sizeof(one);
    if (getsockopt(queue->fd, SOL_XDP, XDP_STATISTICS, &one, &length) != 0) continue;
    sum.rx_dropped += one.rx_dropped;
    sum.rx_invalid += one.rx_invalid_descs;
    sum.tx_invalid += one.tx_invalid_descs;
    sum.rx_ring_full += one.rx_ring_full;
    sum.fill_ring_empty += one.rx_fill_ring_empty_descs;
  }
  return sum;
}

}  // namespace millrace
