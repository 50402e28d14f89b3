// The loader of the real server's programs, on a veth in a namespace of the test's own: what it refuses, and that it leaves what
// belongs to others alone. What the programs do to packets is tested end to end in test/netns/realserver.test.ts.
#include "realserver/ingress.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "realserver/namespace_cookie.h"

namespace millrace::test {
namespace {

// Ours, as in ingress.cc: where a stranger would be in the way.
constexpr std::uint32_t kPriority = 10;
constexpr std::uint32_t kDecapsulationHandle = 0x6d690001;

IpAddress address(const char* words) {
  bool ok = false;
  const IpAddress parsed = IpAddress::parse(words, ok);
  EXPECT_TRUE(ok) << words;
  return parsed;
}

class IngressTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "network namespaces and BPF programs need root";
    home_ = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "cannot make a network namespace";
    inside_ = true;
    ASSERT_EQ(0, std::system("ip link add near type veth peer name far"));
  }

  void TearDown() override {
    if (inside_) (void)setns(home_, CLONE_NEWNET);
    if (home_ >= 0) close(home_);
  }

  static Decapsulation wanted() {
    Decapsulation wanted;
    wanted.interface = "near";
    wanted.ipip = true;
    wanted.vips = {address("203.0.113.10"), address("2001:db8:10::10")};
    wanted.trusted = {{address("192.0.2.0"), 24}, {address("2001:db8::"), 32}};
    return wanted;
  }

  static IngressState state(IngressProgram program = IngressProgram::kDecapsulation) {
    const Result<IngressState> found = ingress_state("near", program);
    EXPECT_TRUE(found.ok()) << found.error().message;
    return found.ok() ? found.value() : IngressState{};
  }

  static void make_hook() {
    const Result<bool> made = make_ingress_hook("near");
    ASSERT_TRUE(made.ok()) << made.error().message;
    ASSERT_TRUE(made.value());
  }

  /// A program of somebody else in a place at the hook.
  static void attach_stranger(std::uint32_t handle, std::uint32_t priority) {
    const std::array<bpf_insn, 2> program = {bpf_insn{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, -1},
                                             bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "stranger", "GPL", program.data(), program.size(), nullptr);
    ASSERT_GE(fd, 0);
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(if_nametoindex("near"));
    hook.attach_point = BPF_TC_INGRESS;
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = fd;
    options.handle = handle;
    options.priority = priority;
    ASSERT_EQ(0, bpf_tc_attach(&hook, &options));
    close(fd);
  }

 private:
  int home_ = -1;
  bool inside_ = false;
};

TEST_F(IngressTest, EachChoiceOfTunnelTypesIsAcceptedByTheKernel) {
  make_hook();
  for (unsigned choice = 1; choice < 8; choice++) {
    Decapsulation each = wanted();
    each.ipip = (choice & 1) != 0;
    each.gre = (choice & 2) != 0;
    each.gue = (choice & 4) != 0;
    const Result<std::uint32_t> attached = attach_decapsulation(each);
    ASSERT_TRUE(attached.ok()) << choice << ": " << attached.error().message;
    EXPECT_EQ(attached.value(), state().program_id) << choice;
  }
  EXPECT_EQ(1u, state().filters) << "each took the place of the one before";
}

TEST_F(IngressTest, BothProgramsStandSideBySideAndGoOneByOne) {
  make_hook();
  ASSERT_TRUE(attach_decapsulation(wanted()).ok());
  ASSERT_TRUE(attach_l3dsr({"near", {{12, address("203.0.113.10")}, {12, address("2001:db8:10::10")}}}).ok());
  EXPECT_EQ(2u, state().filters);
  ASSERT_TRUE(detach_ingress("near", IngressProgram::kDecapsulation).ok());
  EXPECT_EQ(0u, state().program_id);
  EXPECT_TRUE(state().counters.empty());
  EXPECT_NE(0u, state(IngressProgram::kL3dsr).program_id);
  EXPECT_EQ(3u, state(IngressProgram::kL3dsr).counters.size());
  ASSERT_TRUE(detach_ingress("near", IngressProgram::kL3dsr).ok());
  EXPECT_EQ(0u, state().filters);
  ASSERT_TRUE(remove_ingress_hook("near").ok());
  EXPECT_EQ("", state().hook);
}

TEST_F(IngressTest, ANewProgramCountsFromZeroAndHasEveryCounterOfTheList) {
  make_hook();
  ASSERT_TRUE(attach_decapsulation(wanted()).ok());
  const std::vector<IngressCounter> counters = state().counters;
  ASSERT_EQ(24u, counters.size());
  EXPECT_STREQ("ipip_4in4", counters.front().name);
  EXPECT_STREQ("gue1_6in6", counters[15].name);
  EXPECT_STREQ("failed", counters.back().name);
  EXPECT_TRUE(std::all_of(counters.begin(), counters.end(), [](const IngressCounter& one) { return one.packets == 0; }));
}

TEST_F(IngressTest, AStrangerInOurPlaceIsRefusedByNameAndStays) {
  make_hook();
  attach_stranger(kDecapsulationHandle, kPriority);
  const Result<std::uint32_t> attached = attach_decapsulation(wanted());
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ("interface_busy", attached.error().code);
  EXPECT_NE(std::string::npos, attached.error().message.find("\"stranger\"")) << attached.error().message;
  ASSERT_TRUE(detach_ingress("near", IngressProgram::kDecapsulation).ok());
  EXPECT_EQ(1u, state().filters) << "only what is ours is detached";
  EXPECT_EQ(0u, state().program_id);
}

TEST_F(IngressTest, AFilterOfSomebodyElseIsCountedAndDoesNotDisturb) {
  make_hook();
  attach_stranger(1, 1);
  ASSERT_TRUE(attach_decapsulation(wanted()).ok());
  EXPECT_EQ(2u, state().filters);
}

TEST_F(IngressTest, AHookThatIsThereIsNotMadeAgain) {
  make_hook();
  const Result<bool> again = make_ingress_hook("near");
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again.value());
}

TEST_F(IngressTest, WithoutAHookNothingIsAttachedAndNothingThere) {
  const Result<std::uint32_t> attached = attach_decapsulation(wanted());
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ("bpf_unsupported", attached.error().code);
  EXPECT_EQ("", state().hook);
  EXPECT_TRUE(detach_ingress("near", IngressProgram::kL3dsr).ok());
}

TEST_F(IngressTest, AnInterfaceThatIsNotThereIsNamed) {
  Decapsulation elsewhere = wanted();
  elsewhere.interface = "nowhere";
  const Result<std::uint32_t> attached = attach_decapsulation(elsewhere);
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ("interface_not_found", attached.error().code);
  EXPECT_NE(std::string::npos, attached.error().message.find("nowhere"));
  EXPECT_FALSE(ingress_state("nowhere", IngressProgram::kL3dsr).ok());
}

TEST_F(IngressTest, OneDscpForTwoVipsOfAFamilyIsRefused) {
  make_hook();
  const Result<std::uint32_t> twice = attach_l3dsr({"near", {{12, address("203.0.113.10")}, {12, address("203.0.113.11")}}});
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ("input_invalid", twice.error().code);
  for (const std::uint32_t dscp : {0u, 64u}) {
    const Result<std::uint32_t> outside = attach_l3dsr({"near", {{dscp, address("203.0.113.10")}}});
    ASSERT_FALSE(outside.ok()) << dscp;
    EXPECT_EQ("input_invalid", outside.error().code);
  }
  EXPECT_EQ(0u, state().filters);
}

TEST_F(IngressTest, APrefixLongerThanItsAddressIsRefused) {
  make_hook();
  Decapsulation wrong = wanted();
  wrong.trusted = {{address("192.0.2.0"), 33}};
  const Result<std::uint32_t> attached = attach_decapsulation(wrong);
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ("input_invalid", attached.error().code);
}

TEST_F(IngressTest, EachNamespaceHasACookieOfItsOwn) {
  const std::uint64_t here = network_namespace_cookie();
  ASSERT_NE(0u, here);
  EXPECT_EQ(here, network_namespace_cookie());
  ASSERT_EQ(0, unshare(CLONE_NEWNET));
  EXPECT_NE(here, network_namespace_cookie());
}

}  // namespace
}  // namespace millrace::test
