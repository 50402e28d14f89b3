// The flow hash: keyed, so that nobody outside can choose flows that collide in one bucket.
// Built from 64x64->128-bit multiplications folded by xor; the key is drawn once per dataplane (or from --seed in replay).
// Thread: any. No state.
#pragma once

#include <cstdint>

#include "net/address.h"

namespace millrace {

/// Secret words of the flow hash.
struct HashKey {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};

inline std::uint64_t fold_multiply(std::uint64_t x, std::uint64_t y) {
  const auto product = static_cast<unsigned __int128>(x) * y;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// SplitMix64 finaliser: spreads a small seed over 64 bits.
inline std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

inline HashKey hash_key_from_seed(std::uint64_t seed) { return {mix64(seed) | 1u, mix64(seed ^ 0x5851f42d4c957f2dull) | 1u}; }

/// Hash of one direction of a flow. The other direction is a different tuple and hashes independently.
inline std::uint64_t flow_hash(const HashKey& key, const IpAddress& source, const IpAddress& destination, be16 source_port,
                               be16 destination_port, std::uint8_t protocol) {
  const std::uint64_t tail = static_cast<std::uint64_t>(source_port.raw) << 32 |
                             static_cast<std::uint64_t>(destination_port.raw) << 16 | protocol;
  std::uint64_t h = fold_multiply(source.low ^ key.a, destination.low ^ key.b);
  if ((source.high | destination.high) != 0) {
    h ^= fold_multiply(source.high ^ key.b ^ 0x8ebc6af09c88c6e3ull, destination.high ^ key.a ^ 0x589965cc75374cc3ull);
  }
  // Two rounds: with one, some keys leave runs of ports (one client, or one pool of local ports) bunched in few buckets.
  return fold_multiply(fold_multiply(h ^ tail ^ 0xe7037ed1a0b428dbull, key.b) ^ key.a, 0xa0761d6478bd642full);
}

}  // namespace millrace
