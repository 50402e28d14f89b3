// Captures: every form that is read, every way in which a file can be wrong, and the one form that is written.
#include "ports/pcap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace millrace {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Writes a capture field by field in either byte order.
struct CaptureBytes {
  bool big_endian = false;
  Bytes bytes;

  CaptureBytes& u32(std::uint32_t value) {
    for (int i = 0; i < 4; i++) bytes.push_back(static_cast<std::uint8_t>(value >> (big_endian ? 24 - 8 * i : 8 * i)));
    return *this;
  }
  CaptureBytes& u16(std::uint32_t value) {
    for (int i = 0; i < 2; i++) bytes.push_back(static_cast<std::uint8_t>(value >> (big_endian ? 8 - 8 * i : 8 * i)));
    return *this;
  }
  CaptureBytes& header(std::uint32_t magic, std::uint32_t link = 1, std::uint32_t major = 2, std::uint32_t minor = 4) {
    return u32(magic).u16(major).u16(minor).u32(0).u32(0).u32(65535).u32(link);
  }
  CaptureBytes& packet(std::uint32_t seconds, std::uint32_t fraction, std::uint32_t captured, std::uint32_t original,
                       std::size_t present) {
    u32(seconds).u32(fraction).u32(captured).u32(original);
    for (std::size_t i = 0; i < present; i++) bytes.push_back(static_cast<std::uint8_t>(i));
    return *this;
  }
};

constexpr std::uint32_t kMicro = 0xa1b2c3d4;
constexpr std::uint32_t kNano = 0xa1b23c4d;

/// Reads all packets; the error's message, or "" at a clean end.
std::string read_all(const Bytes& bytes, std::vector<CapturedPacket>& packets) {
  Result<PcapReader> reader = PcapReader::over(bytes, "in.pcap");
  if (!reader) return reader.error().message;
  while (true) {
    const Result<std::optional<CapturedPacket>> next = reader.value().next();
    if (!next) return next.error().message;
    if (!next.value()) return "";
    packets.push_back(*next.value());
  }
}

TEST(PcapReader, ReadsBothByteOrdersAndBothResolutions) {
  for (const bool big_endian : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      SCOPED_TRACE(std::string(big_endian ? "big" : "little") + " endian, " + (nanoseconds ? "nano" : "micro") + "seconds");
      CaptureBytes capture{big_endian, {}};
      capture.header(nanoseconds ? kNano : kMicro).packet(1'700'000'000, 999'999, 3, 60, 3).packet(4'294'967'295, 0, 0, 0, 0);
      std::vector<CapturedPacket> packets;
      EXPECT_EQ("", read_all(capture.bytes, packets));
      ASSERT_EQ(2u, packets.size());
      EXPECT_EQ(1'700'000'000ull * 1'000'000'000 + (nanoseconds ? 999'999 : 999'999'000), packets[0].time_ns);
      EXPECT_EQ((Bytes{0, 1, 2}), Bytes(packets[0].bytes.begin(), packets[0].bytes.end()));
      EXPECT_EQ(60u, packets[0].original_length);
      EXPECT_EQ(4'294'967'295ull * 1'000'000'000, packets[1].time_ns);
      EXPECT_TRUE(packets[1].bytes.empty());
    }
  }
}

TEST(PcapReader, RefusesWhatIsWrongWithTheOffset) {
  struct Case {
    const char* what;
    Bytes bytes;
    const char* message;
  };
  const auto little = [] { return CaptureBytes{}; };
  Bytes cut = little().header(kMicro).bytes;
  cut.pop_back();
  Bytes cut_record = little().header(kMicro).packet(0, 0, 4, 4, 4).bytes;
  cut_record.resize(24 + 15);
  const std::vector<Case> cases = {
      {"empty file", {}, "in.pcap: at byte 0: the file ends within its header of 24 bytes; this is no capture"},
      {"cut header", cut, "in.pcap: at byte 23: the file ends within its header of 24 bytes; this is no capture"},
      {"text", Bytes(30, 'a'), "in.pcap: at byte 0: magic number 0x61616161 is that of no capture"},
      {"pcapng", little().header(0x0a0d0d0a).bytes,
       "in.pcap: at byte 0: this is a pcapng file; convert it with `editcap -F pcap IN OUT` (package wireshark-common)"},
      {"modified format", little().header(0xa1b2cd34).bytes,
       "in.pcap: at byte 0: this is the modified format of old Red Hat tools; convert it with `editcap -F pcap IN OUT`"},
      {"version", little().header(kMicro, 1, 2, 3).bytes, "in.pcap: at byte 4: version 2.3; only 2.4 is read"},
      {"link type", little().header(kMicro, 113).bytes,
       "in.pcap: at byte 20: link type 113; only Ethernet (1) is read. Capture on one interface, not on `any`"},
      {"frame check sequence", little().header(kMicro, 0x24000001).bytes,
       "in.pcap: at byte 20: packets carry a frame check sequence or unknown flags (0x24000001); capture without"},
      {"cut packet header", cut_record, "in.pcap: at byte 24: packet 1: the file ends within its header"},
      {"cut packet", little().header(kMicro).packet(0, 0, 1, 1, 1).packet(0, 0, 5, 5, 4).bytes,
       "in.pcap: at byte 57: packet 2: the file ends after 4 of 5 bytes"},
      {"microseconds", little().header(kMicro).packet(0, 1'000'000, 1, 1, 1).bytes,
       "in.pcap: at byte 28: packet 1: fraction of a second 1000000 is a second or more"},
      {"nanoseconds", little().header(kNano).packet(0, 1'000'000'000, 1, 1, 1).bytes,
       "in.pcap: at byte 28: packet 1: fraction of a second 1000000000 is a second or more"},
      {"huge length", little().header(kMicro).packet(0, 0, 0xffffffff, 0xffffffff, 64).bytes,
       "in.pcap: at byte 32: packet 1: captured length 4294967295 exceeds 262144"},
      {"just too long", little().header(kMicro).packet(0, 0, 262145, 262145, 64).bytes,
       "in.pcap: at byte 32: packet 1: captured length 262145 exceeds 262144"},
      {"captured more than was there", little().header(kMicro).packet(0, 0, 5, 4, 5).bytes,
       "in.pcap: at byte 32: packet 1: captured length 5 exceeds the original length 4"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    std::vector<CapturedPacket> packets;
    EXPECT_EQ(one.message, read_all(one.bytes, packets));
  }
}

TEST(PcapReader, AcceptsTheLongestPacketAndNothingAfterTheLast) {
  const Bytes bytes = CaptureBytes{}.header(kMicro).packet(0, 999'999, 262144, 262144, 262144).bytes;
  std::vector<CapturedPacket> packets;
  EXPECT_EQ("", read_all(bytes, packets));
  ASSERT_EQ(1u, packets.size());
  EXPECT_EQ(262144u, packets[0].bytes.size());
}

TEST(PcapReader, RepeatsItsError) {
  const Bytes bytes = CaptureBytes{}.header(kMicro).packet(0, 0, 5, 5, 4).bytes;
  Result<PcapReader> reader = PcapReader::over(bytes, "in.pcap");
  ASSERT_TRUE(reader.ok());
  const Result<std::optional<CapturedPacket>> first = reader.value().next();
  const Result<std::optional<CapturedPacket>> second = reader.value().next();
  ASSERT_FALSE(first.ok());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ("pcap_invalid", first.error().code);
  EXPECT_EQ(first.error().message, second.error().message);
  EXPECT_EQ(0u, reader.value().packets_read());
}

TEST(PcapReader, EveryPrefixOfACaptureIsReadUpToACutOrRefused) {
  const Bytes whole = CaptureBytes{}.header(kNano).packet(1, 2, 10, 10, 10).packet(3, 4, 20, 20, 20).bytes;
  for (std::size_t length = 0; length <= whole.size(); length++) {
    // A vector of its own, so that a sanitizer sees any read beyond the cut.
    const Bytes prefix(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    std::vector<CapturedPacket> packets;
    const std::string error = read_all(prefix, packets);
    const bool at_boundary = length == 24 || length == 24 + 26 || length == whole.size();
    EXPECT_EQ(at_boundary, error.empty()) << length << ": " << error;
    EXPECT_EQ(length < 50 ? 0u : length < whole.size() ? 1u : 2u, packets.size()) << length;
  }
}

class PcapFiles : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(nullptr, mkdtemp(directory_.data())); }
  void TearDown() override {
    for (const std::string& path : made_) std::remove(path.c_str());
    rmdir(directory_.data());
  }
  std::string path(const std::string& name) {
    made_.push_back(std::string(directory_.data()) + "/" + name);
    return made_.back();
  }
  static Bytes contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }

 private:
  std::array<char, 32> directory_{"/tmp/millrace-pcap-XXXXXX"};
  std::vector<std::string> made_;
};

TEST_F(PcapFiles, WhatIsWrittenIsReadBackAndEqualPacketsMakeEqualFiles) {
  Bytes packet(1500);
  for (std::size_t i = 0; i < packet.size(); i++) packet[i] = static_cast<std::uint8_t>(i * 7);
  constexpr std::uint64_t kPackets = 2000;  // more than the writer buffers at once
  const std::string paths[2] = {path("a.pcap"), path("b.pcap")};
  for (const std::string& one : paths) {
    Result<PcapWriter> writer = PcapWriter::create(one);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (std::uint64_t i = 0; i < kPackets; i++) {
      ASSERT_TRUE(writer.value().write(i * 1'000'000'007, std::span(packet).first(i % packet.size())).ok());
    }
    EXPECT_EQ(kPackets, writer.value().packets_written());
    EXPECT_TRUE(writer.value().close().ok());
    EXPECT_TRUE(writer.value().close().ok()) << "idempotent";
    EXPECT_FALSE(writer.value().write(0, packet).ok()) << "closed";
  }
  EXPECT_EQ(contents(paths[0]), contents(paths[1]));

  Result<PcapReader> reader = PcapReader::open(paths[0]);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_TRUE(reader.value().nanoseconds());
  // Moved about as its users do; the bytes must stay where the packets point.
  PcapReader moved = std::move(reader).value();
  for (std::uint64_t i = 0; i < kPackets; i++) {
    const Result<std::optional<CapturedPacket>> next = moved.next();
    ASSERT_TRUE(next.ok()) << next.error().message;
    ASSERT_TRUE(next.value().has_value());
    ASSERT_EQ(i * 1'000'000'007, next.value()->time_ns);
    ASSERT_EQ(i % packet.size(), next.value()->bytes.size());
    ASSERT_TRUE(std::equal(next.value()->bytes.begin(), next.value()->bytes.end(), packet.begin()));
  }
  const Result<std::optional<CapturedPacket>> end = moved.next();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end.value().has_value());
}

TEST_F(PcapFiles, TheHeaderIsTheSameBytesOnEveryMachine) {
  const std::string file = path("empty.pcap");
  Result<PcapWriter> writer = PcapWriter::create(file);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer.value().close().ok());
  EXPECT_EQ((Bytes{0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}), contents(file));
}

TEST_F(PcapFiles, FilesThatCannotBeOpenedOrWrittenAreRefusedWithTheReason) {
  const std::string missing = path("missing.pcap");
  const Result<PcapReader> reader = PcapReader::open(missing);
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(missing + ": cannot open: No such file or directory", reader.error().message);
  EXPECT_EQ(ENOENT, reader.error().system_errno);
  EXPECT_FALSE(PcapReader::open("/").ok()) << "a directory";
  EXPECT_FALSE(PcapWriter::create(path("no/such/folder.pcap")).ok());
  Result<PcapWriter> full = PcapWriter::create("/dev/full");
  ASSERT_TRUE(full.ok());
  const Result<void> closed = full.value().close();
  ASSERT_FALSE(closed.ok());
  EXPECT_EQ(ENOSPC, closed.error().system_errno);
}

TEST_F(PcapFiles, TimesAndLengthsThatTheFormatCannotHoldAreRefused) {
  Result<PcapWriter> writer = PcapWriter::create(path("limits.pcap"));
  ASSERT_TRUE(writer.ok());
  constexpr std::uint64_t kLastSecond = 4'294'967'295ull * 1'000'000'000 + 999'999'999;
  EXPECT_TRUE(writer.value().write(kLastSecond, {}).ok());
  EXPECT_FALSE(writer.value().write(kLastSecond + 1, {}).ok());
  EXPECT_TRUE(writer.value().write(0, Bytes(kMaxCapturedPacket)).ok());
  EXPECT_FALSE(writer.value().write(0, Bytes(kMaxCapturedPacket + 1)).ok());
  EXPECT_EQ(2u, writer.value().packets_written());
}

}  // namespace
}  // namespace millrace
