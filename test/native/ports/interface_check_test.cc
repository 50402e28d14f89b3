// What is refused and in which words, from made-up facts: also for devices that this machine does not have.
#include "ports/interface_check.h"

#include <gtest/gtest.h>
#include <linux/capability.h>

#include <cerrno>
#include <vector>

namespace millrace {
namespace {

InterfaceProbe usable() {
  InterfaceProbe probe;
  probe.name = "eth0";
  probe.index = 2;
  probe.driver = "mlx5_core";
  probe.mtu = 1500;
  probe.up = true;
  probe.carrier = true;
  probe.rx_queues = 4;
  probe.tx_queues = 4;
  probe.xdp_features = XdpFeatures{true, true, true};
  return probe;
}

std::string code_of(const InterfaceProbe& probe, const InterfaceNeeds& needs = {}) {
  const Result<void> result = check_interface(probe, needs);
  return result.ok() ? "" : result.error().code;
}

std::string message_of(const InterfaceProbe& probe, const InterfaceNeeds& needs = {}) {
  const Result<void> result = check_interface(probe, needs);
  return result.ok() ? "" : result.error().message;
}

void expect_mentions(const std::string& message, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(std::string::npos, message.find(part)) << "'" << part << "' in: " << message;
}

TEST(InterfaceCheck, APlainInterfaceIsAcceptedWithAsManyOrMoreQueuesThanWorkers) {
  for (const std::uint32_t workers : {1u, 3u, 4u}) EXPECT_EQ("", message_of(usable(), {.workers = workers}));
}

TEST(InterfaceCheck, BondsAndTeamsAreRefusedByTheirKind) {
  for (const char* kind : {"bond", "team"}) {
    InterfaceProbe probe = usable();
    probe.kind = kind;
    EXPECT_EQ("interface_is_bond", code_of(probe));
    expect_mentions(message_of(probe), {"interface eth0 is a ", kind, "nomaster"});
  }
}

TEST(InterfaceCheck, MembersOfAnythingAreRefusedByTheMastersName) {
  for (const char* kind : {"bond", "team", "bridge"}) {
    InterfaceProbe probe = usable();
    probe.master = "uplink";
    probe.master_kind = kind;
    EXPECT_EQ("interface_is_member", code_of(probe));
    expect_mentions(message_of(probe), {"interface eth0", kind, "uplink", "`ip link set dev eth0 nomaster`"});
  }
}

TEST(InterfaceCheck, AnInterfaceThatIsDownIsNotBroughtUpBehindTheOperatorsBack) {
  InterfaceProbe probe = usable();
  probe.up = false;
  EXPECT_EQ("interface_down", code_of(probe));
  expect_mentions(message_of(probe), {"`ip link set dev eth0 up`"});
}

TEST(InterfaceCheck, AnXdpProgramIsNamedWithTheCommandForItsMode) {
  struct Case {
    XdpMode mode;
    const char* word;
    const char* command;
  };
  for (const Case& one : {Case{XdpMode::kNative, "native mode", "xdpdrv off"}, Case{XdpMode::kSkb, "skb mode", "xdpgeneric off"},
                          Case{XdpMode::kOffload, "offload mode", "xdpoffload off"}}) {
    InterfaceProbe probe = usable();
    probe.xdp_program = XdpProgramInfo{41, "firewall", one.mode};
    EXPECT_EQ("interface_has_xdp", code_of(probe));
    expect_mentions(message_of(probe), {"id 41", "name firewall", one.word, one.command, "bpftool link"});
  }
  InterfaceProbe nameless = usable();
  nameless.xdp_program = XdpProgramInfo{41, "", XdpMode::kNative};
  EXPECT_EQ(std::string::npos, message_of(nameless).find("name ,"));
}

TEST(InterfaceCheck, TheLargestMtuIsWhatAFrameHoldsWithoutHeadroomAndTaggedHeader) {
  EXPECT_EQ(1770u, largest_mtu(2048));
  EXPECT_EQ(3818u, largest_mtu(4096));
  struct Case {
    std::uint32_t mtu;
    std::uint32_t frame_size;
    std::vector<const char*> remedies;
  };
  for (const Case& one :
       {Case{1770, 2048, {}}, Case{1771, 2048, {"mtu 1770", "frameSize to 4096."}},
        Case{3818, 2048, {"mtu 1770", "frameSize to 4096."}}, Case{3818, 4096, {}}, Case{3819, 4096, {"mtu 3818"}},
        Case{9000, 2048, {"mtu 1770", "MTU up to 3818 and dataplane.frameSize to 4096."}}}) {
    SCOPED_TRACE(std::to_string(one.mtu) + " in " + std::to_string(one.frame_size));
    InterfaceProbe probe = usable();
    probe.mtu = one.mtu;
    const InterfaceNeeds needs{.frame_size = one.frame_size};
    EXPECT_EQ(one.remedies.empty() ? "" : "interface_mtu_too_large", code_of(probe, needs));
    for (const char* remedy : one.remedies) expect_mentions(message_of(probe, needs), {remedy});
  }
}

TEST(InterfaceCheck, TooFewQueuesOfEitherDirectionAreRefusedWithTheDriversCommand) {
  InterfaceProbe probe = usable();
  probe.rx_queues = 1;
  EXPECT_EQ("interface_queues_too_few", code_of(probe, {.workers = 2}));
  expect_mentions(message_of(probe, {.workers = 2}),
                  {"1 receive queue and 4 transmit queues", "2 workers", "`ethtool -L eth0 combined 2`", "set workers to 1"});
  probe = usable();
  probe.tx_queues = 2;
  EXPECT_EQ("interface_queues_too_few", code_of(probe, {.workers = 3}));
  probe.kind = "veth";
  expect_mentions(message_of(probe, {.workers = 3}), {"`ethtool -L eth0 rx 3 tx 3`", "set workers to 2"});
}

TEST(InterfaceCheck, RequiredZeroCopyIsRefusedOnlyWhereItIsKnownToBeMissing) {
  InterfaceProbe probe = usable();
  const InterfaceNeeds needs{.zero_copy = ZeroCopy::kRequired};
  EXPECT_EQ("", code_of(probe, needs));
  probe.xdp_features->zero_copy = false;
  EXPECT_EQ("zero_copy_unavailable", code_of(probe, needs));
  expect_mentions(message_of(probe, needs), {"mlx5_core", "zeroCopy to auto"});
  EXPECT_EQ("", code_of(probe, {.zero_copy = ZeroCopy::kAuto}));
  probe.xdp_features.reset();
  EXPECT_EQ("", code_of(probe, needs)) << "an old kernel does not tell; the socket will";
  EXPECT_EQ("zero_copy_unavailable", code_of(usable(), {.attach_mode = AttachMode::kSkb, .zero_copy = ZeroCopy::kRequired}));
}

TEST(InterfaceCheck, AHolderInAnotherPidNamespaceIsNotGivenANumber) {
  expect_mentions(interface_busy("eth0", 4711).message, {"eth0", "process id 4711", "kill 4711"});
  const std::string unseen = interface_busy("eth0", 0).message;
  EXPECT_EQ(std::string::npos, unseen.find("kill")) << unseen;
  expect_mentions(unseen, {"another process id namespace"});
}

TEST(InterfaceCheck, MissingCapabilitiesAreNamed) {
  const auto bit = [](unsigned capability) { return std::uint64_t{1} << capability; };
  EXPECT_EQ("CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW, CAP_IPC_LOCK", missing_capabilities(0));
  EXPECT_EQ("", missing_capabilities(~std::uint64_t{0}));
  EXPECT_EQ("", missing_capabilities(bit(CAP_NET_ADMIN) | bit(CAP_BPF) | bit(CAP_NET_RAW) | bit(CAP_IPC_LOCK)));
  EXPECT_EQ("", missing_capabilities(bit(CAP_NET_ADMIN) | bit(CAP_SYS_ADMIN) | bit(CAP_NET_RAW) | bit(CAP_IPC_LOCK)));
  EXPECT_EQ("CAP_NET_RAW", missing_capabilities(~bit(CAP_NET_RAW)));
}

TEST(InterfaceCheck, RefusalsOfTheKernelGetACodeAndARemedy) {
  const std::uint64_t all = ~std::uint64_t{0};
  struct Case {
    int error;
    const char* code;
    const char* part;
  };
  for (const Case& one : {Case{EPERM, "permission_denied", "seccomp"}, Case{EBUSY, "interface_has_xdp", "bpftool link"},
                          Case{EEXIST, "interface_has_xdp", "bpftool link"}, Case{ERANGE, "interface_mtu_too_large", "mtu 1500"},
                          Case{ENOMEM, "memlock_too_small", "LimitMEMLOCK"}, Case{EOPNOTSUPP, "xdp_unsupported", "attachMode"}}) {
    const Error error = xdp_error("eth0", "cannot attach", one.error, "", all);
    EXPECT_EQ(one.code, error.code);
    EXPECT_EQ(one.error, error.system_errno);
    expect_mentions(error.message, {"interface eth0", one.part});
  }
  expect_mentions(xdp_error("eth0", "cannot load", EPERM, "", 0).message,
                  {"Missing: CAP_NET_ADMIN, CAP_BPF", "AmbientCapabilities"});
  expect_mentions(xdp_error("eth0", "cannot load", EINVAL, "libbpf: prog is odd", all).message, {"(libbpf: prog is odd)"});

  for (const Case& one :
       {Case{EPERM, "permission_denied", "seccomp"}, Case{ENOBUFS, "memlock_too_small", "framesPerWorker"},
        Case{EBUSY, "interface_busy", "ss --xdp"}, Case{EAFNOSUPPORT, "af_xdp_unsupported", "CONFIG_XDP_SOCKETS"},
        Case{EINVAL, "interface_queues_too_few", "ethtool -l eth0"}, Case{EIO, "af_xdp_unsupported", "Linux 5.4"}}) {
    const Error error = af_xdp_error("eth0", 3, false, one.error, all);
    EXPECT_EQ(one.code, error.code);
    expect_mentions(error.message, {"queue 3 of interface eth0", one.part});
  }
  EXPECT_EQ("zero_copy_unavailable", af_xdp_error("eth0", 3, true, EOPNOTSUPP, all).code);
  EXPECT_EQ("af_xdp_unsupported", af_xdp_error("eth0", 3, false, EOPNOTSUPP, all).code);
}

}  // namespace
}  // namespace millrace
