// SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). With two rounds per word and four at the end it is a
// keyed hash that nobody outside can foretell; with one and three, which Linux calls hsiphash on 64-bit machines, it serves where a
// mapping must equal that of the Linux kernel. Thread: any. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace {

struct SipKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

template <int kPerWord, int kAtEnd>
class SipHash {
 public:
  explicit SipHash(const SipKey& key)
      : v0_(key.low ^ 0x736f6d6570736575ull),
        v1_(key.high ^ 0x646f72616e646f6dull),
        v2_(key.low ^ 0x6c7967656e657261ull),
        v3_(key.high ^ 0x7465646279746573ull) {}

  /// Hash of `bytes`: words are little endian whatever the machine.
  std::uint64_t operator()(std::span<const std::uint8_t> bytes) {
    const std::size_t whole = bytes.size() / 8 * 8;
    for (std::size_t at = 0; at < whole; at += 8) take(word(bytes.subspan(at, 8)));
    return finish(word(bytes.subspan(whole)) | static_cast<std::uint64_t>(bytes.size()) << 56);
  }
  /// Hash of the four bytes of a number.
  std::uint64_t of_u32(std::uint32_t value) { return finish(value | std::uint64_t{4} << 56); }

 private:
  static std::uint64_t word(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }
  static std::uint64_t rotate(std::uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

  void round() {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = rotate(v1_, 13) ^ v0_;
    v3_ = rotate(v3_, 16) ^ v2_;
    v0_ = rotate(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = rotate(v1_, 17) ^ v2_;
    v3_ = rotate(v3_, 21) ^ v0_;
    v2_ = rotate(v2_, 32);
  }
  void take(std::uint64_t word) {
    v3_ ^= word;
    for (int i = 0; i < kPerWord; i++) round();
    v0_ ^= word;
  }
  std::uint64_t finish(std::uint64_t last) {
    take(last);
    v2_ ^= 0xff;
    for (int i = 0; i < kAtEnd; i++) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

using SipHash13 = SipHash<1, 3>;
using SipHash24 = SipHash<2, 4>;

}  // namespace millrace
