// Attaching and everything that must be refused, on real interfaces in a namespace of the test's own.
#include "ports/xdp_attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <signal.h>
#include <sys/wait.h>

#include "veth_lab.h"

namespace millrace::test {
namespace {

using XdpAttachmentTest = VethLab;

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(XdpAttachmentTest, AttachesInNativeModeAndDetachesWithTheObject) {
  make_veth(2);
  {
    const Result<std::unique_ptr<XdpAttachment>> attached = attach(2);
    ASSERT_TRUE(attached.ok()) << attached.error().message;
    EXPECT_EQ(XdpMode::kNative, attached.value()->mode());
    EXPECT_EQ(2u, attached.value()->queues());
    EXPECT_EQ("", attached.value()->fallback_reason());
    const InterfaceProbe now = probe("near");
    ASSERT_TRUE(now.xdp_program.has_value());
    EXPECT_EQ("millrace_xdp", now.xdp_program->name);
    EXPECT_EQ(XdpMode::kNative, now.xdp_program->mode);
  }
  EXPECT_FALSE(probe("near").xdp_program.has_value());
  EXPECT_TRUE(attach(2).ok()) << "free again";
}

TEST_F(XdpAttachmentTest, AKilledProcessLeavesNeitherProgramNorLock) {
  make_veth(1);
  int ready[2];
  ASSERT_EQ(0, pipe(ready));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
    const char ok = attached.ok() ? 'y' : 'n';
    (void)!write(ready[1], &ok, 1);
    pause();
    _exit(0);
  }
  char ok = 0;
  ASSERT_EQ(1, read(ready[0], &ok, 1));
  ASSERT_EQ('y', ok);
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_busy", refused.error().code);
  EXPECT_TRUE(mentions(refused.error().message, std::to_string(child))) << refused.error().message;
  ASSERT_EQ(0, kill(child, SIGKILL));
  ASSERT_EQ(child, waitpid(child, nullptr, 0));
  close(ready[0]);
  close(ready[1]);
  const Result<std::unique_ptr<XdpAttachment>> again = attach(1);
  EXPECT_TRUE(again.ok()) << again.error().message;
}

TEST_F(XdpAttachmentTest, ASecondMillraceOnTheSameInterfaceLearnsWhoHoldsItHoweverOftenItTries) {
  make_veth(1);
  const Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  for (int i = 0; i < 200; i++) {
    const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
    ASSERT_FALSE(refused.ok());
    ASSERT_EQ("interface_busy", refused.error().code);
    ASSERT_TRUE(mentions(refused.error().message, "process id " + std::to_string(getpid())))
        << i << ": " << refused.error().message;
    // Reading the counters is what the control side does all the time.
    (void)attached.value()->counters();
  }
}

TEST_F(XdpAttachmentTest, AForeignXdpProgramIsRefusedByIdNameAndModeWithTheWayToRemoveIt) {
  make_veth(1);
  run("ip link add other type veth peer name other2");
  for (const char* mode : {"native", "skb"}) {
    SCOPED_TRACE(mode);
    const bool native = std::string(mode) == "native";
    bpf_insn code[2]{};
    code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    code[0].imm = XDP_PASS;
    code[1].code = BPF_JMP | BPF_EXIT;
    const int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebody_else", "GPL", code, 2, nullptr);
    ASSERT_GE(program, 0);
    const auto index = static_cast<int>(if_nametoindex("near"));
    ASSERT_EQ(0, bpf_xdp_attach(index, program, native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE, nullptr));
    close(program);
    const InterfaceProbe found = probe("near");
    ASSERT_TRUE(found.xdp_program.has_value());
    const Result<std::unique_ptr<XdpAttachment>> refused = attach(1, AttachMode::kAuto);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ("interface_has_xdp", refused.error().code);
    const std::string& message = refused.error().message;
    EXPECT_TRUE(mentions(message, "id " + std::to_string(found.xdp_program->id))) << message;
    EXPECT_TRUE(mentions(message, "somebody_else")) << message;
    EXPECT_TRUE(mentions(message, std::string(mode) + " mode")) << message;
    const std::string remedy = std::string("ip link set dev near ") + (native ? "xdpdrv" : "xdpgeneric") + " off";
    ASSERT_TRUE(mentions(message, remedy)) << message;
    run(remedy);
    const Result<std::unique_ptr<XdpAttachment>> attached = attach(1, AttachMode::kAuto);
    EXPECT_TRUE(attached.ok()) << "the remedy of the message must work: " << attached.error().message;
  }
}

TEST_F(XdpAttachmentTest, AnInterfaceThatDoesNotExistIsRefusedWithThoseThatDo) {
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_not_found", refused.error().code);
  EXPECT_TRUE(mentions(refused.error().message, "lo")) << refused.error().message;
}

TEST_F(XdpAttachmentTest, AnInterfaceThatIsDownIsRefusedWithTheCommand) {
  make_veth(1);
  run("ip link set near down");
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_down", refused.error().code);
  EXPECT_TRUE(mentions(refused.error().message, "`ip link set dev near up`")) << refused.error().message;
}

TEST_F(XdpAttachmentTest, AMemberOfABridgeIsRefusedByTheBridgesName) {
  make_veth(1);
  run("ip link add lan-bridge type bridge && ip link set near master lan-bridge");
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_is_member", refused.error().code);
  EXPECT_TRUE(mentions(refused.error().message, "bridge lan-bridge")) << refused.error().message;
}

TEST_F(XdpAttachmentTest, AnMtuBeyondOneFrameIsRefusedAndTheLargestThatTheMessageNamesWorks) {
  make_veth(1);
  run("ip link set near mtu 1771 && ip link set far mtu 1771");
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_mtu_too_large", refused.error().code);
  const std::string remedy = "ip link set dev near mtu 1770";
  ASSERT_TRUE(mentions(refused.error().message, remedy)) << refused.error().message;
  run(remedy);
  EXPECT_TRUE(attach(1).ok());
}

TEST_F(XdpAttachmentTest, TheLargestTaggedPacketOfTheLargestMtuFitsIntoAFrame) {
  make_veth(1);
  run("ip link set near mtu 1770 && ip link set far mtu 1770");
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, *attached.value(), {0});
  const IpAddress vip = address("203.0.113.10");
  ASSERT_TRUE(attached.value()->set_owned_addresses(std::span(&vip, 1)).ok());
  PacketSocket wire("far");
  const Bytes frame = udp4("203.0.113.10", 9, 1770 - 36, {0x8100});
  // A veth lets one tag pass beyond its MTU, not two.
  ASSERT_EQ(1770u + 14u + 4u, frame.size());
  wire.send(frame);
  Batch batch;
  ASSERT_TRUE(wait_until({worker.port->descriptors()[0]}, [&] { return worker.port->receive(batch) != 0; }));
  EXPECT_EQ(frame, Bytes(batch.packets[0].data, batch.packets[0].data + batch.packets[0].length));
}

TEST_F(XdpAttachmentTest, FewerQueuesThanWorkersAreRefusedAndMoreAreFine) {
  make_veth(2);
  const Result<std::unique_ptr<XdpAttachment>> refused = attach(3);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_queues_too_few", refused.error().code);
  EXPECT_TRUE(mentions(refused.error().message, "ethtool -L near")) << refused.error().message;
  EXPECT_TRUE(attach(1).ok());
}

TEST_F(XdpAttachmentTest, WhereNativeModeIsImpossibleAutoTakesSkbModeAndSaysWhy) {
  // A veth refuses native XDP while its peer has more transmit queues than it has receive queues.
  run("ip link add near numtxqueues 1 numrxqueues 1 type veth peer name far numtxqueues 2 numrxqueues 2 && ip link set near up "
      "&& "
      "ip link set far up");
  const Result<std::unique_ptr<XdpAttachment>> native = attach(1, AttachMode::kNative);
  ASSERT_FALSE(native.ok());
  EXPECT_EQ("xdp_unsupported", native.error().code);
  const Result<std::unique_ptr<XdpAttachment>> automatic = attach(1, AttachMode::kAuto);
  ASSERT_TRUE(automatic.ok()) << automatic.error().message;
  EXPECT_EQ(XdpMode::kSkb, automatic.value()->mode());
  EXPECT_TRUE(mentions(automatic.value()->fallback_reason(), "native mode")) << automatic.value()->fallback_reason();
  ASSERT_TRUE(probe("near").xdp_program.has_value());
  EXPECT_EQ(XdpMode::kSkb, probe("near").xdp_program->mode);
}

TEST_F(XdpAttachmentTest, OwnedAddressesComeAndGoWithoutTouchingTheOthers) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  XdpAttachment& attachment = *attached.value();
  const std::unique_ptr<PacketMemory> memory = make_memory(1);
  FrameReturnRings rings(*memory);
  TestWorker worker(*memory, rings, 0);
  open_port(worker, attachment, {0});
  PacketSocket wire("far");
  PacketSocket kernel("near");
  const auto reaches_worker = [&](const char* destination) {
    wire.send(udp4(destination, 1));
    Batch batch;
    bool passed = false;
    EXPECT_TRUE(wait_until({worker.port->descriptors()[0], kernel.fd()}, [&] {
      worker.port->receive(batch);
      passed = kernel.receive_now().has_value();
      return batch.count != 0 || passed;
    }));
    for (std::uint32_t i = 0; i < batch.count; i++) worker.pool.release(batch.packets[i].data);
    worker.port->flush();
    return batch.count == 1;
  };
  const auto set = [&](std::initializer_list<const char*> texts) {
    std::vector<IpAddress> addresses;
    for (const char* text : texts) addresses.push_back(address(text));
    const Result<void> result = attachment.set_owned_addresses(addresses);
    EXPECT_TRUE(result.ok()) << result.error().message;
  };
  EXPECT_FALSE(reaches_worker("203.0.113.1"));
  set({"203.0.113.1", "203.0.113.2", "203.0.113.2"});
  EXPECT_TRUE(reaches_worker("203.0.113.1"));
  EXPECT_TRUE(reaches_worker("203.0.113.2"));
  set({"203.0.113.3", "203.0.113.2"});
  EXPECT_FALSE(reaches_worker("203.0.113.1"));
  EXPECT_TRUE(reaches_worker("203.0.113.2"));
  EXPECT_TRUE(reaches_worker("203.0.113.3"));
  set({});
  EXPECT_FALSE(reaches_worker("203.0.113.2"));

  // Prefixes: all of their addresses, but for those that the kernel holds.
  const auto set_prefixes = [&](std::initializer_list<const char*> texts) {
    std::vector<Prefix> prefixes;
    bool ok = false;
    for (const char* text : texts) prefixes.push_back(Prefix::parse(text, ok));
    const IpAddress kernel_address = address("203.0.113.77");
    const Result<void> result = attachment.set_owned_prefixes(prefixes, std::span(&kernel_address, 1));
    EXPECT_TRUE(result.ok()) << result.error().message;
  };
  set_prefixes({"203.0.113.0/24", "203.0.112.0/25"});
  EXPECT_TRUE(reaches_worker("203.0.113.0"));
  EXPECT_TRUE(reaches_worker("203.0.113.255"));
  EXPECT_TRUE(reaches_worker("203.0.112.127"));
  EXPECT_FALSE(reaches_worker("203.0.112.128"));
  EXPECT_FALSE(reaches_worker("203.0.113.77")) << "an address of the kernel";
  set_prefixes({"203.0.112.0/25"});
  EXPECT_FALSE(reaches_worker("203.0.113.1"));
  EXPECT_TRUE(reaches_worker("203.0.112.1"));
  set_prefixes({});
  EXPECT_FALSE(reaches_worker("203.0.112.1"));
}

TEST_F(XdpAttachmentTest, TheWholeTableOfAddressesCanBeReplacedAndOneMoreIsRefused) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const auto range = [](std::uint32_t first, std::uint32_t count) {
    std::vector<IpAddress> addresses;
    for (std::uint32_t i = 0; i < count; i++) addresses.push_back(IpAddress::v4(be32(first + i)));
    return addresses;
  };
  const Result<void> full = attached.value()->set_owned_addresses(range(0x0a000000, XdpAttachment::kMaxAddresses));
  EXPECT_TRUE(full.ok()) << full.error().message;
  const Result<void> replaced = attached.value()->set_owned_addresses(range(0x14000000, XdpAttachment::kMaxAddresses));
  EXPECT_TRUE(replaced.ok()) << replaced.error().message;
  const Result<void> beyond = attached.value()->set_owned_addresses(range(0x0a000000, XdpAttachment::kMaxAddresses + 1));
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ("limit_exceeded", beyond.error().code);
}

TEST_F(XdpAttachmentTest, ASocketForAQueueThatTheInterfaceLacksIsRefused) {
  make_veth(1);
  Result<std::unique_ptr<XdpAttachment>> attached = attach(1);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  const Result<void> refused = attached.value()->set_socket(1, 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ("interface_queues_too_few", refused.error().code);
}

}  // namespace
}  // namespace millrace::test
