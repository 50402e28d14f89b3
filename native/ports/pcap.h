// Captures in and out: what `millrace replay` and the golden cases read and write.
// Reads the classic format in both byte orders, with micro- or nanoseconds; writes one form only, so that equal packets make
// equal files. Format: draft-ietf-opsawg-pcap. Guarantees: any byte sequence is either read or refused with the offset at which
// it went wrong; a packet is never longer than kMaxCapturedPacket; reading does not copy. Errors are always pcap_invalid, with an
// errno when the file system refused. Thread: any, one object by one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"

namespace millrace {

/// Bytes; what capture tools write as "no limit" today.
inline constexpr std::uint32_t kMaxCapturedPacket = 262144;

struct CapturedPacket {
  /// Nanoseconds since the epoch.
  std::uint64_t time_ns = 0;
  /// What was captured, from the Ethernet header on; valid as long as the bytes that the reader was made from.
  std::span<const std::uint8_t> bytes;
  /// Bytes that the packet had on the wire; more than bytes.size() when the capture cut it.
  std::uint32_t original_length = 0;
};

class PcapReader {
 public:
  /// Reads the whole file into memory.
  static Result<PcapReader> open(const std::string& path);
  /// Over bytes of the caller's, which must outlive the reader. `name` stands in front of error messages.
  static Result<PcapReader> over(std::span<const std::uint8_t> capture, std::string name);

  /// The next packet, or nothing at the end. After an error every further call repeats it.
  Result<std::optional<CapturedPacket>> next();

  bool nanoseconds() const { return nanoseconds_; }
  std::uint64_t packets_read() const { return packets_read_; }

 private:
  PcapReader(std::vector<std::uint8_t> owned, std::span<const std::uint8_t> capture, std::string name);
  Result<void> read_header();
  std::uint32_t word_at(std::size_t offset) const;
  Error invalid(std::size_t offset, const std::string& what) const;

  std::vector<std::uint8_t> owned_;
  std::span<const std::uint8_t> capture_;
  std::string name_;
  std::size_t offset_ = 0;
  std::uint64_t packets_read_ = 0;
  bool swapped_ = false;
  bool nanoseconds_ = false;
};

/// Append the file header and one packet in the one form that is written: little endian, nanoseconds, version 2.4, Ethernet.
void append_pcap_header(std::vector<std::uint8_t>& out);
void append_pcap_packet(std::vector<std::uint8_t>& out, std::uint64_t time_ns, std::span<const std::uint8_t> bytes,
                        std::uint32_t original_length);

class PcapWriter {
 public:
  /// Creates or empties the file.
  static Result<PcapWriter> create(const std::string& path);
  PcapWriter(PcapWriter&& other) noexcept;
  PcapWriter& operator=(PcapWriter&&) = delete;
  /// Closes without a word; call close() to hear of a full disk.
  ~PcapWriter();

  /// `time_ns` since the epoch; seconds beyond 32 bits (the year 2106) are refused, and so are packets beyond kMaxCapturedPacket.
  Result<void> write(std::uint64_t time_ns, std::span<const std::uint8_t> bytes);
  /// Writes what is buffered and closes. Idempotent.
  Result<void> close();
  std::uint64_t packets_written() const { return packets_written_; }

 private:
  PcapWriter(int fd, std::string path);
  Result<void> drain();

  int fd_;
  std::string path_;
  std::vector<std::uint8_t> buffer_;
  std::uint64_t packets_written_ = 0;
};

}  // namespace millrace
