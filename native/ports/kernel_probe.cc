// Tries out what AF_XDP needs from the kernel. Declared in interface_probe.h.
// Guarantees: leaves nothing behind; the program that it attaches goes to the loopback interface of a namespace of its own.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "ports/interface_probe.h"

namespace millrace {
namespace {

// The first interface of every network namespace is its loopback.
constexpr int kLoopbackIndex = 1;

std::string errno_name(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "errno " + std::to_string(error);
}

/// File descriptor of an XDP program that passes everything, or a negative errno.
int load_pass_program() {
  bpf_insn program[2]{};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[0].dst_reg = BPF_REG_0;
  program[0].imm = XDP_PASS;
  program[1].code = BPF_JMP | BPF_EXIT;
  const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "millrace_probe", "GPL", program, 2, nullptr);
  return fd >= 0 ? fd : -errno;
}

bool kernel_is_at_least(unsigned major, unsigned minor) {
  utsname name{};
  unsigned found_major = 0;
  unsigned found_minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%u.%u", &found_major, &found_minor) != 2) return false;
  return found_major > major || (found_major == major && found_minor >= minor);
}

/// 0 or the errno. In a thread of its own, because a thread cannot leave a network namespace again without more privileges.
int try_link(int program) {
  int result = 0;
  std::thread attempt([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      // Without the right to make a namespace the kernel's age decides: links for XDP came with 5.9.
      result = kernel_is_at_least(5, 9) ? 0 : EINVAL;
      return;
    }
    bpf_link_create_opts options{};
    options.sz = sizeof(options);
    options.flags = XDP_FLAGS_SKB_MODE;
    const int link = bpf_link_create(program, kLoopbackIndex, BPF_XDP, &options);
    if (link < 0) {
      result = errno;
    } else {
      close(link);
    }
  });
  attempt.join();
  return result;
}

}  // namespace

KernelProbe probe_kernel() {
  KernelProbe probe;
  const int program = load_pass_program();
  if (program < 0) {
    probe.xdp = errno_name(-program);
    probe.bpf_link = probe.xdp;
  } else {
    if (const int error = try_link(program); error != 0) probe.bpf_link = errno_name(error);
    close(program);
  }
  const int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    probe.af_xdp = errno_name(errno);
  } else {
    close(fd);
  }
  return probe;
}

}  // namespace millrace
