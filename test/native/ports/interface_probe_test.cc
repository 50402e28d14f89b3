// What the kernel tells about interfaces that the test has made itself.
#include "ports/interface_probe.h"

#include <gtest/gtest.h>

#include "veth_lab.h"

namespace millrace::test {
namespace {

using InterfaceProbing = VethLab;

TEST_F(InterfaceProbing, AVethShowsKindDriverQueuesMtuMacAndState) {
  run("ip link add near numtxqueues 4 numrxqueues 3 address 02:00:00:00:00:aa mtu 1400 type veth peer name far numtxqueues 2 "
      "numrxqueues 2");
  const InterfaceProbe down = probe("near");
  EXPECT_EQ("veth", down.kind);
  EXPECT_EQ("veth", down.driver);
  EXPECT_EQ(3u, down.rx_queues);
  EXPECT_EQ(4u, down.tx_queues);
  EXPECT_EQ(1400u, down.mtu);
  EXPECT_EQ("02:00:00:00:00:aa", down.mac.to_string());
  EXPECT_FALSE(down.up);
  EXPECT_FALSE(down.carrier);
  EXPECT_EQ("", down.master);
  EXPECT_FALSE(down.xdp_program.has_value());
  EXPECT_EQ(if_nametoindex("near"), down.index);
}

TEST_F(InterfaceProbing, QueuesAreThoseInUseAndNotThoseThatCouldBe) {
  make_veth(4);
  run("ethtool -L near rx 2 tx 1");
  EXPECT_EQ(2u, probe("near").rx_queues);
  EXPECT_EQ(1u, probe("near").tx_queues);
}

TEST_F(InterfaceProbing, StateMasterAndAddressesFollowTheInterface) {
  make_veth(1);
  run("sysctl -qw net.ipv6.conf.near.disable_ipv6=0 && ip address add 192.0.2.1/24 dev near && "
      "ip address add 2001:db8:2::1/64 dev near nodad && ip link add switch0 type bridge && ip link set far master switch0");
  const InterfaceProbe near = probe("near");
  EXPECT_TRUE(near.up);
  EXPECT_TRUE(near.carrier);
  const auto has = [&](const char* text) {
    return std::find(near.addresses.begin(), near.addresses.end(), text) != near.addresses.end();
  };
  EXPECT_TRUE(has("192.0.2.1/24"));
  EXPECT_TRUE(has("2001:db8:2::1/64"));
  EXPECT_EQ("switch0", probe("far").master);
  EXPECT_EQ("bridge", probe("far").master_kind);
  EXPECT_EQ("bridge", probe("switch0").kind);
}

TEST_F(InterfaceProbing, XdpFeaturesOfAVethSayRedirectAndNoZeroCopy) {
  make_veth(1);
  const InterfaceProbe near = probe("near");
  if (!near.xdp_features) GTEST_SKIP() << "this kernel (before 6.3) does not tell XDP features";
  EXPECT_TRUE(near.xdp_features->basic);
  EXPECT_TRUE(near.xdp_features->redirect);
  EXPECT_FALSE(near.xdp_features->zero_copy);
}

TEST_F(InterfaceProbing, TheKernelOffersWhatTheOtherTestsUse) {
  const KernelProbe kernel = probe_kernel();
  EXPECT_EQ("", kernel.xdp);
  EXPECT_EQ("", kernel.af_xdp);
  EXPECT_EQ("", kernel.bpf_link);
  EXPECT_FALSE(probe("lo").xdp_program.has_value()) << "the trial must not touch this namespace";
}

TEST(KernelProbing, WithoutPrivilegesTheErrorIsNamedAndInterfacesAreStillSeen) {
  if (geteuid() != 0) GTEST_SKIP() << "dropping privileges needs root first";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // An unprivileged user: no capability is left.
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(10);
    const KernelProbe kernel = probe_kernel();
    if (kernel.xdp != "EPERM" || kernel.bpf_link != "EPERM") _exit(11);
    if (kernel.af_xdp != "EPERM") _exit(12);
    const Result<std::vector<InterfaceProbe>> all = probe_interfaces();
    _exit(all.ok() && !all.value().empty() ? 0 : 13);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(0, WEXITSTATUS(status)) << "10: could not drop privileges, 11: xdp, 12: af_xdp, 13: interfaces";
}

}  // namespace
}  // namespace millrace::test
