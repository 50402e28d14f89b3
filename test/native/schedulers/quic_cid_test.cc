// quic-cid: ids of both formats, headers of several versions, everything that must not be read, and what becomes of unknown ids.
#include "schedulers/quic_cid.h"

#include <gtest/gtest.h>

#include "schedulers/service.h"

namespace millrace {
namespace {

using test::Scheduling;
using test::Service;
using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

Bytes short_header(const std::string& id) { return from_hex("43" + id + "00112233445566778899aabbccddeeff"); }

Bytes long_header(int first, const std::string& version, const std::string& id) {
  Bytes bytes = from_hex("00" + version + "00" + id + "00");
  bytes[0] = static_cast<std::uint8_t>(first);
  bytes[5] = static_cast<std::uint8_t>(id.size() / 2);
  return bytes;
}

constexpr const char* kVersion1 = "00000001";
constexpr const char* kVersion2 = "6b3343cf";
constexpr int kHandshake = 0xe0;  // long header, version 1, type 2

class QuicCid : public testing::Test {
 protected:
  explicit QuicCid(ConnectionIdFormat format = ConnectionIdFormat::kDpvs) : service_("quic-cid", options(format)) {
    scheduling_.asked().protocol = 17;
  }
  static SchedulerOptions options(ConnectionIdFormat format) {
    SchedulerOptions chosen;
    chosen.connection_id = format;
    return chosen;
  }
  std::int64_t server_of(const Bytes& payload) {
    scheduling_.asked().payload = payload;
    return scheduling_.pick(*table_);
  }
  void publish() { table_ = &service_.published(); }
  /// The server of a packet without a known id.
  std::int64_t hashed() { return server_of({}); }

  Service service_;
  Scheduling scheduling_;
  const ServiceTable* table_ = nullptr;
};

class DpvsIds : public QuicCid {
 protected:
  DpvsIds() {
    service_.on_port(8029);
    for (ServerSlot slot = 1; slot <= 30; slot++) service_.add(slot, 1);
    publish();
    other_ = hashed() == 20 ? 21 : 20;
  }
  /// The id of a server 10.0.2.(10 + slot) with so many bytes of its address.
  static std::string id_of(std::int64_t slot, int length, bool port) {
    const std::string tail = std::string("0a0002") + "0123456789abcdef"[(10 + slot) / 16] + "0123456789abcdef"[(10 + slot) % 16];
    const std::string nibble(1, "0123456789abcdef"[(length - 1) * 2 + (port ? 1 : 0)]);
    return "a5" + nibble + tail.substr(static_cast<std::size_t>(8 - 2 * length)) + (port ? "1f5d" : "") + "b0123456789ab";
  }
  std::int64_t other_ = 0;  // a server that the hash does not choose
};

TEST_F(DpvsIds, NameTheServerByTheEndOfItsAddress) {
  for (const int length : {1, 2, 3, 4}) {
    for (const bool port : {false, true}) {
      EXPECT_EQ(server_of(short_header(id_of(other_, length, port))), other_) << length << port;
      EXPECT_EQ(server_of(long_header(kHandshake, kVersion1, id_of(other_, length, port))), other_) << length << port;
    }
  }
}

TEST_F(DpvsIds, AreReadAsDpvsDocumentsThem) {
  // From include/ipvs/quic.h: 192.168.111.222:8029 with two bytes of the address and the port.
  const BuildServer server{test::address("192.168.111.222"), be16(8029), 1, 1, 0};
  SchedulerTable table;
  QuicConnectionId::build(std::span(&server, 1), options(ConnectionIdFormat::kDpvs), table);
  EXPECT_EQ(QuicConnectionId::find(table, ConnectionIdFormat::kDpvs, short_header("a536fde1f5d123456789")), 0);
  EXPECT_EQ(QuicConnectionId::find(table, ConnectionIdFormat::kDpvs, short_header("a536fde1f5e123456789")), -1) << "another port";
  EXPECT_EQ(QuicConnectionId::find(table, ConnectionIdFormat::kDpvs, short_header("a536fdd1f5d123456789")), -1)
      << "another address";
}

TEST_F(DpvsIds, OfIpv6ServersHaveUpToEightBytes) {
  const BuildServer server{test::address("2001:db8::1122:3344:5566:7788"), be16(443), 1, 1, 0};
  SchedulerTable table;
  QuicConnectionId::build(std::span(&server, 1), options(ConnectionIdFormat::kDpvs), table);
  EXPECT_EQ(QuicConnectionId::find(table, ConnectionIdFormat::kDpvs, short_header("a5e1122334455667788b012345678")), 0);
  EXPECT_EQ(QuicConnectionId::find(table, ConnectionIdFormat::kDpvs, short_header("a5e1122334455667789b012345678")), -1);
}

TEST_F(DpvsIds, LeadToADrainedAndToAnOverloadedServerBecauseTheConnectionIsOld) {
  service_.edit(static_cast<ServerSlot>(other_), 0);
  publish();
  EXPECT_EQ(server_of(short_header(id_of(other_, 2, true))), other_);
  scheduling_.loads().set_overloaded(static_cast<ServerSlot>(other_), true);
  EXPECT_EQ(server_of(short_header(id_of(other_, 2, true))), other_);
  service_.remove(static_cast<ServerSlot>(other_));
  publish();
  EXPECT_EQ(server_of(short_header(id_of(other_, 2, true))), hashed()) << "gone";
}

TEST_F(DpvsIds, FromTheClientAreNotBelieved) {
  const std::string id = id_of(other_, 2, true);
  for (const int first : {0xc0, 0xd0}) EXPECT_EQ(server_of(long_header(first, kVersion1, id)), hashed()) << "Initial, 0-RTT";
  for (const int first : {0xe0, 0xf0}) EXPECT_EQ(server_of(long_header(first, kVersion1, id)), other_);
  for (const int first : {0xd0, 0xe0}) EXPECT_EQ(server_of(long_header(first, kVersion2, id)), hashed()) << "Initial, 0-RTT";
  for (const int first : {0xc0, 0xf0}) EXPECT_EQ(server_of(long_header(first, kVersion2, id)), other_);
  EXPECT_EQ(server_of(long_header(kHandshake, "ff00001d", id)), hashed()) << "a version whose types nobody knows";
}

TEST_F(DpvsIds, ThatAreCutShortAreUnknown) {
  const std::string id = id_of(other_, 2, true);
  const Bytes whole = long_header(kHandshake, kVersion1, id);
  const std::size_t needed = 6 + id.size() / 2;
  for (std::size_t length = 0; length <= whole.size(); length++) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_EQ(server_of(cut), length >= needed ? other_ : hashed()) << length;
  }
  Bytes shorter = short_header(id);
  shorter.resize(1 + 10);  // 2 + 2 + 6 bytes are the shortest id with two bytes of address and a port
  EXPECT_EQ(server_of(shorter), other_);
  shorter.pop_back();
  EXPECT_EQ(server_of(shorter), hashed());
}

class KatranIds : public QuicCid {
 protected:
  KatranIds() : QuicCid(ConnectionIdFormat::kKatran) {
    for (ServerSlot slot = 1; slot <= 30; slot++) service_.add(slot, 1);
    service_.number(1, 1024);
    service_.number(2, 1026);
    service_.number(3, 0x123456);
    service_.number(4, 0xdeadbeef);
    publish();
  }
};

TEST_F(KatranIds, HaveThreeVersions) {
  EXPECT_EQ(server_of(short_header("4100030405060708")), 1);
  EXPECT_EQ(server_of(short_header("4100830405060708")), 2);
  EXPECT_EQ(server_of(short_header("8012345678900112")), 3);
  EXPECT_EQ(server_of(short_header("c0deadbeef001122")), 4);
  EXPECT_EQ(server_of(long_header(kHandshake, kVersion1, "4100830405060708")), 2);
}

TEST_F(KatranIds, OfUnknownVersionNumberOrLengthAreHashed) {
  const std::int64_t other = hashed();
  EXPECT_EQ(server_of(short_header("0100030405060708")), other);
  EXPECT_EQ(server_of(short_header("4000000405060708")), other) << "0 is no server";
  EXPECT_EQ(server_of(short_header("8012345778900112")), other);
  EXPECT_EQ(server_of(long_header(kHandshake, kVersion1, "41008304050607")), other) << "seven bytes";
}

TEST(QuicHeader, KeepsWithinAnyPayload) {
  std::mt19937 random(3);
  for (int i = 0; i < 20000; i++) {
    Bytes payload(random() % 40);
    for (std::uint8_t& byte : payload) byte = static_cast<std::uint8_t>(random());
    const auto destination = quic_destination(payload);
    if (!destination || destination->id.empty()) continue;
    ASSERT_GE(destination->id.data(), payload.data() + 1);
    ASSERT_LE(destination->id.data() + destination->id.size(), payload.data() + payload.size());
    ASSERT_TRUE(destination->long_header || destination->id.size() <= kMaxQuicId);
  }
}

}  // namespace
}  // namespace millrace
