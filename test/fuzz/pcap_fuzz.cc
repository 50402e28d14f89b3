// Fuzz target: the capture reader on any bytes. It reads packets inside the input or refuses with a reason and keeps refusing; what it
// read, written again, reads the same.
#include "ports/pcap.h"

#include "support/check.h"

namespace millrace::fuzz {
namespace {

void check_written_again(const std::vector<std::uint8_t>& copy, std::uint64_t packets) {
  auto reader = PcapReader::over(copy, "copy");
  FUZZ_CHECK(reader.ok());
  std::vector<std::uint8_t> again;
  append_pcap_header(again);
  for (std::uint64_t i = 0; i < packets; i++) {
    auto next = reader.value().next();
    FUZZ_CHECK(next.ok() && next.value().has_value());
    append_pcap_packet(again, next.value()->time_ns, next.value()->bytes, next.value()->original_length);
  }
  auto end = reader.value().next();
  FUZZ_CHECK(end.ok() && !end.value().has_value());
  FUZZ_CHECK(again == copy);
}

}  // namespace
}  // namespace millrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const auto bytes = fuzz::exact_copy(data, size);
  auto reader = PcapReader::over({bytes.get(), size}, "input");
  if (!reader) {
    FUZZ_CHECK(reader.error().code == "pcap_invalid" && !reader.error().message.empty());
    return 0;
  }
  std::vector<std::uint8_t> copy;
  append_pcap_header(copy);
  std::uint64_t packets = 0;
  for (;;) {
    auto next = reader.value().next();
    if (!next) {
      FUZZ_CHECK(next.error().code == "pcap_invalid" && !reader.value().next().ok());
      break;
    }
    if (!next.value().has_value()) break;
    const CapturedPacket& packet = *next.value();
    FUZZ_CHECK(packet.bytes.data() >= bytes.get() && packet.bytes.data() + packet.bytes.size() <= bytes.get() + size);
    FUZZ_CHECK(packet.bytes.size() <= packet.original_length);
    append_pcap_packet(copy, packet.time_ns, packet.bytes, packet.original_length);
    packets++;
  }
  FUZZ_CHECK(reader.value().packets_read() == packets);
  fuzz::check_written_again(copy, packets);
  return 0;
}
