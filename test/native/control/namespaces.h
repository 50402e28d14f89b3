// Two network namespaces joined by a veth pair, for tests that need a real kernel: "here" is where Millrace would run, "there" is
// the rest of the world. Nothing is named: both namespaces vanish with their file descriptors.
#pragma once

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace millrace::test {

inline std::uint64_t clock_ms() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

class Namespaces {
 public:
  static constexpr const char* kHereMac = "02:00:00:00:00:01";
  static constexpr const char* kThereMac = "02:00:00:00:00:02";

  /// Empty when it worked, else why it cannot.
  std::string open() {
    original_ = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (original_ < 0) return "cannot open /proc/self/ns/net";
    if (unshare(CLONE_NEWNET) != 0) return std::string("cannot make a network namespace: ") + std::strerror(errno);
    there_ = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) return std::string("cannot make a network namespace: ") + std::strerror(errno);
    here_ = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    const std::string there = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(there_);
    if (!ip("link add v0 address " + std::string(kHereMac) + " type veth peer name v1 address " + kThereMac))
      return "ip link add failed";
    if (!ip("link set v1 netns " + there)) return "ip link set netns failed";
    write("/proc/sys/net/ipv6/conf/v0/accept_dad", "0");
    // Without a local routing table (no address at all, not even on lo) the kernel takes every IPv4 neighbour for a broadcast
    // address.
    if (!ip("link set lo up") || !ip("link set v0 up")) return "ip link set up failed";
    in_there([&] {
      write("/proc/sys/net/ipv6/conf/v1/accept_dad", "0");
      write("/proc/sys/net/ipv4/conf/v1/arp_notify", "1");
      ip("link set lo up");
      ip("link set v1 up");
    });
    return {};
  }

  ~Namespaces() {
    if (original_ >= 0) (void)setns(original_, CLONE_NEWNET);
    for (const int fd : {original_, here_, there_}) {
      if (fd >= 0) ::close(fd);
    }
  }

  template <typename Action>
  void in_there(Action action) {
    (void)setns(there_, CLONE_NEWNET);
    action();
    (void)setns(here_, CLONE_NEWNET);
  }

  /// Runs "ip <arguments>" in the present namespace.
  static bool ip(const std::string& arguments) { return run("ip " + arguments); }
  void ip_there(const std::string& arguments) {
    in_there([&] { ip(arguments); });
  }

  static bool run(const std::string& command) {
    std::vector<std::string> words;
    std::istringstream stream(command);
    for (std::string word; stream >> word;) words.push_back(word);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    if (posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return false;
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  static void write(const std::string& path, const std::string& value) { std::ofstream(path) << value; }

  /// A raw socket on v1, in the other namespace. It hears every frame that arrives there.
  int raw_there() {
    int fd = -1;
    in_there([&] {
      fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      sockaddr_ll address{};
      address.sll_family = AF_PACKET;
      address.sll_protocol = htons(ETH_P_ALL);
      address.sll_ifindex = static_cast<int>(if_nametoindex("v1"));
      if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        ::close(fd);
        fd = -1;
      }
    });
    return fd;
  }

 private:
  int original_ = -1;
  int here_ = -1;
  int there_ = -1;
};

/// The next frame that arrived (not one that was sent) on a raw socket, or nothing.
inline std::optional<std::vector<std::uint8_t>> receive_frame(int fd) {
  for (;;) {
    std::vector<std::uint8_t> frame(2048);
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    const ssize_t n = recvfrom(fd, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 0) return std::nullopt;
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    frame.resize(static_cast<std::size_t>(n));
    return frame;
  }
}

}  // namespace millrace::test
