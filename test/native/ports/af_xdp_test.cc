// AF_XDP ports with real packets over a veth pair in a namespace of the test's own.
#include "ports/af_xdp.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "veth_lab.h"

namespace millrace::test {
namespace {

constexpr const char* kVip = "203.0.113.10";
constexpr const char* kVip6 = "2001:db8::10";

class AfXdp : public VethLab {
 protected:
  /// Frames of `worker`'s part and others' that are anywhere but in its free stack, through its port.
  static std::uint32_t accounted(const TestWorker& worker) { return worker.pool.available() + worker.port->frames_in_kernel(); }

  static void own(XdpAttachment& attachment, std::initializer_list<const char*> texts) {
    std::vector<IpAddress> addresses;
    for (const char* text : texts) addresses.push_back(address(text));
    const Result<void> set = attachment.set_owned_addresses(addresses);
    ASSERT_TRUE(set.ok()) << set.error().message;
  }

  /// Turns the port's loop until `count` packets came in; they are left in the batch.
  static bool receive_exactly(TestWorker& worker, Batch& batch, std::uint32_t count) {
    const std::span<const int> fds = worker.port->descriptors();
    return wait_until(std::vector<int>(fds.begin(), fds.end()), [&] {
      worker.port->receive(batch);
      worker.port->flush();
      return batch.count >= count;
    });
  }

  /// Transmits packets with the markers `first` to `last` until the port takes no more; returns how many it took.
  static std::uint64_t give_until_refused(TestWorker& worker, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t marker = first; marker <= last; marker++) {
      const Bytes frame = udp4("198.51.100.2", marker);
      Packet packet;
      packet.data = worker.pool.acquire();
      if (packet.data == nullptr) return marker - first;
      std::memcpy(packet.data, frame.data(), frame.size());
      packet.length = static_cast<std::uint32_t>(frame.size());
      if (worker.port->transmit(std::span(&packet, 1)) == 0) {
        worker.pool.release(packet.data);
        return marker - first;
      }
    }
    return last + 1 - first;
  }

  static std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  static void release_all(TestWorker& worker, Batch& batch) {
    for (std::uint32_t i = 0; i < batch.count; i++) worker.pool.release(batch.packets[i].data);
    batch.clear();
  }
};

TEST_F(AfXdp, PacketsToOwnedAddressesReachTheWorkerAndAllOthersTheKernel) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  XdpAttachment& attachment = *attached.value();
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, attachment, {0});
  own(attachment, {kVip, kVip6});

  struct Case {
    const char* what;
    Bytes frame;
    bool to_worker;
  };
  const std::vector<Case> cases = {
      {"IPv4 to the VIP", udp4(kVip, 1), true},
      {"IPv4 to a neighbour of the VIP", udp4("203.0.113.11", 2), false},
      {"IPv4 to the VIP behind one VLAN tag", udp4(kVip, 3, 18, {0x8100}), true},
      {"IPv4 to the VIP behind two VLAN tags", udp4(kVip, 4, 18, {0x88a8, 0x8100}), true},
      {"IPv4 to the VIP behind three VLAN tags", udp4(kVip, 5, 18, {0x88a8, 0x8100, 0x8100}), false},
      {"first fragment to the VIP", udp4(kVip, 6, 18, {}, 0x2000), true},
      {"later fragment to the VIP", udp4(kVip, 7, 18, {}, 0x0010), true},
      {"IPv6 to the VIP", udp6(kVip6, 8), true},
      {"IPv6 to another address", udp6("2001:db8::11", 9), false},
      {"IPv6 to the VIP behind one VLAN tag", udp6(kVip6, 10, {0x8100}), true},
      {"IPv6 to the v4-mapped form of the IPv4 VIP", udp6("::ffff:203.0.113.10", 11), false},
      {"ICMPv6 echo request to the VIP", icmp6(kVip6, 12, 128), true},
      {"router solicitation to the VIP", icmp6(kVip6, 13, 133), false},
      {"neighbour solicitation to the VIP", icmp6(kVip6, 14, 135), false},
      {"neighbour advertisement to the VIP", icmp6(kVip6, 15, 136), false},
      {"redirect to the VIP", icmp6(kVip6, 16, 137), false},
      {"ICMPv6 type 138 to the VIP", icmp6(kVip6, 17, 138), true},
      {"ARP", arp(18), false},
  };

  PacketSocket wire("far");
  PacketSocket kernel("near");
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    wire.send(one.frame);
    Batch batch;
    std::optional<Bytes> passed;
    ASSERT_TRUE(wait_until({worker.port->descriptors()[0], kernel.fd()}, [&] {
      worker.port->receive(batch);
      worker.port->flush();
      passed = kernel.receive_now();
      return batch.count != 0 || passed.has_value();
    })) << "the packet arrived nowhere";
    EXPECT_EQ(one.to_worker, batch.count == 1);
    EXPECT_EQ(one.to_worker, !passed.has_value());
    if (batch.count == 1) {
      const Packet& packet = batch.packets[0];
      EXPECT_EQ(one.frame, Bytes(packet.data, packet.data + packet.length));
      EXPECT_EQ(3, packet.interface);
      EXPECT_GE(memory->headroom(packet.data), kFrameHeadroom);
    } else if (passed) {
      EXPECT_EQ(marker_of(one.frame), marker_of(*passed));
    }
    release_all(worker, batch);
  }

  const auto to_workers =
      static_cast<std::uint64_t>(std::count_if(cases.begin(), cases.end(), [](const Case& one) { return one.to_worker; }));
  const XdpCounters counters = attachment.counters();
  EXPECT_EQ(cases.size(), counters.received_packets);
  EXPECT_EQ(to_workers, counters.to_workers_packets);
  EXPECT_EQ(cases.size() - to_workers, counters.to_kernel_packets);
  std::uint64_t bytes = 0;
  for (const Case& one : cases) bytes += one.frame.size();
  EXPECT_EQ(bytes, counters.received_bytes);
  EXPECT_EQ(counters.received_bytes, counters.to_workers_bytes + counters.to_kernel_bytes);
  EXPECT_EQ(2048u, accounted(worker));
}

TEST_F(AfXdp, FramesTooShortForTheirHeadersGoToTheKernel) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0});
  own(*attached.value(), {kVip, kVip6, "0.0.0.0"});
  PacketSocket wire("far");
  PacketSocket kernel("near");
  const Bytes v4 = udp4(kVip, 1);
  const Bytes v6 = icmp6(kVip6, 1, 128);
  const Bytes tagged = udp4(kVip, 1, 18, {0x8100});
  std::uint64_t sent = 0;
  // 15 bytes is the least that a veth carries; the last length of each is one short of the headers that are looked at.
  for (const auto& [frame, shortest_whole] : {std::pair(&v4, 34u), std::pair(&v6, 62u), std::pair(&tagged, 38u)}) {
    for (std::size_t length = 15; length < shortest_whole; length++) {
      wire.send(std::span(*frame).first(length));
      sent++;
    }
  }
  Batch batch;
  std::uint64_t passed = 0;
  EXPECT_TRUE(wait_until({kernel.fd()}, [&] {
    while (kernel.receive_now()) passed++;
    return attached.value()->counters().to_kernel_packets >= sent;
  }));
  EXPECT_EQ(0u, worker.port->receive(batch));
  EXPECT_EQ(sent, attached.value()->counters().received_packets);
}

TEST_F(AfXdp, WithoutASocketOnTheQueueThePacketIsTheKernels) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  own(*attached.value(), {kVip});
  PacketSocket wire("far");
  PacketSocket kernel("near");
  wire.send(udp4(kVip, 77));
  std::optional<Bytes> passed;
  ASSERT_TRUE(wait_until({kernel.fd()}, [&] { return (passed = kernel.receive_now()).has_value(); }));
  EXPECT_EQ(77u, marker_of(*passed));
  EXPECT_EQ(1u, attached.value()->counters().to_kernel_packets);
}

TEST_F(AfXdp, TransmittedPacketsReachTheWireInOrderAndTheirFramesComeBack) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0});
  PacketSocket wire("far");

  // More than the ring of 512 holds, so that it must be refused in between.
  constexpr std::uint64_t kPackets = 1200;
  std::uint64_t given = 0;
  std::uint64_t seen = 0;
  bool refused = false;
  EXPECT_TRUE(wait_until({wire.fd()},
                         [&] {
                           // Waits only for packets that are on their way.
                           do {
                             given += give_until_refused(worker, given + 1, kPackets);
                             refused |= given < kPackets;
                             worker.port->flush();
                             while (const std::optional<Bytes> frame = wire.receive_now()) {
                               seen++;
                               EXPECT_EQ(seen, marker_of(*frame));
                             }
                           } while (given == seen && given < kPackets);
                           return seen == kPackets;
                         }))
      << seen << " of " << given;
  EXPECT_TRUE(refused) << "the ring holds 512";
  worker.port->flush();
  EXPECT_EQ(0u, worker.port->transmit_pending());
  EXPECT_EQ(2048u, accounted(worker));
  EXPECT_EQ(512u, worker.port->frames_in_kernel()) << "only the receive side holds frames";
  EXPECT_EQ(0u, worker.port->statistics().tx_invalid);
}

TEST_F(AfXdp, AFrameReceivedByOneWorkerIsSentByAnotherAndComesHome) {
  make_veth(2);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(2);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(2);
  FrameReturnRings rings(*memory);
  TestWorker first(*memory, rings, 0);
  TestWorker second(*memory, rings, 1);
  open_port(first, *attached.value(), {0});
  open_port(second, *attached.value(), {1});
  own(*attached.value(), {kVip});
  PacketSocket wire("far");

  // The kernel spreads the packets over both queues; whoever receives one hands it to the other.
  std::array<std::uint64_t, 2> received_by{};
  constexpr std::uint64_t kPackets = 500;
  for (std::uint64_t i = 1; i <= kPackets; i++) {
    wire.send(udp4(kVip, i));
    Batch from_first;
    Batch from_second;
    ASSERT_TRUE(wait_until({first.port->descriptors()[0], second.port->descriptors()[0]},
                           [&] { return first.port->receive(from_first) + second.port->receive(from_second) != 0; }));
    const bool by_first = from_first.count != 0;
    const Packet packet = by_first ? from_first.packets[0] : from_second.packets[0];
    TestWorker& other = by_first ? second : first;
    received_by[by_first ? 0 : 1]++;
    EXPECT_EQ(by_first ? 0u : 1u, memory->owner_of(memory->frame_of(packet.data)));
    ASSERT_EQ(1u, other.port->transmit(std::span(&packet, 1)));
    std::optional<Bytes> frame;
    ASSERT_TRUE(wait_until({wire.fd()}, [&] {
      first.port->flush();
      second.port->flush();
      return (frame = wire.receive_now()).has_value();
    }));
    EXPECT_EQ(i, marker_of(*frame));
  }
  EXPECT_NE(0u, received_by[0]);
  EXPECT_NE(0u, received_by[1]);
  for (TestWorker* worker : {&first, &second}) worker->port->flush();
  for (TestWorker* worker : {&first, &second}) {
    worker->pool.collect_returns();
    worker->port->flush();
    EXPECT_EQ(2048u, accounted(*worker));
    EXPECT_EQ(512u, worker->port->frames_in_kernel());
  }
}

TEST_F(AfXdp, TwoWorkerThreadsThatSendEachOthersPacketsLoseNoneAndNoFrame) {
  make_veth(2);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(2);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(2);
  FrameReturnRings returns(*memory);
  std::array<std::unique_ptr<TestWorker>, 2> workers;
  for (std::uint32_t w = 0; w < 2; w++) {
    workers[w] = std::make_unique<TestWorker>(*memory, returns, w);
    open_port(*workers[w], *attached.value(), {w});
  }
  own(*attached.value(), {kVip});

  std::array<SpscRing<Packet>, 2> handed_to{SpscRing<Packet>(4096), SpscRing<Packet>(4096)};
  std::array<std::uint64_t, 2> foreign_sent{};
  std::atomic<bool> stop{false};
  const auto loop = [&](std::uint32_t me) {
    TestWorker& worker = *workers[me];
    Batch batch;
    while (!stop.load(std::memory_order_acquire)) {
      worker.pool.collect_returns();
      worker.port->receive(batch);
      // The ring holds more than all frames of both workers.
      handed_to[1 - me].push(std::span<const Packet>(batch.packets.data(), batch.count));
      const std::uint32_t handed_on = batch.count;
      batch.clear();
      batch.count = static_cast<std::uint32_t>(handed_to[me].pop(std::span<Packet>(batch.packets)));
      for (std::uint32_t done = 0; done < batch.count;) {
        done += worker.port->transmit(std::span(batch.packets.data() + done, batch.count - done));
        if (done < batch.count) worker.port->flush();
      }
      foreign_sent[me] += batch.count;
      worker.port->flush();
      if (handed_on + batch.count == 0) std::this_thread::yield();
      batch.clear();
    }
  };
  std::thread first(loop, 0u);
  std::thread second(loop, 1u);

  PacketSocket wire("far");
  constexpr std::uint64_t kPackets = 20'000;
  constexpr std::uint64_t kWindow = 64;
  std::set<std::uint64_t> seen;
  bool answered = true;
  for (std::uint64_t sent = 0; sent < kPackets && answered;) {
    for (std::uint64_t i = 0; i < kWindow && sent < kPackets; i++) wire.send(udp4(kVip, ++sent));
    answered = wait_until({wire.fd()}, [&] {
      while (const std::optional<Bytes> frame = wire.receive_now()) seen.insert(marker_of(*frame));
      return seen.size() == sent;
    });
  }
  stop.store(true, std::memory_order_release);
  first.join();
  second.join();
  EXPECT_TRUE(answered);
  EXPECT_EQ(kPackets, seen.size());
  EXPECT_EQ(kPackets, foreign_sent[0] + foreign_sent[1]);
  EXPECT_NE(0u, foreign_sent[0]) << "both directions were used";
  EXPECT_NE(0u, foreign_sent[1]) << "both directions were used";
  for (const auto& worker : workers) worker->port->flush();
  for (const auto& worker : workers) {
    worker->pool.collect_returns();
    worker->port->flush();
    EXPECT_EQ(2048u, accounted(*worker));
  }
}

TEST_F(AfXdp, OneWorkerServesSeveralQueuesOfAnInterface) {
  make_veth(2);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0, 1});
  own(*attached.value(), {kVip});
  ASSERT_EQ(2u, worker.port->descriptors().size());
  EXPECT_EQ(1024u, worker.port->frames_in_kernel());
  PacketSocket wire("far");
  // The kernel spreads these over both queues.
  std::set<std::uint64_t> markers;
  for (std::uint64_t i = 1; i <= 100; i++) {
    wire.send(udp4(kVip, i, i % 40));
    Batch batch;
    ASSERT_TRUE(receive_exactly(worker, batch, 1));
    markers.insert(marker_of(std::span(batch.packets[0].data, batch.packets[0].length)));
    release_all(worker, batch);
  }
  EXPECT_EQ(100u, markers.size());
  worker.port->flush();
  EXPECT_EQ(2048u, accounted(worker));
}

TEST_F(AfXdp, AHundredThousandPacketsAreEchoedWithoutLosingAFrame) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1, 1024);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0});
  own(*attached.value(), {kVip});
  PacketSocket wire("far");

  constexpr std::uint64_t kPackets = 100'000;
  // Well below a veth's ring of 256, which would drop before XDP counts.
  constexpr std::uint64_t kWindow = 64;
  std::uint64_t sent = 0;
  std::uint64_t echoed = 0;
  Batch batch;
  while (echoed < kPackets) {
    for (std::uint64_t i = 0; i < kWindow && sent < kPackets; i++) {
      sent++;
      wire.send(udp4(kVip, sent, sent % 1400));
    }
    ASSERT_TRUE(wait_until({worker.port->descriptors()[0], wire.fd()},
                           [&] {
                             if (worker.port->receive(batch) != 0) {
                               EXPECT_EQ(batch.count, worker.port->transmit(std::span(batch.packets.data(), batch.count)));
                               batch.clear();
                             }
                             worker.port->flush();
                             while (const std::optional<Bytes> frame = wire.receive_now()) {
                               echoed++;
                               EXPECT_EQ(echoed, marker_of(*frame));
                             }
                             return echoed == sent;
                           }))
        << "echoed " << echoed << " of " << sent;
  }
  worker.port->flush();
  EXPECT_EQ(1024u, accounted(worker));
  EXPECT_EQ(512u, worker.port->frames_in_kernel());
  EXPECT_EQ(kPackets, attached.value()->counters().to_workers_packets);
  const AfXdpStatistics statistics = worker.port->statistics();
  EXPECT_EQ(0u, statistics.rx_dropped + statistics.rx_invalid + statistics.tx_invalid + statistics.rx_ring_full);

  // Destroying the port brings home what the kernel still held.
  worker.port.reset();
  EXPECT_EQ(1024u, worker.pool.available());
}

TEST_F(AfXdp, WithoutFreeFramesArrivalsAreDroppedAndCountedAndReceptionRecovers) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1, 128);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0}, 512);
  own(*attached.value(), {kVip});
  EXPECT_EQ(64u, worker.port->frames_in_kernel()) << "half of the frames";
  PacketSocket wire("far");
  for (std::uint64_t i = 1; i <= 100; i++) wire.send(udp4(kVip, i));
  ASSERT_TRUE(
      wait_until({worker.port->descriptors()[0]}, [&] { return attached.value()->counters().to_workers_packets == 100; }));
  // The sockets' own counts, and not the XDP program's, tell what was refused.
  EXPECT_EQ(36u, worker.port->statistics().fill_ring_empty);
  EXPECT_EQ(0u, worker.port->statistics().rx_ring_full);
  Batch batch;
  ASSERT_TRUE(receive_exactly(worker, batch, 64));
  EXPECT_EQ(1u, marker_of(std::span(batch.packets[0].data, batch.packets[0].length)));
  release_all(worker, batch);
  worker.port->flush();
  wire.send(udp4(kVip, 101));
  ASSERT_TRUE(receive_exactly(worker, batch, 1));
  EXPECT_EQ(101u, marker_of(std::span(batch.packets[0].data, batch.packets[0].length)));
  release_all(worker, batch);
  EXPECT_EQ(128u, accounted(worker));
}

TEST_F(AfXdp, TheSameQueueCanBeTakenAgainAtOnceAfterItsPortClosed) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  own(*attached.value(), {kVip});
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  PacketSocket wire("far");
  TestWorker worker(*memory, rings, 0);
  for (std::uint64_t round = 1; round <= 3; round++) {
    open_port(worker, *attached.value(), {0});
    if (HasFatalFailure()) return;
    wire.send(udp4(kVip, round));
    Batch batch;
    ASSERT_TRUE(receive_exactly(worker, batch, 1));
    EXPECT_EQ(round, marker_of(std::span(batch.packets[0].data, batch.packets[0].length)));
    release_all(worker, batch);
    worker.port.reset();
    EXPECT_EQ(2048u, worker.pool.available());
  }
}

TEST_F(AfXdp, AQueueThatStaysTakenIsRefusedAfterSomePatienceAndFreeOnceItsOwnerCloses) {
  make_veth(1);
  const std::unique_ptr<PacketMemory> memory = make_memory(2);
  FrameReturnRings rings(*memory);
  TestWorker owner(*memory, rings, 0);
  TestWorker rival(*memory, rings, 1);
  AfXdpPort::Options options;
  options.interface = "near";
  options.queues = {0};
  Result<std::unique_ptr<AfXdpPort>> held = AfXdpPort::open(owner.pool, options);
  ASSERT_TRUE(held.ok()) << held.error().message;
  const std::size_t open_before = open_descriptors();
  const Result<std::unique_ptr<AfXdpPort>> refused = AfXdpPort::open(rival.pool, options);
  EXPECT_EQ(open_before, open_descriptors()) << "attempts leave nothing behind";
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_busy", refused.error().code);
  EXPECT_EQ(EBUSY, refused.error().system_errno);
  EXPECT_EQ(2048u, rival.pool.available());
  held = Error{"closed", "", 0};
  const Result<std::unique_ptr<AfXdpPort>> taken = AfXdpPort::open(rival.pool, options);
  EXPECT_TRUE(taken.ok()) << taken.error().message;
}

TEST_F(AfXdp, PacketsPassThroughInSkbModeToo) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1, AttachMode::kSkb);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  EXPECT_EQ(XdpMode::kSkb, attached.value()->mode());
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0});
  own(*attached.value(), {kVip});
  PacketSocket wire("far");
  wire.send(udp4(kVip, 5));
  Batch batch;
  ASSERT_TRUE(receive_exactly(worker, batch, 1));
  EXPECT_EQ(5u, marker_of(std::span(batch.packets[0].data, batch.packets[0].length)));
  ASSERT_EQ(1u, worker.port->transmit(std::span(batch.packets.data(), 1)));
  std::optional<Bytes> back;
  ASSERT_TRUE(wait_until({wire.fd()}, [&] {
    worker.port->flush();
    return (back = wire.receive_now()).has_value();
  }));
  EXPECT_EQ(5u, marker_of(*back));
}

TEST_F(AfXdp, RequiredZeroCopyIsRefusedOnAVethAndAutoFallsBackToCopying) {
  make_veth(1);
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  AfXdpPort::Options options;
  options.interface = "near";
  options.queues = {0};
  options.zero_copy = ZeroCopy::kRequired;
  const Result<std::unique_ptr<AfXdpPort>> refused = AfXdpPort::open(worker.pool, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("zero_copy_unavailable", refused.error().code);
  EXPECT_EQ(2048u, worker.pool.available());
  options.zero_copy = ZeroCopy::kAuto;
  const Result<std::unique_ptr<AfXdpPort>> port = AfXdpPort::open(worker.pool, options);
  ASSERT_TRUE(port.ok()) << port.error().message;
  EXPECT_FALSE(port.value()->zero_copy());
}

TEST_F(AfXdp, AQueueThatDoesNotExistIsRefusedWithItsNumber) {
  make_veth(1);
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  AfXdpPort::Options options;
  options.interface = "near";
  options.queues = {7};
  const Result<std::unique_ptr<AfXdpPort>> refused = AfXdpPort::open(worker.pool, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_queues_too_few", refused.error().code);
  EXPECT_NE(std::string::npos, refused.error().message.find("queue 7")) << refused.error().message;
}

TEST_F(AfXdp, AnIdlePortMakesNoSystemCalls) {
  make_veth(1);
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  AfXdpPort::Options options;
  options.interface = "near";
  options.queues = {0};
  Result<std::unique_ptr<AfXdpPort>> port = AfXdpPort::open(worker.pool, options);
  ASSERT_TRUE(port.ok()) << port.error().message;
  EXPECT_EQ(0u, port.value()->flush());
  Packet packet;
  packet.data = worker.pool.acquire();
  const Bytes frame = udp4("198.51.100.2", 1);
  std::memcpy(packet.data, frame.data(), frame.size());
  packet.length = static_cast<std::uint32_t>(frame.size());
  ASSERT_EQ(1u, port.value()->transmit(std::span(&packet, 1)));
  EXPECT_EQ(1u, port.value()->transmit_pending());
  EXPECT_EQ(1u, port.value()->flush());
  EXPECT_EQ(0u, port.value()->transmit_pending());
}

}  // namespace
}  // namespace millrace::test
