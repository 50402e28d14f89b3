// See ingress.h. Programs are attached by libbpf's netlink calls; what else is at the hook is asked by libmnl.
#include "realserver/ingress.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/capability.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>

#include "decapsulate.skel.h"
#include "l3dsr.skel.h"
#include "ports/interface_check.h"

namespace millrace {
namespace {

// Our place at the hook: filters with a lower number run before ours and see what the wire brought, higher ones what we made of
// it.
constexpr std::uint32_t kPriority = 10;
// Two handles that nobody gets by counting from 1.
constexpr std::uint32_t kDecapsulationHandle = 0x6d690001;
constexpr std::uint32_t kL3dsrHandle = 0x6d690002;
constexpr std::uint32_t kIngressParent = 0xfffffff2;
constexpr std::uint32_t kEgressParent = 0xfffffff3;
constexpr std::uint32_t kMappedBits = 96;
constexpr std::uint32_t kDscpCount = 64;

// Layouts of decapsulate.bpf.c and ingress.bpf.h.
constexpr std::uint32_t kAcceptIpip = 1;
constexpr std::uint32_t kAcceptGre = 2;
constexpr std::uint32_t kAcceptGue = 4;

struct PrefixKey {
  std::uint32_t length;
  std::uint8_t address[16];
};
static_assert(sizeof(PrefixKey) == 20);

struct CounterValue {
  std::uint64_t packets;
  std::uint64_t bytes;
};

struct ProgramFacts {
  std::uint32_t handle;
  const char* name;
  const char* counter_map;
  std::vector<IngressCounter> counters;
};

ProgramFacts facts_of(IngressProgram program) {
#define MILLRACE_INGRESS_COUNTER(name, help) {#name, help, 0, 0},
  if (program == IngressProgram::kDecapsulation) {
    return {kDecapsulationHandle,
            "millrace_decap",
            "decap_counters",
            {
#include "realserver/decapsulation_counters.def"
            }};
  }
  return {kL3dsrHandle,
          "millrace_l3dsr",
          "l3dsr_counters",
          {
#include "realserver/l3dsr_counters.def"
          }};
#undef MILLRACE_INGRESS_COUNTER
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// libbpf's messages go nowhere while this lives: a refusal comes back as our error.
class QuietLibbpf {
 public:
  QuietLibbpf() : former_(libbpf_set_print(nullptr)) {}
  ~QuietLibbpf() { libbpf_set_print(former_); }
  QuietLibbpf(const QuietLibbpf&) = delete;
  QuietLibbpf& operator=(const QuietLibbpf&) = delete;

 private:
  libbpf_print_fn_t former_;
};

bool lacks_rights() {
  const std::uint64_t held = read_capabilities();
  const auto has = [&](int capability) { return (held >> capability & 1) != 0; };
  return !has(CAP_NET_ADMIN) || (!has(CAP_BPF) && !has(CAP_SYS_ADMIN));
}

Error failure(const std::string& what, int system_errno) {
  // The verifier says EACCES too when it does not like a program.
  const bool denied = system_errno == EPERM || (system_errno == EACCES && lacks_rights());
  std::string message = what + ": " + std::strerror(system_errno) + ". ";
  message += denied ? "Programs at the ingress hook need CAP_BPF and CAP_NET_ADMIN (before Linux 5.8 CAP_SYS_ADMIN); run as root."
                    : "Needed is Linux 5.10 or newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS.";
  return Error{denied ? "permission_denied" : "bpf_unsupported", std::move(message), system_errno};
}

Result<int> find_interface(const std::string& interface) {
  const unsigned int index = if_nametoindex(interface.c_str());
  if (index == 0) return Error{"interface_not_found", "no interface " + interface + " in this network namespace", errno};
  return static_cast<int>(index);
}

/// The programs find the IP header behind an Ethernet header.
Result<int> find_ethernet(const std::string& interface) {
  Result<int> index = find_interface(interface);
  if (!index) return index;
  const FileDescriptor socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  if (!socket_fd || ioctl(socket_fd.get(), SIOCGIFHWADDR, &request) != 0) return failure("cannot ask about " + interface, errno);
  if (request.ifr_hwaddr.sa_family == ARPHRD_ETHER || request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK) return index;
  return Error{"input_invalid",
               "interface " + interface +
                   " carries no Ethernet frames; choose the Ethernet interface that the balancer's packets come in on.",
               0};
}

bpf_tc_hook hook_of(int ifindex, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = ifindex;
  hook.attach_point = point;
  return hook;
}

bpf_tc_opts place_of(const ProgramFacts& facts) {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = facts.handle;
  options.priority = kPriority;
  return options;
}

struct Attached {
  std::uint32_t id = 0;
  std::string name;
};

/// What stands in our place at the hook; id 0 if nothing does, or if there is no hook.
Result<Attached> query(const std::string& interface, int ifindex, const ProgramFacts& facts) {
  const QuietLibbpf quiet;
  const bpf_tc_hook hook = hook_of(ifindex, BPF_TC_INGRESS);
  bpf_tc_opts options = place_of(facts);
  if (const int error = bpf_tc_query(&hook, &options); error != 0) {
    if (error == -ENOENT || error == -EINVAL) return Attached{};
    return failure("cannot ask what is attached to " + interface, -error);
  }
  Attached attached{options.prog_id, {}};
  const FileDescriptor program(bpf_prog_get_fd_by_id(options.prog_id));
  bpf_prog_info info{};
  std::uint32_t length = sizeof(info);
  if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) {
    return failure("cannot look at the program attached to " + interface, errno);
  }
  attached.name.assign(info.name, strnlen(info.name, sizeof(info.name)));
  return attached;
}

Result<std::uint32_t> attach(const std::string& interface, int ifindex, IngressProgram which, int program) {
  const ProgramFacts facts = facts_of(which);
  const Result<Attached> present = query(interface, ifindex, facts);
  if (!present) return present.error();
  if (present.value().id != 0 && present.value().name != facts.name) {
    return Error{"interface_busy",
                 "the place of our filter at the ingress hook of " + interface + " (priority " + std::to_string(kPriority) +
                     ") is taken by program \"" + present.value().name + "\"; remove it first: tc filter show dev " + interface +
                     " ingress",
                 EBUSY};
  }
  const QuietLibbpf quiet;
  const bpf_tc_hook hook = hook_of(ifindex, BPF_TC_INGRESS);
  bpf_tc_opts options = place_of(facts);
  options.prog_fd = program;
  options.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
    return failure("cannot attach the program to " + interface, -error);
  }
  return options.prog_id;
}

/// Calls `handle` for every message of a dump; 0 or the errno.
int dump(std::uint16_t type, int ifindex, std::uint32_t parent, const std::function<void(const nlmsghdr*)>& handle) {
  const std::unique_ptr<mnl_socket, decltype(&mnl_socket_close)> socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC),
                                                                        mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 256> request{};
  nlmsghdr* header = mnl_nlmsg_put_header(request.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = 1;
  auto* body = static_cast<tcmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(tcmsg)));
  body->tcm_family = AF_UNSPEC;
  body->tcm_ifindex = ifindex;
  body->tcm_parent = parent;
  if (mnl_socket_sendto(socket.get(), header, header->nlmsg_len) < 0) return errno;
  const mnl_cb_t forward = [](const nlmsghdr* message, void* context) {
    (*static_cast<const std::function<void(const nlmsghdr*)>*>(context))(message);
    return MNL_CB_OK;
  };
  std::vector<char> buffer(64 * 1024);
  while (true) {
    const ssize_t received = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (received < 0) return errno;
    const int state = mnl_cb_run(buffer.data(), static_cast<std::size_t>(received), 1, mnl_socket_get_portid(socket.get()),
                                 forward, const_cast<std::function<void(const nlmsghdr*)>*>(&handle));
    if (state < 0) return errno;
    if (state == MNL_CB_STOP) return 0;
  }
}

std::string kind_of(const nlmsghdr* message) {
  std::string kind;
  const mnl_attr_cb_t look = [](const nlattr* attribute, void* context) {
    if (mnl_attr_get_type(attribute) == TCA_KIND) *static_cast<std::string*>(context) = mnl_attr_get_str(attribute);
    return MNL_CB_OK;
  };
  mnl_attr_parse(message, sizeof(tcmsg), look, &kind);
  return kind;
}

Result<void> read_hook(const std::string& interface, int ifindex, IngressState& state) {
  const auto look_at_qdisc = [&](const nlmsghdr* message) {
    const auto* body = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
    // Older kernels answer for all interfaces.
    if (message->nlmsg_type != RTM_NEWQDISC || body->tcm_ifindex != ifindex || body->tcm_parent != TC_H_CLSACT) return;
    state.hook = kind_of(message);
  };
  if (const int error = dump(RTM_GETQDISC, ifindex, 0, look_at_qdisc); error != 0) {
    return Error{"netlink_failed", "cannot list what is attached to " + interface, error};
  }
  if (state.hook.empty()) return {};
  const auto look_at_filter = [&](const nlmsghdr* message) {
    const auto* body = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
    // Each priority introduces itself with handle 0 before its filters.
    if (message->nlmsg_type == RTM_NEWTFILTER && body->tcm_ifindex == ifindex && body->tcm_handle != 0) state.filters++;
  };
  for (const std::uint32_t parent : {kIngressParent, kEgressParent}) {
    // The older "ingress" has no egress side.
    if (parent == kEgressParent && state.hook != "clsact") continue;
    if (const int error = dump(RTM_GETTFILTER, ifindex, parent, look_at_filter); error != 0) {
      return Error{"netlink_failed", "cannot list the filters of " + interface, error};
    }
  }
  return {};
}

/// The map with this name among those of a program; -1 and errno if there is none.
int open_map_of(std::uint32_t program_id, const char* name) {
  const FileDescriptor program(bpf_prog_get_fd_by_id(program_id));
  if (!program) return -1;
  std::array<std::uint32_t, 16> ids{};
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<std::uint32_t>(ids.size());
  info.map_ids = reinterpret_cast<std::uint64_t>(ids.data());
  std::uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return -1;
  for (std::size_t i = 0; i < ids.size() && i < info.nr_map_ids; i++) {
    const int map = bpf_map_get_fd_by_id(ids[i]);
    bpf_map_info map_info{};
    length = sizeof(map_info);
    if (map >= 0 && bpf_obj_get_info_by_fd(map, &map_info, &length) == 0 && std::strcmp(map_info.name, name) == 0) return map;
    if (map >= 0) close(map);
  }
  errno = ENOENT;
  return -1;
}

Result<std::vector<IngressCounter>> read_counters(const std::string& interface, std::uint32_t program_id, ProgramFacts facts) {
  const FileDescriptor map(open_map_of(program_id, facts.counter_map));
  if (!map) return failure("cannot read the counters of the program on " + interface, errno);
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return failure("cannot count the CPUs", -cpus);
  std::vector<CounterValue> values(static_cast<std::size_t>(cpus));
  for (std::uint32_t i = 0; i < facts.counters.size(); i++) {
    if (bpf_map_lookup_elem(map.get(), &i, values.data()) != 0) {
      return failure("cannot read the counters of the program on " + interface, errno);
    }
    for (const CounterValue& value : values) {
      facts.counters[i].packets += value.packets;
      facts.counters[i].bytes += value.bytes;
    }
  }
  return std::move(facts.counters);
}

Result<void> write(int map, const void* key, const void* value, const std::string& what) {
  if (bpf_map_update_elem(map, key, value, BPF_ANY) == 0) return {};
  if (errno == E2BIG || errno == ENOSPC) return Error{"input_invalid", "too many of them: " + what, errno};
  return failure("cannot write " + what, errno);
}

struct CloseDecapsulation {
  void operator()(millrace_decapsulate* skeleton) const { millrace_decapsulate__destroy(skeleton); }
};
struct CloseL3dsr {
  void operator()(millrace_l3dsr* skeleton) const { millrace_l3dsr__destroy(skeleton); }
};

Result<void> fill(const millrace_decapsulate& skeleton, const Decapsulation& wanted) {
  const std::uint8_t present = 1;
  for (const IpAddress& vip : wanted.vips) {
    if (Result<void> written = write(bpf_map__fd(skeleton.maps.decap_vips), vip.bytes(), &present, "VIP " + vip.to_string());
        !written) {
      return written;
    }
  }
  for (const IngressPrefix& prefix : wanted.trusted) {
    PrefixKey key{};
    key.length = prefix.length + (prefix.address.is_v4() ? kMappedBits : 0);
    const std::string words = "prefix " + prefix.address.to_string() + "/" + std::to_string(prefix.length);
    if (key.length > 128) return Error{"input_invalid", words + " is longer than its address", 0};
    std::memcpy(key.address, prefix.address.bytes(), sizeof(key.address));
    if (Result<void> written = write(bpf_map__fd(skeleton.maps.decap_trusted), &key, &present, words); !written) return written;
  }
  return {};
}

Result<void> fill(const millrace_l3dsr& skeleton, const L3dsr& wanted) {
  const int map = bpf_map__fd(skeleton.maps.l3dsr_marks);
  for (const L3dsrMark& mark : wanted.marks) {
    const std::string words = "DSCP " + std::to_string(mark.dscp) + " of VIP " + mark.vip.to_string();
    if (mark.dscp == 0 || mark.dscp >= kDscpCount) return Error{"input_invalid", words + " is not between 1 and 63", 0};
    const std::uint32_t index = mark.dscp + (mark.vip.is_v4() ? 0 : kDscpCount);
    IpAddress present;
    if (bpf_map_lookup_elem(map, &index, &present) != 0) return failure("cannot read the marks", errno);
    if (present != IpAddress{} && present != mark.vip)
      return Error{"input_invalid", words + " stands for another VIP already", 0};
    if (Result<void> written = write(map, &index, mark.vip.bytes(), words); !written) return written;
  }
  return {};
}

}  // namespace

Result<std::uint32_t> attach_decapsulation(const Decapsulation& wanted) {
  const Result<int> index = find_ethernet(wanted.interface);
  if (!index) return index.error();
  const QuietLibbpf quiet;
  const std::unique_ptr<millrace_decapsulate, CloseDecapsulation> skeleton(millrace_decapsulate__open());
  if (!skeleton) return failure("cannot read the decapsulation program", errno);
  skeleton->rodata->accepted = (wanted.ipip ? kAcceptIpip : 0) | (wanted.gre ? kAcceptGre : 0) | (wanted.gue ? kAcceptGue : 0);
  skeleton->rodata->gue_port = wanted.gue_port;
  if (const int error = millrace_decapsulate__load(skeleton.get()); error != 0) {
    return failure("cannot load the decapsulation program", -error);
  }
  if (Result<void> filled = fill(*skeleton, wanted); !filled) return filled.error();
  return attach(wanted.interface, index.value(), IngressProgram::kDecapsulation, bpf_program__fd(skeleton->progs.millrace_decap));
}

Result<std::uint32_t> attach_l3dsr(const L3dsr& wanted) {
  const Result<int> index = find_ethernet(wanted.interface);
  if (!index) return index.error();
  const QuietLibbpf quiet;
  const std::unique_ptr<millrace_l3dsr, CloseL3dsr> skeleton(millrace_l3dsr__open_and_load());
  if (!skeleton) return failure("cannot load the L3DSR program", errno);
  if (Result<void> filled = fill(*skeleton, wanted); !filled) return filled.error();
  return attach(wanted.interface, index.value(), IngressProgram::kL3dsr, bpf_program__fd(skeleton->progs.millrace_l3dsr));
}

Result<IngressState> ingress_state(const std::string& interface, IngressProgram program) {
  const Result<int> index = find_interface(interface);
  if (!index) return index.error();
  IngressState state;
  if (Result<void> read = read_hook(interface, index.value(), state); !read) return read.error();
  if (state.hook.empty()) return state;
  ProgramFacts facts = facts_of(program);
  const Result<Attached> attached = query(interface, index.value(), facts);
  if (!attached) return attached.error();
  if (attached.value().id == 0 || attached.value().name != facts.name) return state;
  state.program_id = attached.value().id;
  Result<std::vector<IngressCounter>> counters = read_counters(interface, state.program_id, std::move(facts));
  if (!counters) return counters.error();
  state.counters = std::move(counters.value());
  return state;
}

Result<void> detach_ingress(const std::string& interface, IngressProgram program) {
  const Result<int> index = find_interface(interface);
  if (!index) return index.error();
  const ProgramFacts facts = facts_of(program);
  const Result<Attached> attached = query(interface, index.value(), facts);
  if (!attached) return attached.error();
  if (attached.value().id == 0 || attached.value().name != facts.name) return {};
  const QuietLibbpf quiet;
  const bpf_tc_hook hook = hook_of(index.value(), BPF_TC_INGRESS);
  const bpf_tc_opts place = place_of(facts);
  const int error = bpf_tc_detach(&hook, &place);
  if (error != 0 && error != -ENOENT) return failure("cannot detach the program from " + interface, -error);
  return {};
}

Result<bool> make_ingress_hook(const std::string& interface) {
  const Result<int> index = find_interface(interface);
  if (!index) return index.error();
  const QuietLibbpf quiet;
  bpf_tc_hook hook = hook_of(index.value(), BPF_TC_INGRESS);
  const int error = bpf_tc_hook_create(&hook);
  if (error == -EEXIST) return false;
  if (error != 0) return failure("cannot make the ingress hook of " + interface, -error);
  return true;
}

Result<void> remove_ingress_hook(const std::string& interface) {
  const Result<int> index = find_interface(interface);
  if (!index) return index.error();
  const QuietLibbpf quiet;
  bpf_tc_hook hook = hook_of(
      index.value(), static_cast<bpf_tc_attach_point>(static_cast<int>(BPF_TC_INGRESS) | static_cast<int>(BPF_TC_EGRESS)));
  const int error = bpf_tc_hook_destroy(&hook);
  if (error != 0 && error != -ENOENT && error != -EINVAL)
    return failure("cannot remove the ingress hook of " + interface, -error);
  return {};
}

}  // namespace millrace
