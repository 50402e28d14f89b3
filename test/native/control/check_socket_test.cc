// Sockets of health checks, and datagrams to a service manager.
#include "control/check_socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

namespace millrace {

namespace {

TEST(CheckSocket, BoundStreamHasNoPortBeforeItIsConnected) {
  CheckSocketOptions wanted;
  wanted.bind_address = "127.0.0.7";
  const auto opened = open_check_socket(wanted);
  ASSERT_TRUE(opened);
  sockaddr_in own{};
  socklen_t length = sizeof own;
  ASSERT_EQ(getsockname(opened.value(), reinterpret_cast<sockaddr*>(&own), &length), 0);
  EXPECT_EQ(own.sin_addr.s_addr, htonl(0x7f000007));
  EXPECT_EQ(own.sin_port, 0);
  close(opened.value());
}

TEST(CheckSocket, SaysWhichWishFailed) {
  CheckSocketOptions wanted;
  wanted.kind = CheckSocketKind::kDatagram;
  wanted.bind_address = "192.0.2.1";
  const auto nowhere = open_check_socket(wanted);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, "check_socket_unavailable");
  EXPECT_NE(nowhere.error().message.find("192.0.2.1"), std::string::npos);
  EXPECT_EQ(nowhere.error().system_errno, EADDRNOTAVAIL);
}

TEST(NotifyServiceManager, DoesNotWaitForOneThatDoesNotRead) {
  const std::string name = "@millrace-test-" + std::to_string(getpid());
  const int receiver = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  ASSERT_EQ(bind(receiver, reinterpret_cast<const sockaddr*>(&address), length), 0);
  Result<void> told{};
  // More than any kernel keeps for a socket that nobody reads.
  for (int i = 0; i < 100'000 && told; i++) told = notify_service_manager(name, "WATCHDOG=1");
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().system_errno, EAGAIN);
  close(receiver);
}

}  // namespace

}  // namespace millrace
