// See check_socket.h.
#include "control/check_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace millrace {

namespace {

Error refused(int fd, const std::string& what) {
  const int error = errno;
  if (fd >= 0) close(fd);
  return {"check_socket_unavailable", what, error};
}

bool bind_to(int fd, bool ipv6, const std::string& text) {
  if (ipv6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    if (inet_pton(AF_INET6, text.c_str(), &address.sin6_addr) != 1) errno = EINVAL;
    else return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    return false;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1) errno = EINVAL;
  else return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  return false;
}

}  // namespace

Result<int> open_check_socket(const CheckSocketOptions& options) {
  const int family = options.ipv6 ? AF_INET6 : AF_INET;
  const int type = options.kind == CheckSocketKind::kStream ? SOCK_STREAM : SOCK_DGRAM;
  const int protocol = options.kind != CheckSocketKind::kEcho ? 0 : options.ipv6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP};
  const int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    if (options.kind == CheckSocketKind::kEcho && errno == EACCES) {
      return refused(fd, "echo requests are not allowed to this group: set the sysctl net.ipv4.ping_group_range to \"0 2147483647\"");
    }
    return refused(fd, "no socket for a health check");
  }
  const std::string& interface = options.bind_interface;
  if (!interface.empty() &&
      setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(), static_cast<socklen_t>(interface.size())) != 0) {
    return refused(fd, "a health check cannot be bound to interface " + interface);
  }
  if (options.mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &options.mark, sizeof options.mark) != 0) {
    return refused(fd, "packets of a health check cannot be marked (CAP_NET_ADMIN)");
  }
  // The port is chosen by connect(), which knows the other end: ports that wait in TIME_WAIT for other servers can be used. A kernel that
  // does not know this chooses now.
  const int later = 1;
  if (options.kind == CheckSocketKind::kStream) (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &later, sizeof later);
  if (!options.bind_address.empty() && !bind_to(fd, options.ipv6, options.bind_address)) {
    return refused(fd, "a health check cannot come from " + options.bind_address);
  }
  return fd;
}

Result<void> notify_service_manager(const std::string& socket_name, const std::string& text) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_name.empty() || socket_name.size() >= sizeof address.sun_path || (socket_name[0] != '/' && socket_name[0] != '@')) {
    return Error{"notify_socket_unavailable", "\"" + socket_name + "\" is neither a path nor an abstract name of a socket", 0};
  }
  std::memcpy(address.sun_path, socket_name.data(), socket_name.size());
  if (socket_name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_name.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  // Never waits: a service manager that does not read is no reason for the event loop to stand still.
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  const bool sent = fd >= 0 && sendto(fd, text.data(), text.size(), flags, reinterpret_cast<const sockaddr*>(&address), length) ==
                                   static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (sent) return {};
  return Error{"notify_socket_unavailable", "the service manager's socket " + socket_name + " does not take a message", error};
}

}  // namespace millrace
