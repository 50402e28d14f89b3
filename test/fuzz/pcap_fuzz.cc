// Any bytes are a capture that is read to its end or refused with an offset inside it; what is read is written and read back the same.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "ports/pcap.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using millrace::CapturedPacket;
  using millrace::PcapReader;
  millrace::Result<PcapReader> reader = PcapReader::over({data, size}, "fuzz");
  if (!reader) return 0;
  std::vector<std::uint8_t> copy;
  millrace::append_pcap_header(copy);
  std::vector<CapturedPacket> packets;
  while (true) {
    const auto next = reader.value().next();
    if (!next || !next.value()) break;
    const CapturedPacket& packet = *next.value();
    if (packet.bytes.data() < data || packet.bytes.data() + packet.bytes.size() > data + size) std::abort();
    packets.push_back(packet);
    millrace::append_pcap_packet(copy, packet.time_ns, packet.bytes, packet.original_length);
  }
  millrace::Result<PcapReader> again = PcapReader::over(copy, "copy");
  if (!again) std::abort();
  for (const CapturedPacket& packet : packets) {
    const auto next = again.value().next();
    if (!next || !next.value() || next.value()->time_ns != packet.time_ns || next.value()->bytes.size() != packet.bytes.size() ||
        next.value()->original_length != packet.original_length) {
      std::abort();
    }
  }
  const auto end = again.value().next();
  if (!end || end.value()) std::abort();
  return 0;
}
