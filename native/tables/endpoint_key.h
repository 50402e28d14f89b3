// By what servers of several services are one endpoint.
// Thread: any; pure.
#pragma once

#include "net/address.h"
#include "net/headers.h"
#include "tables/snapshot.h"

namespace millrace {

/// TCP and UDP of one address and port share an endpoint, which has local ports for each of them.
inline ServiceKey endpoint_key(const IpAddress& address, be16 port, std::uint8_t protocol) {
  return {address, port, protocol == net::kProtocolTcp || protocol == net::kProtocolUdp ? std::uint8_t{0} : protocol};
}

}  // namespace millrace
