// A network namespace of the test's own with a veth pair near--far in it, so that AF_XDP is tested with real traffic and nothing
// is left behind: the kernel removes all of it with the process. Millrace takes `near`; `far` is the wire, reached by packet
// sockets. Guarantees: skips, with the reason, where privileges are missing; waits for events, never for time. Thread: the
// test's.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/packet_memory.h"
#include "frames.h"
#include "ports/af_xdp.h"
#include "ports/interface_probe.h"
#include "ports/xdp_attachment.h"

namespace millrace::test {

/// Generous: what is waited for normally takes microseconds.
inline constexpr int kPatienceMilliseconds = 5000;

/// A raw packet socket on one interface. Sends frames out of it, and sees what arrives there and reaches the kernel's stack.
class PacketSocket {
 public:
  explicit PacketSocket(const std::string& interface) {
    fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    const int size = 8 << 20;
    (void)setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    EXPECT_EQ(0, bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address))) << std::strerror(errno);
  }
  ~PacketSocket() { close(fd_); }
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  /// ENOBUFS is a full ring at the far end of a veth; that it stays full is a failure.
  void send(std::span<const std::uint8_t> frame) {
    for (int attempt = 0; ::send(fd_, frame.data(), frame.size(), 0) < 0; attempt++) {
      ASSERT_TRUE((errno == EAGAIN || errno == ENOBUFS) && attempt < 1000) << std::strerror(errno);
      pollfd writable{fd_, POLLOUT, 0};
      ASSERT_EQ(1, poll(&writable, 1, kPatienceMilliseconds));
    }
  }

  /// A frame that arrived, or nothing if none is there now.
  std::optional<Bytes> receive_now() {
    Bytes frame(4096);
    while (true) {
      sockaddr_ll from{};
      socklen_t length = sizeof(from);
      const ssize_t count = recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (count < 0) return std::nullopt;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      frame.resize(static_cast<std::size_t>(count));
      return frame;
    }
  }

  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// One worker as far as ports are concerned: frames and a port.
struct TestWorker {
  TestWorker(const PacketMemory& memory, FrameReturnRings& rings, std::uint32_t id) : pool(memory, rings, id) {}
  FramePool pool;
  std::unique_ptr<AfXdpPort> port;
};

class VethLab : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "AF_XDP and network namespaces need root";
    home_ = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace: " << std::strerror(errno);
    inside_ = true;
    const KernelProbe kernel = probe_kernel();
    if (!kernel.xdp.empty()) GTEST_SKIP() << "the kernel does not load XDP programs: " << kernel.xdp;
    if (!kernel.af_xdp.empty()) GTEST_SKIP() << "the kernel makes no AF_XDP sockets: " << kernel.af_xdp;
    // Without IPv6 of the kernel's own, every packet on the wire is the test's.
    run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
  }

  void TearDown() override {
    if (inside_) (void)setns(home_, CLONE_NEWNET);
    if (home_ >= 0) close(home_);
  }

  static void run(const std::string& command) { ASSERT_EQ(0, std::system(command.c_str())) << command; }

  /// Makes near--far, both up, and waits for their carrier.
  void make_veth(unsigned queues, const std::string& far_options = "") {
    const std::string counts = " numtxqueues " + std::to_string(queues) + " numrxqueues " + std::to_string(queues);
    const int events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    sockaddr_nl group{};
    group.nl_family = AF_NETLINK;
    group.nl_groups = RTMGRP_LINK;
    ASSERT_EQ(0, bind(events, reinterpret_cast<const sockaddr*>(&group), sizeof(group)));
    run("ip link add near" + counts + " type veth peer name far" + counts + " && ip link set near up && ip link set far up " +
        far_options);
    while (!probe("near").carrier || !probe("far").carrier) {
      pollfd changed{events, POLLIN, 0};
      ASSERT_EQ(1, poll(&changed, 1, kPatienceMilliseconds)) << "no carrier";
      char buffer[8192];
      ASSERT_GT(recv(events, buffer, sizeof(buffer), 0), 0);
    }
    close(events);
  }

  static InterfaceProbe probe(const std::string& name) {
    const Result<std::vector<InterfaceProbe>> all = probe_interfaces();
    if (!all) {
      ADD_FAILURE() << all.error().message;
      return {};
    }
    for (const InterfaceProbe& one : all.value()) {
      if (one.name == name) return one;
    }
    ADD_FAILURE() << "no interface " << name;
    return {};
  }

  static Result<std::unique_ptr<XdpAttachment>> attach(unsigned workers, AttachMode mode = AttachMode::kNative) {
    XdpAttachment::Options options;
    options.interface = "near";
    options.needs.workers = workers;
    options.needs.attach_mode = mode;
    return XdpAttachment::attach(options);
  }

  static std::unique_ptr<PacketMemory> make_memory(std::uint32_t workers, std::uint32_t frames = 2048) {
    PacketMemory::Options options;
    options.workers = workers;
    options.frames_per_worker = frames;
    options.huge_pages = false;
    Result<std::unique_ptr<PacketMemory>> memory = PacketMemory::create(options);
    EXPECT_TRUE(memory.ok());
    return std::move(memory).value();
  }

  /// Opens the worker's port on near and gives its queues to the XDP program.
  static void open_port(TestWorker& worker, XdpAttachment& attachment, std::vector<std::uint32_t> queues,
                        std::uint32_t ring_size = 512) {
    AfXdpPort::Options options;
    options.interface = "near";
    options.interface_index = 3;
    options.queues = std::move(queues);
    options.worker_sockets = static_cast<std::uint32_t>(options.queues.size());
    options.ring_size = ring_size;
    Result<std::unique_ptr<AfXdpPort>> port = AfXdpPort::open(worker.pool, options);
    ASSERT_TRUE(port.ok()) << port.error().message;
    worker.port = std::move(port).value();
    for (const AfXdpPort::Socket& socket : worker.port->sockets()) {
      const Result<void> set = attachment.set_socket(socket.queue, socket.fd);
      ASSERT_TRUE(set.ok()) << set.error().message;
    }
  }

  /// Polls `fds` until `done`; false when nothing happened for kPatienceMilliseconds.
  static bool wait_until(const std::vector<int>& fds, const std::function<bool()>& done) {
    std::vector<pollfd> polled;
    for (const int fd : fds) polled.push_back({fd, POLLIN, 0});
    while (!done()) {
      if (poll(polled.data(), polled.size(), kPatienceMilliseconds) <= 0) return done();
    }
    return true;
  }

 private:
  int home_ = -1;
  bool inside_ = false;
};

}  // namespace millrace::test
