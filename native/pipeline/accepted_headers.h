// AcceptedHeaders: what balancers in front have said about the clients of sessions that have just begun: the bytes of their PROXY headers
// as they come in, and then what is to be told on. A place is needed from a connection's first byte until the server has been told.
// Guarantees: no allocation after create(); pages exist only where used. Thread: one worker.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/result.h"
#include "net/proxy_protocol.h"
#include "sessions/session.h"
#include "tables/slots.h"

namespace millrace {

struct AcceptedHeader {
  net::ProxyEndpoints endpoints;
  /// Bytes that have come; once the header is whole, its TLVs in their place.
  std::uint32_t have;
  std::uint32_t tlv_offset;
  std::uint32_t tlv_length;
  std::uint32_t next_free;
  std::array<std::uint8_t, net::kProxyLongest> bytes;

  std::span<const std::uint8_t> tlvs() const { return std::span<const std::uint8_t>(bytes).subspan(tlv_offset, tlv_length); }
};

class AcceptedHeaders {
 public:
  static constexpr std::uint32_t kPlaces = 1u << 16;

  Result<void> reserve() { return places_.reserve(kPlaces); }

  /// An empty place, or kNoneAccepted when all are taken.
  std::uint32_t take() {
    std::uint32_t place = free_;
    if (place != kNoneAccepted) {
      free_ = places_[place].next_free;
    } else if (high_water_ < kPlaces) {
      place = high_water_++;
    } else {
      return kNoneAccepted;
    }
    AcceptedHeader& header = places_[place];
    header.have = header.tlv_offset = header.tlv_length = 0;
    return place;
  }
  void release(std::uint32_t place) {
    places_[place].next_free = free_;
    free_ = place;
  }
  AcceptedHeader& at(std::uint32_t place) { return places_[place]; }
  const AcceptedHeader& at(std::uint32_t place) const { return places_[place]; }

 private:
  StableArray<AcceptedHeader> places_;
  std::uint32_t free_ = kNoneAccepted;
  std::uint32_t high_water_ = 0;
};

}  // namespace millrace
