// The walk over TCP options that finds and lowers MSS (kind 2, RFC 9293 3.2).
#include "pipeline/mss.h"

#include <cstring>

#include "net/checksum.h"

namespace millrace {

bool clamp_mss(const Packet& packet, const PacketMeta& meta, std::uint16_t limit) {
  if (limit == 0) return false;
  auto* tcp = reinterpret_cast<net::Tcp*>(packet.data + meta.l4_offset);
  std::uint8_t* options = packet.data + meta.l4_offset + sizeof(net::Tcp);
  const std::uint32_t length = tcp->header_length() - static_cast<std::uint32_t>(sizeof(net::Tcp));
  for (std::uint32_t i = 0; i < length;) {
    if (options[i] == 0) break;
    if (options[i] == 1) {
      i++;
      continue;
    }
    if (options[i] == 2 && options[i + 1] == 4) {
      be16 mss;
      std::memcpy(&mss, options + i + 2, 2);
      if (mss.host() <= limit) return false;
      const be16 lowered{limit};
      // The option may begin at an odd offset: then its bytes count in the checksum with their places exchanged.
      const bool odd = ((i + 2) & 1u) != 0;
      const std::uint16_t removed = odd ? swap_bytes(mss.raw) : mss.raw;
      const std::uint16_t added = odd ? swap_bytes(lowered.raw) : lowered.raw;
      std::memcpy(options + i + 2, &lowered, 2);
      tcp->checksum = net::updated(tcp->checksum, net::difference(removed, added));
      return true;
    }
    i += options[i + 1];
  }
  return false;
}

}  // namespace millrace
