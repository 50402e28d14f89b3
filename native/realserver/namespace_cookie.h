// A number for the network namespace that is never used twice while the machine runs; the inode numbers of /proc/self/ns/net are.
// So what was recorded about a namespace that has gone is not taken for news about its successor. Thread: any; set-up only.
#pragma once

#include <cstdint>

namespace millrace {

/// The cookie of the present network namespace (SO_NETNS_COOKIE, Linux 5.14); 0 where the kernel has none.
std::uint64_t network_namespace_cookie();

}  // namespace millrace
