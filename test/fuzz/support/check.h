// What a fuzz target does when an invariant does not hold: says which, and aborts, so that libFuzzer keeps the input.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

/// `condition` is one of the target's invariants; it is checked in every build.
#define FUZZ_CHECK(condition)                                                          \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                    \
    }                                                                                  \
  } while (false)

namespace millrace::fuzz {

/// A copy of the input in a block of its own size, so that AddressSanitizer sees the first byte read beyond it.
inline std::unique_ptr<std::uint8_t[]> exact_copy(const std::uint8_t* data, std::size_t size) {
  auto copy = std::make_unique<std::uint8_t[]>(size);
  for (std::size_t i = 0; i < size; i++) copy[i] = data[i];
  return copy;
}

/// Takes fuzzer input apart; zeros when it has run out.
class InputReader {
 public:
  InputReader(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  std::size_t left() const { return left_; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    left_--;
    return *data_++;
  }
  std::uint16_t word() {
    const std::uint8_t high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  /// At most `wanted` bytes.
  const std::uint8_t* bytes(std::size_t wanted, std::size_t& got) {
    got = wanted < left_ ? wanted : left_;
    const std::uint8_t* at = data_;
    data_ += got;
    left_ -= got;
    return at;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace millrace::fuzz
