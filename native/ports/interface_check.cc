// See interface_check.h.
#include "ports/interface_check.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace millrace {
namespace {

std::string named(const std::string& name) { return "interface " + name; }

Error has_xdp(const InterfaceProbe& probe) {
  const XdpProgramInfo& program = *probe.xdp_program;
  std::string message = named(probe.name) + " already runs an XDP program: id " + std::to_string(program.id);
  if (!program.name.empty()) message += ", name " + program.name;
  message += ", " + std::string(to_string(program.mode)) +
             " mode. Millrace needs the interface's only one: stop the program that owns it";
  message += ", or remove it with `ip link set dev " + probe.name + " xdp" +
             (program.mode == XdpMode::kSkb       ? "generic"
              : program.mode == XdpMode::kOffload ? "offload"
                                                  : "drv") +
             " off`";
  message +=
      "; if that is refused it hangs on a link: `bpftool link show` names the process, `bpftool link detach id N` removes it.";
  return Error{"interface_has_xdp", std::move(message), EBUSY};
}

Error mtu_too_large(const InterfaceProbe& probe, std::uint32_t frame_size) {
  std::string message = named(probe.name) + " has an MTU of " + std::to_string(probe.mtu) + "; a frame of " +
                        std::to_string(frame_size) + " bytes holds packets of an MTU up to " +
                        std::to_string(largest_mtu(frame_size)) + ". Run `ip link set dev " + probe.name + " mtu " +
                        std::to_string(largest_mtu(frame_size)) + "`";
  if (frame_size < 4096) {
    message += probe.mtu <= largest_mtu(4096)
                   ? ", or set dataplane.frameSize to 4096."
                   : ", or an MTU up to " + std::to_string(largest_mtu(4096)) + " and dataplane.frameSize to 4096.";
  } else {
    message += ".";
  }
  return Error{"interface_mtu_too_large", std::move(message), 0};
}

Error queues_too_few(const InterfaceProbe& probe, std::uint32_t workers) {
  const std::string queues = std::to_string(probe.rx_queues) + (probe.rx_queues == 1 ? " receive queue" : " receive queues") +
                             " and " + std::to_string(probe.tx_queues) +
                             (probe.tx_queues == 1 ? " transmit queue" : " transmit queues");
  const std::uint32_t usable = probe.rx_queues < probe.tx_queues ? probe.rx_queues : probe.tx_queues;
  const std::string count = std::to_string(workers);
  const std::string channels =
      probe.kind == "veth" ? " rx " + count + " tx " + count + "` (at both ends of the veth pair)" : " combined " + count + "`";
  return Error{"interface_queues_too_few",
               named(probe.name) + " has " + queues + ", and " + count + " workers need at least " + count +
                   " of each. Run `ethtool -L " + probe.name + channels + ", or set workers to " +
                   std::to_string(usable == 0 ? 1 : usable) + ".",
               0};
}

bool is_aggregate(const std::string& kind) { return kind == "bond" || kind == "team"; }

std::string with_detail(const std::string& detail) { return detail.empty() ? std::string() : " (" + detail + ")"; }

Error permission_denied(const std::string& what, int system_errno, std::uint64_t capabilities) {
  const std::string missing = missing_capabilities(capabilities);
  std::string message = what + ": " + std::strerror(system_errno) + ". ";
  if (missing.empty()) {
    message +=
        "All capabilities that Millrace needs are there, so something else forbids it: a container's seccomp filter, a user "
        "namespace, kernel lockdown or another security module.";
  } else {
    message += "Missing: " + missing +
               ". Run as root, or give them to the service (AmbientCapabilities= in systemd, --cap-add in a container).";
  }
  return Error{"permission_denied", std::move(message), system_errno};
}

}  // namespace

Result<void> check_interface(const InterfaceProbe& probe, const InterfaceNeeds& needs) {
  if (is_aggregate(probe.kind)) {
    return Error{"interface_is_bond",
                 named(probe.name) + " is a " + probe.kind +
                     ", and AF_XDP needs the queues of a single device. Take a member out of it (`ip link set dev "
                     "MEMBER nomaster`) and give that one to Millrace, or use several interfaces and equal-cost routes.",
                 0};
  }
  if (!probe.master.empty()) {
    const std::string kind = probe.master_kind.empty() ? "aggregate" : probe.master_kind;
    return Error{
        "interface_is_member",
        named(probe.name) + " is a member of the " + kind + " " + probe.master +
            ", where its addresses, routes and neighbours are; Millrace needs them on the interface itself. Run `ip link "
            "set dev " +
            probe.name + " nomaster`, or use another interface.",
        0};
  }
  if (!probe.up) {
    return Error{"interface_down", named(probe.name) + " is down. Run `ip link set dev " + probe.name + " up`.", ENETDOWN};
  }
  if (probe.xdp_program) return has_xdp(probe);
  if (probe.mtu > largest_mtu(needs.frame_size)) return mtu_too_large(probe, needs.frame_size);
  if (probe.rx_queues < needs.workers || probe.tx_queues < needs.workers) return queues_too_few(probe, needs.workers);
  if (needs.zero_copy == ZeroCopy::kRequired && needs.attach_mode == AttachMode::kSkb) {
    return Error{"zero_copy_unavailable",
                 "dataplane.zeroCopy is required, but dataplane.attachMode is skb, where every packet is copied. Set attachMode "
                 "to native or auto.",
                 0};
  }
  if (needs.zero_copy == ZeroCopy::kRequired && probe.xdp_features && !probe.xdp_features->zero_copy) {
    return Error{"zero_copy_unavailable",
                 "dataplane.zeroCopy is required, but the driver of " + named(probe.name) +
                     (probe.driver.empty() ? "" : " (" + probe.driver + ")") +
                     " does not offer it. Set dataplane.zeroCopy to auto, or use an interface whose driver does (`millrace "
                     "doctor` lists them).",
                 EOPNOTSUPP};
  }
  return {};
}

Error interface_busy(const std::string& interface, int pid) {
  const std::string holder =
      pid > 0 ? "the Millrace with process id " + std::to_string(pid) : "a Millrace in another process id namespace";
  const std::string remedy = pid > 0 ? "Stop it (`kill " + std::to_string(pid) + "`)" : "Stop it";
  return Error{"interface_busy",
               named(interface) + " is in use by " + holder + ". " + remedy + ", or put both configurations into one process.",
               EBUSY};
}

std::string missing_capabilities(std::uint64_t effective) {
  const auto has = [&](unsigned bit) { return (effective >> bit & 1) != 0; };
  std::vector<const char*> missing;
  if (!has(CAP_NET_ADMIN)) missing.push_back("CAP_NET_ADMIN");
  if (!has(CAP_BPF) && !has(CAP_SYS_ADMIN)) missing.push_back("CAP_BPF");
  if (!has(CAP_NET_RAW)) missing.push_back("CAP_NET_RAW");
  if (!has(CAP_IPC_LOCK)) missing.push_back("CAP_IPC_LOCK");
  std::string list;
  for (const char* name : missing) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

std::uint64_t read_capabilities() {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  return static_cast<std::uint64_t>(data[1].effective) << 32 | data[0].effective;
}

Error xdp_error(const std::string& interface, const std::string& what, int system_errno, const std::string& detail,
                std::uint64_t capabilities) {
  const std::string failed = what + " on " + named(interface);
  switch (system_errno) {
    case EPERM:
    case EACCES:
      return permission_denied(failed, system_errno, capabilities);
    case EBUSY:
    case EEXIST:
      return Error{"interface_has_xdp",
                   failed + ": another XDP program has come first" + with_detail(detail) + ". Remove it with `ip link set dev " +
                       interface + " xdp off`, or find its link with `bpftool link show`.",
                   system_errno};
    case ERANGE:
    case EMSGSIZE:
      return Error{"interface_mtu_too_large",
                   failed + ": the driver cannot run XDP with this MTU" + with_detail(detail) + ". Lower it (`ip link set dev " +
                       interface + " mtu 1500`; at both ends of a veth pair), or set dataplane.attachMode to skb.",
                   system_errno};
    case ENOMEM:
      return Error{"memlock_too_small",
                   failed + ": no memory for BPF maps" + with_detail(detail) +
                       ". Raise the limit (LimitMEMLOCK=infinity in systemd, `ulimit -l unlimited`).",
                   system_errno};
    default:
      return Error{
          "xdp_unsupported",
          failed + ": " + std::strerror(system_errno) + with_detail(detail) +
              ". Native mode needs a driver with XDP and redirect, skb mode Linux 5.9; set dataplane.attachMode to auto.",
          system_errno};
  }
}

Error af_xdp_error(const std::string& interface, std::uint32_t queue, bool zero_copy, int system_errno,
                   std::uint64_t capabilities) {
  const std::string failed = "AF_XDP socket on queue " + std::to_string(queue) + " of " + named(interface);
  switch (system_errno) {
    case EPERM:
    case EACCES:
      return permission_denied(failed, system_errno, capabilities);
    case ENOBUFS:
      return Error{"memlock_too_small",
                   failed +
                       ": the packet memory is larger than what this process may lock. Give it CAP_IPC_LOCK, raise the limit "
                       "(LimitMEMLOCK=infinity in systemd, `ulimit -l unlimited`), or lower dataplane.framesPerWorker.",
                   system_errno};
    case EBUSY:
      return Error{"interface_busy", failed + ": another process holds this queue. Find it with `ss --xdp -p` and stop it.",
                   system_errno};
    case EAFNOSUPPORT:
      return Error{"af_xdp_unsupported",
                   failed + ": this kernel was built without CONFIG_XDP_SOCKETS. Use one that has it (Debian's does).",
                   system_errno};
    default:
      break;
  }
  if (zero_copy && (system_errno == EOPNOTSUPP || system_errno == EINVAL)) {
    return Error{"zero_copy_unavailable",
                 failed + ": the driver does not offer zero copy. Set dataplane.zeroCopy to auto, or use another interface.",
                 system_errno};
  }
  if (system_errno == EINVAL || system_errno == ERANGE) {
    return Error{"interface_queues_too_few",
                 failed + ": the kernel refuses this queue (" + std::strerror(system_errno) + "). `ethtool -l " + interface +
                     "` shows how many there are.",
                 system_errno};
  }
  return Error{"af_xdp_unsupported",
               failed + ": " + std::strerror(system_errno) + ". AF_XDP with need-wakeup needs Linux 5.4, and 5.10 for sharing.",
               system_errno};
}

}  // namespace millrace
