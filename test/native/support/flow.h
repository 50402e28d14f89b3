// Flow: the packets of one flow by their fields, and what translation must make of them. Expected packets are built anew from these
// fields, so that their checksums owe nothing to the product. Thread: any. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/stage.h"

namespace millrace::test {

inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

/// Everything a packet of a flow is made of; build() makes the frame.
struct Flow {
  bool six = false;
  bool tcp = true;
  std::string source = "198.51.100.7";
  std::string destination = kVip;
  std::uint16_t source_port = 40000;
  std::uint16_t destination_port = 80;
  std::string eth_source = "02:00:00:00:00:0c";
  std::string eth_destination = "02:00:00:00:00:01";
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0;
  bool dont_fragment = false;
  Bytes ip_options{};
  std::uint8_t flags = kSyn;
  std::uint32_t seq = 1;
  std::uint32_t ack = 0;
  std::uint16_t window = 1000;
  std::vector<Bytes> tcp_options{};
  std::uint16_t checksum_error = 0;
  bool no_udp_checksum = false;
  Bytes payload{};

  Bytes build() const {
    PacketBuilder b;
    b.eth({.source = eth_source, .destination = eth_destination});
    if (six) {
      b.ipv6({.source = source, .destination = destination, .traffic_class = tos, .flow_label = id, .hop_limit = ttl});
    } else {
      b.ipv4({.source = source, .destination = destination, .tos = tos, .id = id, .dont_fragment = dont_fragment, .ttl = ttl,
              .options = ip_options});
    }
    if (tcp) {
      b.tcp({.source_port = source_port, .destination_port = destination_port, .seq = seq, .ack = ack, .flags = flags,
             .window = window, .options = tcp_options, .checksum_error = checksum_error});
    } else {
      UdpFields udp{.source_port = source_port, .destination_port = destination_port, .checksum_error = checksum_error};
      if (no_udp_checksum) udp.checksum = std::uint16_t{0};
      b.udp(udp);
    }
    return b.payload(payload).build();
  }
};

inline Flow flow6() {
  Flow f;
  f.six = true;
  f.source = "2001:db8:1::7";
  f.destination = kVip6;
  return f;
}

inline std::uint16_t read16(const Bytes& bytes, std::size_t at) { return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
inline std::string address_at(const Bytes& bytes, std::size_t at, bool six) {
  IpAddress address;
  if (six) {
    address = IpAddress::v6(bytes.data() + at);
  } else {
    std::uint32_t raw;
    std::memcpy(&raw, bytes.data() + at, 4);
    address = IpAddress::v4(be32::from_raw(raw));
  }
  return address.to_string();
}
inline std::size_t l4_of(const Flow& f) { return f.six ? 54 : 34 + (f.ip_options.size() + 3) / 4 * 4; }

/// What a packet of the client becomes on the server's side, the choice of server and local port being the pipeline's.
inline Flow towards_server(const Flow& in, const Bytes& out) {
  Flow f = in;
  f.eth_source = "02:00:00:00:00:02";
  f.source = address_at(out, in.six ? 22 : 26, in.six);
  f.destination = address_at(out, in.six ? 38 : 30, in.six);
  f.eth_destination = "02:00:00:00:02:" + f.destination.substr(f.destination.size() - 2);
  f.source_port = read16(out, l4_of(in));
  f.destination_port = in.tcp ? 8080 : 5353;
  f.ttl--;
  return f;
}
/// A reply of that server, and what it must become for the client.
inline Flow reply_of(const Flow& at_server) {
  Flow f = at_server;
  std::swap(f.source, f.destination);
  std::swap(f.source_port, f.destination_port);
  std::swap(f.eth_source, f.eth_destination);
  return f;
}
inline Flow towards_client(const Flow& reply, const Flow& request) {
  Flow f = reply;
  f.source = request.destination;
  f.source_port = request.destination_port;
  f.destination = request.source;
  f.destination_port = request.source_port;
  f.eth_source = "02:00:00:00:00:01";
  f.eth_destination = "02:00:00:00:00:0c";
  f.ttl--;
  return f;
}

/// Sends a request and expects it at a server; returns it as the server sees it.
inline Flow expect_forwarded(Stage& stage, const Flow& request, std::uint32_t worker = 0) {
  const std::vector<Sent> sent = stage.pass_through(request.build(), kClientSide, worker);
  EXPECT_EQ(sent.size(), 1u);
  if (sent.size() != 1) return request;
  EXPECT_EQ(sent[0].interface, kServerSide);
  const Flow expected = towards_server(request, sent[0].bytes);
  EXPECT_EQ(sent[0].bytes, expected.build());
  return expected;
}
inline void expect_returned(Stage& stage, const Flow& reply, const Flow& request, std::uint32_t worker = 0) {
  const std::vector<Sent> sent = stage.pass_through(reply.build(), kServerSide, worker);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].interface, kClientSide);
  EXPECT_EQ(sent[0].bytes, towards_client(reply, request).build());
}
inline void expect_dropped(Stage& stage, const Bytes& frame, DropReason reason, std::uint16_t interface = kClientSide) {
  const std::uint64_t before = stage.count(reason);
  EXPECT_TRUE(stage.pass_through(frame, interface).empty());
  EXPECT_EQ(stage.count(reason), before + 1) << kCounterInfo[kPlainCounters + static_cast<std::size_t>(reason)].name;
}
/// Dropped, and the client hears of it by one ICMPv4 error from the address that it sent to.
inline void expect_refused(Stage& stage, const Bytes& frame, DropReason reason, std::uint8_t type, std::uint8_t code) {
  const std::uint64_t before = stage.count(reason);
  const std::vector<Sent> sent = stage.pass_through(frame, kClientSide);
  EXPECT_EQ(stage.count(reason), before + 1) << kCounterInfo[kPlainCounters + static_cast<std::size_t>(reason)].name;
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].interface, kClientSide);
  const Bytes& error = sent[0].bytes;
  ASSERT_GT(error.size(), 62u);
  EXPECT_EQ(error[23], 1);
  EXPECT_EQ(Bytes(error.begin() + 26, error.begin() + 30), Bytes(frame.begin() + 30, frame.begin() + 34));
  EXPECT_EQ(Bytes(error.begin() + 30, error.begin() + 34), Bytes(frame.begin() + 26, frame.begin() + 30));
  EXPECT_EQ(error[34], type);
  EXPECT_EQ(error[35], code);
  EXPECT_EQ(Bytes(error.begin() + 42, error.begin() + 62), Bytes(frame.begin() + 14, frame.begin() + 34)) << "the quoted header";
}
inline Flow from_port(std::uint16_t port, bool tcp = true) {
  Flow f;
  f.tcp = tcp;
  f.source_port = port;
  f.destination_port = tcp ? 80 : 53;
  return f;
}

}  // namespace millrace::test
