// See pcap.h.
//
//   file header (24 bytes): magic | major 16, minor 16 | time zone | accuracy | snaplen | link type
//   per packet (16 bytes):  seconds | fraction | captured length | original length | bytes
#include "ports/pcap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "net/byte_order.h"

namespace millrace {
namespace {

constexpr std::size_t kFileHeader = 24;
constexpr std::size_t kPacketHeader = 16;
constexpr std::uint32_t kMagicMicro = 0xa1b2c3d4;
constexpr std::uint32_t kMagicNano = 0xa1b23c4d;
constexpr std::uint32_t kMagicKuznetzov = 0xa1b2cd34;  // "modified" format of old Red Hat tcpdump
constexpr std::uint32_t kMagicPcapNg = 0x0a0d0d0a;     // reads the same in both byte orders
constexpr std::uint32_t kLinkEthernet = 1;
constexpr std::size_t kWriteBuffer = 1 << 20;

std::string hex(std::uint32_t value) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

Error file_error(const std::string& path, const char* what, int system_errno) {
  return Error{"pcap_invalid", path + ": cannot " + what + ": " + std::strerror(system_errno), system_errno};
}

Result<std::vector<std::uint8_t>> read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_error(path, "open", errno);
  struct stat status {};
  std::vector<std::uint8_t> bytes;
  // Pipes have no size, and a file may grow: the size is only where to begin.
  if (fstat(fd, &status) == 0 && status.st_size > 0) bytes.reserve(static_cast<std::size_t>(status.st_size) + 1);
  int error = 0;
  std::size_t used = 0;
  while (true) {
    bytes.resize(used + std::max<std::size_t>(bytes.capacity() - used, 64 * 1024));
    const ssize_t count = read(fd, bytes.data() + used, bytes.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) error = errno;
    if (count <= 0) break;
    used += static_cast<std::size_t>(count);
  }
  close(fd);
  if (error != 0) return file_error(path, "read", error);
  bytes.resize(used);
  return bytes;
}

void append_u32(std::vector<std::uint8_t>& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

}  // namespace

PcapReader::PcapReader(std::vector<std::uint8_t> owned, std::span<const std::uint8_t> capture, std::string name)
    : owned_(std::move(owned)), capture_(capture), name_(std::move(name)) {}

Result<PcapReader> PcapReader::open(const std::string& path) {
  Result<std::vector<std::uint8_t>> bytes = read_file(path);
  if (!bytes) return bytes.error();
  std::vector<std::uint8_t> owned = std::move(bytes).value();
  // A moved vector keeps its storage, so the view stays right when the reader is moved.
  const std::span<const std::uint8_t> view(owned);
  PcapReader reader(std::move(owned), view, path);
  if (Result<void> header = reader.read_header(); !header) return header.error();
  return reader;
}

Result<PcapReader> PcapReader::over(std::span<const std::uint8_t> capture, std::string name) {
  PcapReader reader({}, capture, std::move(name));
  if (Result<void> header = reader.read_header(); !header) return header.error();
  return reader;
}

std::uint32_t PcapReader::word_at(std::size_t offset) const {
  std::uint32_t word;
  std::memcpy(&word, capture_.data() + offset, sizeof(word));
  return swapped_ ? swap_bytes(word) : word;
}

Error PcapReader::invalid(std::size_t offset, const std::string& what) const {
  return Error{"pcap_invalid", name_ + ": at byte " + std::to_string(offset) + ": " + what, 0};
}

Result<void> PcapReader::read_header() {
  if (capture_.size() < kFileHeader) {
    return invalid(capture_.size(),
                   "the file ends within its header of " + std::to_string(kFileHeader) + " bytes; this is no capture");
  }
  const std::uint32_t magic = word_at(0);
  const std::uint32_t mirrored = swap_bytes(magic);
  if (magic == kMagicPcapNg) {
    return invalid(0, "this is a pcapng file; convert it with `editcap -F pcap IN OUT` (package wireshark-common)");
  }
  if (magic == kMagicKuznetzov || mirrored == kMagicKuznetzov) {
    return invalid(0, "this is the modified format of old Red Hat tools; convert it with `editcap -F pcap IN OUT`");
  }
  swapped_ = mirrored == kMagicMicro || mirrored == kMagicNano;
  nanoseconds_ = magic == kMagicNano || mirrored == kMagicNano;
  if (!swapped_ && magic != kMagicMicro && magic != kMagicNano)
    return invalid(0, "magic number " + hex(magic) + " is that of no capture");

  std::uint16_t version[2];
  std::memcpy(version, capture_.data() + 4, sizeof(version));
  if (swapped_) {
    version[0] = swap_bytes(version[0]);
    version[1] = swap_bytes(version[1]);
  }
  if (version[0] != 2 || version[1] != 4) {
    return invalid(4, "version " + std::to_string(version[0]) + "." + std::to_string(version[1]) + "; only 2.4 is read");
  }
  const std::uint32_t link = word_at(20);
  if ((link & 0xffff) != kLinkEthernet) {
    return invalid(
        20, "link type " + std::to_string(link & 0xffff) + "; only Ethernet (1) is read. Capture on one interface, not on `any`");
  }
  if ((link >> 16) != 0)
    return invalid(20, "packets carry a frame check sequence or unknown flags (" + hex(link) + "); capture without");
  offset_ = kFileHeader;
  return {};
}

Result<std::optional<CapturedPacket>> PcapReader::next() {
  if (offset_ == capture_.size()) return std::optional<CapturedPacket>();
  const std::size_t left = capture_.size() - offset_;
  const std::string packet = "packet " + std::to_string(packets_read_ + 1) + ": ";
  if (left < kPacketHeader) return invalid(offset_, packet + "the file ends within its header");
  const std::uint32_t seconds = word_at(offset_);
  const std::uint32_t fraction = word_at(offset_ + 4);
  const std::uint32_t captured = word_at(offset_ + 8);
  const std::uint32_t original = word_at(offset_ + 12);
  if (fraction >= (nanoseconds_ ? 1'000'000'000u : 1'000'000u)) {
    return invalid(offset_ + 4, packet + "fraction of a second " + std::to_string(fraction) + " is a second or more");
  }
  if (captured > kMaxCapturedPacket) {
    return invalid(offset_ + 8,
                   packet + "captured length " + std::to_string(captured) + " exceeds " + std::to_string(kMaxCapturedPacket));
  }
  if (captured > original) {
    return invalid(offset_ + 8, packet + "captured length " + std::to_string(captured) + " exceeds the original length " +
                                    std::to_string(original));
  }
  if (captured > left - kPacketHeader) {
    return invalid(offset_ + kPacketHeader, packet + "the file ends after " + std::to_string(left - kPacketHeader) + " of " +
                                                std::to_string(captured) + " bytes");
  }
  CapturedPacket result;
  result.time_ns = std::uint64_t{seconds} * 1'000'000'000u + std::uint64_t{fraction} * (nanoseconds_ ? 1u : 1000u);
  result.bytes = capture_.subspan(offset_ + kPacketHeader, captured);
  result.original_length = original;
  offset_ += kPacketHeader + captured;
  packets_read_++;
  return std::optional<CapturedPacket>(result);
}

void append_pcap_header(std::vector<std::uint8_t>& out) {
  append_u32(out, kMagicNano);
  append_u32(out, 4u << 16 | 2u);  // minor and major as 16-bit little-endian words
  append_u32(out, 0);              // time zone, always 0
  append_u32(out, 0);              // accuracy, always 0
  append_u32(out, kMaxCapturedPacket);
  append_u32(out, kLinkEthernet);
}

void append_pcap_packet(std::vector<std::uint8_t>& out, std::uint64_t time_ns, std::span<const std::uint8_t> bytes,
                        std::uint32_t original_length) {
  append_u32(out, static_cast<std::uint32_t>(time_ns / 1'000'000'000u));
  append_u32(out, static_cast<std::uint32_t>(time_ns % 1'000'000'000u));
  append_u32(out, static_cast<std::uint32_t>(bytes.size()));
  append_u32(out, original_length);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

PcapWriter::PcapWriter(int fd, std::string path) : fd_(fd), path_(std::move(path)) { append_pcap_header(buffer_); }

PcapWriter::PcapWriter(PcapWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      buffer_(std::move(other.buffer_)),
      packets_written_(other.packets_written_) {}

PcapWriter::~PcapWriter() { (void)close(); }

Result<PcapWriter> PcapWriter::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return file_error(path, "create", errno);
  return PcapWriter(fd, path);
}

Result<void> PcapWriter::write(std::uint64_t time_ns, std::span<const std::uint8_t> bytes) {
  if (fd_ < 0) return Error{"pcap_invalid", path_ + ": already closed", EBADF};
  if (bytes.size() > kMaxCapturedPacket || time_ns / 1'000'000'000u > UINT32_MAX) {
    return Error{"pcap_invalid",
                 path_ + ": a packet of " + std::to_string(bytes.size()) + " bytes at " + std::to_string(time_ns) +
                     " ns cannot be written in this format",
                 0};
  }
  append_pcap_packet(buffer_, time_ns, bytes, static_cast<std::uint32_t>(bytes.size()));
  packets_written_++;
  return buffer_.size() < kWriteBuffer ? Result<void>() : drain();
}

Result<void> PcapWriter::drain() {
  std::size_t written = 0;
  while (written < buffer_.size()) {
    const ssize_t count = ::write(fd_, buffer_.data() + written, buffer_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path_, "write", errno);
    written += static_cast<std::size_t>(count);
  }
  buffer_.clear();
  return {};
}

Result<void> PcapWriter::close() {
  if (fd_ < 0) return {};
  Result<void> drained = drain();
  const int closed = ::close(std::exchange(fd_, -1));
  if (!drained) return drained;
  if (closed != 0) return file_error(path_, "close", errno);
  return {};
}

}  // namespace millrace
