// The XDP program's decision against its restatement for replay: millions of bytes of random packets, most of them nearly right,
// are given to the program in the kernel (BPF_PROG_TEST_RUN) and to selection.h and outbound_selection.h, and both must say the same.
#include "ports/outbound_selection.h"
#include "ports/selection.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <random>

#include "support/packet_builder.h"
#include "veth_lab.h"

namespace millrace::test {
namespace {

const std::string kServer = "10.0.2.11", kServer6 = "fd00:2::11", kClient = "198.51.100.7", kClient6 = "2001:db8:1::7";
const std::string kVip = "203.0.113.10", kVip6 = "2001:db8:f::10", kHost = "10.0.2.1", kHost6 = "fd00:2::1";

class Selection : public VethLab {
 protected:
  void prepare() {
    make_veth(1);
    Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
    ASSERT_TRUE(attached.ok()) << attached.error().message;
    attachment_ = std::move(attached).value();
    memory_ = make_memory(1);
    rings_ = std::make_unique<FrameReturnRings>(*memory_);
    worker_ = std::make_unique<TestWorker>(*memory_, *rings_, 0);
    open_port(*worker_, *attachment_, {0});
    const std::vector<IpAddress> owned = {address(kVip), address(kVip6)};
    const std::vector<IpAddress> kernel = {address(kHost), address(kHost6)};
    servers_ = {{address(kServer), be16(80), 6},    {address(kServer6), be16(80), 6},  {address(kServer), be16(53), 17},
                {address(kServer6), be16(53), 17},  {address(kServer), be16(0), 132},  {address(kServer), be16(0), 50},
                {address("10.0.2.12"), be16(0), 6}, {address("fd00:2::12"), be16(0), 17}};
    owned_.insert(owned.begin(), owned.end());
    ASSERT_TRUE(attachment_->set_kernel_addresses(kernel).ok());
    ASSERT_TRUE(attachment_->set_owned_addresses(owned).ok());
    ASSERT_TRUE(attachment_->set_nat_servers(servers_).ok());
    answers_ = AnswerSelection(servers_, kernel);
    program_ = bpf_prog_get_fd_by_id(probe("near").xdp_program->id);
    ASSERT_GE(program_, 0);
  }
  void TearDown() override {
    if (program_ >= 0) close(program_);
    worker_.reset();
    attachment_.reset();
    VethLab::TearDown();
  }

  /// What the program says of a frame; the kernel gives it at least an Ethernet header.
  bool program_wants(const Bytes& frame) const {
    xdp_md context{};
    context.data_end = static_cast<__u32>(frame.size());
    context.ingress_ifindex = if_nametoindex("near");
    Bytes out(frame.size() + 512);
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<__u32>(frame.size());
    options.data_out = out.data();
    options.data_size_out = static_cast<__u32>(out.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.repeat = 1;
    const int failed = bpf_prog_test_run_opts(program_, &options);
    EXPECT_EQ(failed, 0) << std::strerror(errno);
    return options.retval == XDP_REDIRECT;
  }
  bool selection_wants(const Bytes& frame) const {
    const auto destination = steerable_destination(frame);
    return (destination && owned_.contains(*destination)) || answers_.wants(frame) || outbound_.wants(frame, 0);
  }
  /// Packets of inside hosts that match one of these are for workers.
  void let_out(const std::vector<ServiceMatch>& rules) {
    ASSERT_TRUE(attachment_->set_outbound(rules).ok());
    const std::vector<IpAddress> kernel = {address(kHost), address(kHost6)};
    outbound_ = OutboundSelection(rules, kernel);
  }
  void agree_on_random_packets(std::uint64_t seed);
  void expect(bool wanted, const PacketBuilder& packet, const char* what) {
    const Bytes frame = packet.build();
    EXPECT_EQ(selection_wants(frame), wanted) << what;
    EXPECT_EQ(program_wants(frame), wanted) << what << ", in the kernel";
  }

  std::unique_ptr<XdpAttachment> attachment_;
  std::unique_ptr<PacketMemory> memory_;
  std::unique_ptr<FrameReturnRings> rings_;
  std::unique_ptr<TestWorker> worker_;
  std::vector<ServiceKey> servers_;
  std::unordered_set<IpAddress, AddressHash> owned_;
  AnswerSelection answers_;
  OutboundSelection outbound_;
  int program_ = -1;
};

PacketBuilder v4(const std::string& source, const std::string& destination) {
  PacketBuilder b;
  b.eth().ipv4({.source = source, .destination = destination});
  return b;
}
PacketBuilder v6(const std::string& source, const std::string& destination) {
  PacketBuilder b;
  b.eth().ipv6({.source = source, .destination = destination});
  return b;
}

TEST_F(Selection, AnswersOfNatServersAreForWorkersAndAllElseOfThatHostIsTheKernels) {
  prepare();
  expect(true, v4(kServer, kClient).tcp({.source_port = 80, .destination_port = 40000}), "an answer");
  expect(true, v6(kServer6, kClient6).udp({.source_port = 53, .destination_port = 40000}), "an answer over IPv6");
  expect(false, v4(kServer, kClient).tcp({.source_port = 22, .destination_port = 40000}), "another port");
  expect(false, v4(kServer, kClient).udp({.source_port = 80, .destination_port = 40000}), "another protocol");
  expect(false, v4("10.0.2.13", kClient).tcp({.source_port = 80, .destination_port = 40000}), "another host");
  expect(true, v4("10.0.2.12", kClient).tcp({.source_port = 5555, .destination_port = 40000}), "a server of any port");
  expect(true, v4(kServer, kClient).sctp({.source_port = 7, .chunks = {{.type = 2}}}), "SCTP of any port");
  expect(false, v4(kServer, kHost).tcp({.source_port = 80, .destination_port = 40000}), "the answer to a health check");
  expect(false, v6(kServer6, kHost6).udp({.source_port = 53, .destination_port = 40000}), "the same over IPv6");
  expect(true, v4(kServer, kVip).tcp({.source_port = 22, .destination_port = 80}), "a server that is a client of the VIP");
  PacketBuilder to_many;
  to_many.eth({.destination = "01:00:5e:00:00:01"}).ipv4({.source = kServer, .destination = "224.0.0.1"});
  expect(false, to_many.udp({.source_port = 53}), "what is sent to many");
  PacketBuilder tagged;
  tagged.eth().vlan({.id = 7}).ipv4({.source = kServer, .destination = kClient});
  expect(true, tagged.tcp({.source_port = 80}), "an answer inside a tag");
}

TEST_F(Selection, FragmentsOfNatServersAndErrorsAboutPacketsToThemAreForWorkers) {
  prepare();
  PacketBuilder fragment;
  fragment.eth().ipv4({.source = kServer, .destination = kClient, .fragment_offset = 10, .protocol = 17});
  expect(true, fragment.payload_of(16), "a later fragment");
  PacketBuilder foreign;
  foreign.eth().ipv4({.source = "10.0.2.13", .destination = kClient, .fragment_offset = 10, .protocol = 17});
  expect(false, foreign.payload_of(16), "a fragment of another host");
  expect(true, v6(kServer6, kClient6).extension({.kind = 44, .next_header = 17, .data = {0, 0x50, 0, 0, 0, 9}}).payload_of(16),
         "a later fragment over IPv6");

  const auto quote4 = [](const std::string& from, const std::string& to, std::uint16_t port) {
    const Bytes frame = v4(from, to).tcp({.source_port = 40000, .destination_port = port}).build();
    return Bytes(frame.begin() + 14, frame.begin() + 14 + 28);
  };
  expect(true, v4("10.9.9.9", kClient).icmp({.type = 3, .code = 4}).payload(quote4(kClient, kServer, 80)), "a router's error");
  expect(false, v4("10.9.9.9", kClient).icmp({.type = 3, .code = 4}).payload(quote4(kClient, kServer, 81)), "about another port");
  expect(false, v4("10.9.9.9", kClient).icmp({.type = 3}).payload(quote4("198.51.100.8", kServer, 80)), "for another client");
  expect(false, v4("10.9.9.9", kClient).icmp({.type = 5}).payload(quote4(kClient, kServer, 80)), "a redirect");
  const Bytes six = v6(kClient6, kServer6).udp({.source_port = 40000, .destination_port = 53}).build();
  expect(true, v6("fd00:9::9", kClient6).icmp({.type = 2}).payload(Bytes(six.begin() + 14, six.end())), "an ICMPv6 error");
}

TEST_F(Selection, WithoutNatServersNothingButOwnedAddressesIsForWorkers) {
  prepare();
  ASSERT_TRUE(attachment_->set_nat_servers({}).ok());
  answers_ = AnswerSelection();
  expect(false, v4(kServer, kClient).tcp({.source_port = 80, .destination_port = 40000}), "an answer");
  expect(true, v4(kClient, kVip).tcp({.destination_port = 80}), "a request");
}

ServiceMatch rule(const std::string& source, const std::string& destination, std::uint8_t protocol = 0, PortRange ports = {}) {
  const auto prefix = [](const std::string& text) {
    bool valid = false;
    const Prefix parsed = Prefix::parse(text, valid);
    EXPECT_TRUE(valid) << text;
    return parsed;
  };
  return {prefix(source), prefix(destination), ports, protocol, kAnyInterface};
}

TEST_F(Selection, WhatARuleOfTheOutboundGatewayTakesIsForWorkersAndNothingElse) {
  prepare();
  let_out({rule("10.0.2.0/24", "198.51.100.0/24", 6, {80, 89}), rule("fd00:2::/64", "::/0"), rule("10.0.2.14", "0.0.0.0/0")});
  const std::string host = "10.0.2.13", all = "10.0.2.14", host6 = "fd00:2::13";
  expect(true, v4(host, kClient).tcp({.source_port = 40000, .destination_port = 80}), "the first port of a range");
  expect(true, v4(host, kClient).tcp({.source_port = 40000, .destination_port = 89}), "the last one");
  expect(false, v4(host, kClient).tcp({.source_port = 40000, .destination_port = 90}), "the one behind it");
  expect(false, v4(host, kClient).udp({.source_port = 40000, .destination_port = 80}), "another protocol");
  expect(false, v4(host, "198.51.101.1").tcp({.source_port = 40000, .destination_port = 80}), "another destination");
  expect(false, v4("10.0.3.13", kClient).tcp({.source_port = 40000, .destination_port = 80}), "another source");
  expect(false, v4(all, kHost).tcp({.source_port = 40000, .destination_port = 80}), "the balancer's own address");
  expect(true, v4(all, "192.0.2.1").icmp({.type = 8}), "echo");
  expect(false, v4(all, "192.0.2.1").icmp({.type = 0}), "an echo reply");
  expect(false, v4(host, kClient).icmp({.type = 8}), "echo, where the rule has ports");
  expect(true, v4(host, kClient).icmp({.type = 3}), "an error, which its session decides about");
  expect(false, v4(all, "192.0.2.1").sctp({.source_port = 7, .chunks = {{.type = 1}}}), "SCTP");
  expect(true, v6(host6, kClient6).udp({.source_port = 40000, .destination_port = 53}), "over IPv6");
  expect(true, v6(host6, kClient6).icmp({.type = 128}), "echo over IPv6");
  expect(false, v6(host6, kClient6).icmp({.type = 135}), "neighbour discovery");
  expect(false, v6(host6, kHost6).udp({.source_port = 40000, .destination_port = 53}), "the balancer's own address over IPv6");
  expect(true, v6(host6, kClient6).extension({.kind = 44, .next_header = 17, .data = {0, 0x50, 0, 0, 0, 9}}).payload_of(16),
         "a later fragment over IPv6");
  let_out({rule("10.0.2.14", "0.0.0.0/0", 17)});
  expect(false, v4(host, kClient).tcp({.source_port = 40000, .destination_port = 80}), "a rule that has gone");
  expect(true, v4(all, kClient).udp({.source_port = 40000, .destination_port = 80}), "one that has come");
  let_out({});
  expect(false, v4(all, kClient).udp({.source_port = 40000, .destination_port = 80}), "no rules");
}

TEST_F(Selection, TheProgramAndItsRestatementAgreeOnRandomPackets) {
  prepare();
  agree_on_random_packets(20260726);
}

TEST_F(Selection, TheyAgreeOnRandomPacketsWhereThereAreRulesOfTheOutboundGateway) {
  prepare();
  let_out({rule("10.0.2.0/24", "198.51.100.0/24", 6, {53, 80}), rule("10.0.2.13", "0.0.0.0/0", 17), rule("10.0.2.12", "198.51.100.7", 1),
           rule("fd00:2::/64", "2001:db8:1::/48", 17, {22, 22}), rule("fd00:2::13", "::/0")});
  agree_on_random_packets(20261125);
}

void Selection::agree_on_random_packets(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](const auto& list) { return list[random() % std::size(list)]; };
  const std::string sources[] = {kServer, "10.0.2.12", "10.0.2.13", kClient}, destinations[] = {kClient, kVip, kHost, kServer};
  const std::string sources6[] = {kServer6, "fd00:2::12", "fd00:2::13", kClient6};
  const std::string destinations6[] = {kClient6, kVip6, kHost6, kServer6};
  const std::uint8_t protocols[] = {6, 17, 132, 50, 51, 1, 58, 44, 0};
  const std::uint16_t ports[] = {80, 53, 22, 0, 40000};
  std::uint32_t wanted = 0;
  constexpr int kPackets = 20000;
  for (int i = 0; i < kPackets; i++) {
    const bool six = random() % 2 != 0, quoted = random() % 3 == 0;
    const auto transport = [&](PacketBuilder& b) {
      Bytes bytes;
      packet_detail::put16(bytes, pick(ports));
      packet_detail::put16(bytes, pick(ports));
      bytes.resize(4 + random() % 40);
      b.payload(bytes);
    };
    const auto head = [&](PacketBuilder& b, bool error) {
      const std::uint8_t protocol = error ? std::uint8_t(six ? 58 : 1) : pick(protocols);
      if (six) {
        b.ipv6({.source = pick(sources6), .destination = pick(destinations6), .next_header = protocol});
      } else {
        b.ipv4({.source = pick(sources), .destination = pick(destinations), .more_fragments = random() % 8 == 0,
                .fragment_offset = static_cast<std::uint16_t>(random() % 8 == 0 ? 5 : 0), .protocol = protocol,
                .options = Bytes(random() % 3 * 4, 1)});
      }
    };
    PacketBuilder inner;
    head(inner, false);
    transport(inner);
    PacketBuilder b;
    b.eth({.destination = random() % 16 == 0 ? "03:00:00:00:00:01" : "02:00:00:00:00:01"});
    for (std::uint64_t tags = random() % 4; tags > 1; tags--) b.vlan({.id = 5});
    head(b, quoted);
    if (quoted) {
      b.icmp({.type = static_cast<std::uint8_t>(random() % 14 == 0 ? 128 : random() % 14)}).payload(inner.build());
    } else {
      transport(b);
    }
    Bytes frame = b.build();
    if (random() % 4 == 0) frame.resize(std::max<std::size_t>(14, random() % frame.size()));
    if (random() % 8 == 0) frame[12 + random() % (frame.size() - 12)] ^= static_cast<std::uint8_t>(1u << random() % 8);
    const bool mine = selection_wants(frame);
    wanted += mine ? 1 : 0;
    ASSERT_EQ(program_wants(frame), mine) << "packet " << i;
  }
  EXPECT_GT(wanted, kPackets / 20u);
  EXPECT_LT(wanted, kPackets * 19u / 20u);
}

}  // namespace
}  // namespace millrace::test
