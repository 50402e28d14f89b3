// See memory.h.
#include "ports/memory.h"

#include <array>
#include <cstring>

#include "ports/port.h"

namespace millrace {

static_assert(Port<MemoryPort>);

MemoryPort::MemoryPort(FramePool& pool, const Options& options)
    : pool_(pool), options_(options), arriving_(options.ring_size), sent_(options.ring_size) {}

MemoryPort::~MemoryPort() {
  Packet packet;
  while (arriving_.pop(packet)) pool_.release(packet.data);
  while (sent_.pop(packet)) pool_.release(packet.data);
}

std::uint32_t MemoryPort::receive(Batch& batch) {
  const std::span<Packet> room(batch.packets.data() + batch.count, batch.room());
  const auto received = static_cast<std::uint32_t>(arriving_.pop(room));
  batch.count += received;
  return received;
}

std::uint32_t MemoryPort::transmit(std::span<const Packet> packets) {
  const auto taken = static_cast<std::uint32_t>(sent_.push(packets));
  sent_packets_ += taken;
  for (const Packet& packet : packets.first(taken)) sent_bytes_ += packet.length;
  return taken;
}

std::uint32_t MemoryPort::flush() {
  if (!options_.discard_sent) return 0;
  std::array<Packet, kBatchSize> packets;
  for (std::size_t count = sent_.pop(packets); count != 0; count = sent_.pop(packets)) {
    for (std::size_t i = 0; i < count; i++) pool_.release(packets[i].data);
  }
  return 0;
}

bool MemoryPort::inject(std::span<const std::uint8_t> bytes) {
  if (bytes.size() > pool_.memory().frame_size() - kFrameHeadroom) return false;
  std::uint8_t* data = pool_.acquire();
  if (data == nullptr) return false;
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  Packet packet;
  packet.data = data;
  packet.length = static_cast<std::uint32_t>(bytes.size());
  if (inject(std::span<const Packet>(&packet, 1)) == 1) return true;
  pool_.release(data);
  return false;
}

std::uint32_t MemoryPort::inject(std::span<const Packet> packets) {
  std::uint32_t taken = 0;
  for (Packet packet : packets) {
    packet.interface = options_.interface_index;
    if (!arriving_.push(packet)) break;
    taken++;
  }
  return taken;
}

}  // namespace millrace
