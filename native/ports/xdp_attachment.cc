// See xdp_attachment.h.
#include "ports/xdp_attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "af_xdp.skel.h"

namespace millrace {
namespace {

/// Keeps libbpf from printing and remembers its last line, which says more than the errno.
class LibbpfMessages {
 public:
  LibbpfMessages() : previous_(libbpf_set_print(&LibbpfMessages::keep)) { last().clear(); }
  ~LibbpfMessages() { libbpf_set_print(previous_); }
  LibbpfMessages(const LibbpfMessages&) = delete;
  LibbpfMessages& operator=(const LibbpfMessages&) = delete;

  static std::string& last() {
    thread_local std::string line;
    return line;
  }

 private:
  __attribute__((format(printf, 2, 0))) static int keep(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    char line[256];
    const int length = std::vsnprintf(line, sizeof(line), format, arguments);
    last() = line;
    while (!last().empty() && last().back() == '\n') last().pop_back();
    return length;
  }

  libbpf_print_fn_t previous_;
};

/// Name of the lock in the abstract socket namespace, which belongs to the network namespace just as the interface index does,
/// and which the kernel clears with the process.
socklen_t lock_address(std::uint32_t interface_index, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::string name = "millrace/interface/" + std::to_string(interface_index);
  name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

/// Process id of who listens on the lock; 0 if it cannot be told from here.
int lock_holder(const sockaddr_un& address, socklen_t length) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return 0;
  int pid = 0;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) pid = credentials.pid;
  }
  close(fd);
  return pid;
}

/// Layout of struct prefix_key in af_xdp.bpf.c.
struct PrefixKey {
  std::uint32_t length;
  std::uint8_t address[16];
};
static_assert(sizeof(PrefixKey) == 20);

PrefixKey prefix_key(const Prefix& prefix) {
  PrefixKey key{prefix.length, {}};
  std::memcpy(key.address, masked(prefix.address, prefix.length).bytes(), sizeof(key.address));
  return key;
}

std::vector<std::array<std::uint8_t, 16>> keys_of(std::span<const IpAddress> addresses) {
  std::vector<std::array<std::uint8_t, 16>> keys(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); i++) std::memcpy(keys[i].data(), addresses[i].bytes(), 16);
  return keys;
}

/// struct nat_server of af_xdp.bpf.c.
using NatServerKey = std::array<std::uint8_t, 20>;

NatServerKey nat_server_key(const IpAddress& address, be16 port, std::uint8_t protocol, bool fragment) {
  NatServerKey key{};
  std::memcpy(key.data(), address.bytes(), 16);
  std::memcpy(key.data() + 16, &port.raw, 2);
  key[18] = protocol;
  key[19] = fragment ? 1 : 0;
  return key;
}

/// Layout of struct outbound_rule in af_xdp.bpf.c.
struct OutboundRule {
  IpAddress source;
  IpAddress source_mask;
  IpAddress destination;
  IpAddress destination_mask;
  std::uint16_t port_low;
  std::uint16_t port_high;
  std::uint8_t protocol;
  std::uint8_t reserved[3];
};
static_assert(sizeof(OutboundRule) == 72);

OutboundRule outbound_rule(const ServiceMatch& match) {
  const IpAddress ones{~0ull, ~0ull};
  const auto mask = [&](const Prefix& prefix) { return masked(ones, prefix.length); };
  return {masked(match.source.address, match.source.length), mask(match.source), masked(match.destination.address, match.destination.length),
          mask(match.destination), match.ports.low, match.ports.high, match.protocol, {}};
}

}  // namespace

struct XdpAttachment::Program {
  millrace_af_xdp* skeleton = nullptr;
  int prefix_map = -1;
  int outbound_map = -1;
  int socket_map = -1;
  int statistics_map = -1;
  int program = -1;
  ~Program() { millrace_af_xdp__destroy(skeleton); }
};

Result<std::unique_ptr<XdpAttachment>> XdpAttachment::attach(const Options& options) {
  const Result<std::vector<InterfaceProbe>> probes = probe_interfaces();
  if (!probes) return probes.error();
  const auto found = std::find_if(probes.value().begin(), probes.value().end(),
                                  [&](const InterfaceProbe& probe) { return probe.name == options.interface; });
  if (found == probes.value().end()) {
    std::string names;
    for (const InterfaceProbe& probe : probes.value()) names += (names.empty() ? "" : ", ") + probe.name;
    return Error{"interface_not_found",
                 "there is no interface " + options.interface + " in this network namespace. There are: " + names + ".", ENODEV};
  }
  std::unique_ptr<XdpAttachment> attachment(new XdpAttachment());
  attachment->probe_ = *found;
  // The lock before the checks: of an interface that another Millrace holds, its XDP program is not the news.
  if (Result<void> taken = attachment->take_lock(); !taken) return taken.error();
  if (Result<void> fit = check_interface(attachment->probe_, options.needs); !fit) return fit.error();
  const std::uint64_t capabilities = read_capabilities();
  if (Result<void> loaded = attachment->load(capabilities); !loaded) return loaded.error();
  if (Result<void> linked = attachment->link(options.needs.attach_mode, capabilities); !linked) return linked.error();
  return attachment;
}

XdpAttachment::~XdpAttachment() {
  if (link_fd_ >= 0) close(link_fd_);
  program_.reset();
  if (lock_fd_ >= 0) close(lock_fd_);
}

Result<void> XdpAttachment::take_lock() {
  lock_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address;
  const socklen_t length = lock_address(probe_.index, address);
  if (lock_fd_ >= 0 && bind(lock_fd_, reinterpret_cast<const sockaddr*>(&address), length) == 0 && listen(lock_fd_, 64) == 0)
    return {};
  const int error = errno;
  if (lock_fd_ >= 0) close(std::exchange(lock_fd_, -1));
  if (error == EADDRINUSE) return interface_busy(probe_.name, lock_holder(address, length));
  return Error{"interface_busy", "cannot take the lock of interface " + probe_.name + ": " + std::strerror(error), error};
}

void XdpAttachment::drain_lock() const {
  for (int fd = accept4(lock_fd_, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0;
       fd = accept4(lock_fd_, nullptr, nullptr, SOCK_CLOEXEC)) {
    close(fd);
  }
}

Result<void> XdpAttachment::load(std::uint64_t capabilities) {
  const LibbpfMessages messages;
  auto program = std::make_unique<Program>();
  program->skeleton = millrace_af_xdp__open();
  if (program->skeleton == nullptr) {
    return xdp_error(probe_.name, "cannot open the XDP program", errno, LibbpfMessages::last(), capabilities);
  }
  bpf_map__set_max_entries(program->skeleton->maps.sockets, probe_.rx_queues);
  if (const int error = millrace_af_xdp__load(program->skeleton); error != 0) {
    return xdp_error(probe_.name, "cannot load the XDP program", -error, LibbpfMessages::last(), capabilities);
  }
  program->prefix_map = bpf_map__fd(program->skeleton->maps.prefixes);
  owned_.map = bpf_map__fd(program->skeleton->maps.owned);
  kernel_addresses_.map = bpf_map__fd(program->skeleton->maps.kernel_addresses);
  nat_servers_.map = bpf_map__fd(program->skeleton->maps.nat_servers);
  program->outbound_map = bpf_map__fd(program->skeleton->maps.outbound_rules);
  program->socket_map = bpf_map__fd(program->skeleton->maps.sockets);
  program->statistics_map = bpf_map__fd(program->skeleton->maps.statistics);
  program->program = bpf_program__fd(program->skeleton->progs.millrace_xdp);
  program_ = std::move(program);
  return {};
}

Result<void> XdpAttachment::link(AttachMode wanted, std::uint64_t capabilities) {
  const auto try_mode = [&](std::uint32_t flags) {
    bpf_link_create_opts options{};
    options.sz = sizeof(options);
    options.flags = flags;
    link_fd_ = bpf_link_create(program_->program, static_cast<int>(probe_.index), BPF_XDP, &options);
    return link_fd_ >= 0 ? 0 : errno;
  };
  if (wanted != AttachMode::kSkb) {
    const int error = try_mode(XDP_FLAGS_DRV_MODE);
    mode_ = XdpMode::kNative;
    if (error == 0) return {};
    const Error refusal = xdp_error(probe_.name, "cannot attach the XDP program in native mode", error, "", capabilities);
    // Neither a missing right nor a rival's program gets better in the other mode.
    const bool hopeless = error == EPERM || error == EACCES || error == EBUSY || error == EEXIST;
    if (wanted == AttachMode::kNative || hopeless) return refusal;
    fallback_reason_ = refusal.message;
  }
  const int error = try_mode(XDP_FLAGS_SKB_MODE);
  mode_ = XdpMode::kSkb;
  if (error != 0) return xdp_error(probe_.name, "cannot attach the XDP program in skb mode", error, "", capabilities);
  return {};
}

Result<void> XdpAttachment::set_owned_addresses(std::span<const IpAddress> addresses) {
  return replace(owned_, keys_of(addresses), kMaxAddresses);
}

Result<void> XdpAttachment::set_kernel_addresses(std::span<const IpAddress> addresses) {
  return replace(kernel_addresses_, keys_of(addresses), kMaxAddresses);
}

Result<void> XdpAttachment::set_nat_servers(std::span<const ServiceKey> servers) {
  std::vector<NatServerKey> wanted;
  for (const ServiceKey& server : servers) {
    wanted.push_back(nat_server_key(server.address, server.port, server.protocol, false));
    wanted.push_back(nat_server_key(server.address, be16(0), server.protocol, true));
  }
  const Result<void> result = replace(nat_servers_, std::move(wanted), 4 * kMaxServers);
  program_->skeleton->bss->nat_in_use = nat_servers_.held.empty() ? 0 : 1;
  return result;
}

template <std::size_t N>
Result<void> XdpAttachment::replace(KernelSet<N>& set, std::vector<std::array<std::uint8_t, N>> wanted, std::size_t limit) {
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (wanted.size() > limit) {
    return Error{"limit_exceeded",
                 std::to_string(wanted.size()) + " entries in a table of the XDP program; at most " + std::to_string(limit) +
                     " are possible per interface.",
                 E2BIG};
  }
  std::vector<std::array<std::uint8_t, N>> added;
  std::vector<std::array<std::uint8_t, N>> removed;
  std::set_difference(wanted.begin(), wanted.end(), set.held.begin(), set.held.end(), std::back_inserter(added));
  std::set_difference(set.held.begin(), set.held.end(), wanted.begin(), wanted.end(), std::back_inserter(removed));
  // When old and new together exceed the kernel's table, the old ones must go first.
  const bool remove_first = set.held.size() + added.size() > limit;
  if (remove_first) {
    if (Result<void> result = remove<N>(set, removed); !result) return result;
  }
  if (Result<void> result = add<N>(set, added); !result) return result;
  return remove_first ? Result<void>() : remove<N>(set, removed);
}

template <std::size_t N>
Result<void> XdpAttachment::add(KernelSet<N>& set, std::span<const std::array<std::uint8_t, N>> keys) {
  const std::uint8_t present = 1;
  std::size_t done = 0;
  int error = 0;
  while (done < keys.size() && error == 0) {
    error = bpf_map_update_elem(set.map, keys[done].data(), &present, BPF_ANY) == 0 ? 0 : errno;
    if (error == 0) done++;
  }
  std::vector<std::array<std::uint8_t, N>> now;
  std::set_union(set.held.begin(), set.held.end(), keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(done),
                 std::back_inserter(now));
  set.held = std::move(now);
  if (error == 0) return {};
  return xdp_error(probe_.name, "cannot add address " + IpAddress::v6(keys[done].data()).to_string() + " to the XDP program", error,
                   "", read_capabilities());
}

template <std::size_t N>
Result<void> XdpAttachment::remove(KernelSet<N>& set, std::span<const std::array<std::uint8_t, N>> keys) {
  std::size_t done = 0;
  int error = 0;
  while (done < keys.size() && error == 0) {
    error = bpf_map_delete_elem(set.map, keys[done].data()) == 0 || errno == ENOENT ? 0 : errno;
    if (error == 0) done++;
  }
  std::vector<std::array<std::uint8_t, N>> now;
  std::set_difference(set.held.begin(), set.held.end(), keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(done),
                      std::back_inserter(now));
  set.held = std::move(now);
  if (error == 0) return {};
  return xdp_error(probe_.name, "cannot remove address " + IpAddress::v6(keys[done].data()).to_string() + " from the XDP program",
                   error, "", read_capabilities());
}

Result<void> XdpAttachment::set_owned_prefixes(std::span<const Prefix> vips, std::span<const IpAddress> kernel) {
  if (vips.size() > kMaxOwnedPrefixes) {
    return Error{"limit_exceeded", std::to_string(vips.size()) + " prefixes of VIPs; at most " + std::to_string(kMaxOwnedPrefixes) +
                                       " are possible per interface.", E2BIG};
  }
  // Without prefixes there is nothing to except addresses from, and the look-up of every other packet stays short.
  std::vector<Prefix> excepted;
  for (const IpAddress& address : vips.empty() ? std::span<const IpAddress>() : kernel) excepted.push_back({address, 128});
  if (auto r = store_prefixes(excepted, excepted_, 0); !r) return r;
  if (auto r = store_prefixes(vips, prefixes_, 1); !r) return r;
  if (auto r = drop_prefixes(vips, prefixes_); !r) return r;
  return drop_prefixes(excepted, excepted_);
}

Result<void> XdpAttachment::set_outbound(std::span<const ServiceMatch> rules) {
  if (std::equal(rules.begin(), rules.end(), outbound_.begin(), outbound_.end())) return {};
  if (rules.size() > kMaxOutboundRules) {
    return Error{"limit_exceeded", std::to_string(rules.size()) + " matches of the outbound gateway on interface " + probe_.name +
                                       "; at most " + std::to_string(kMaxOutboundRules) + " are possible.", E2BIG};
  }
  std::uint32_t& in_use = const_cast<std::uint32_t&>(program_->skeleton->bss->outbound_in_use);
  const std::uint32_t first = (in_use & 0xffff) == 0 ? kMaxOutboundRules : 0;
  for (std::uint32_t i = 0; i < rules.size(); i++) {
    const OutboundRule rule = outbound_rule(rules[i]);
    const std::uint32_t number = first + i;
    if (bpf_map_update_elem(program_->outbound_map, &number, &rule, BPF_ANY) != 0) {
      return xdp_error(probe_.name, "cannot add a rule of the outbound gateway to the XDP program", errno, "", read_capabilities());
    }
  }
  outbound_.assign(rules.begin(), rules.end());
  __atomic_store_n(&in_use, rules.empty() ? 0 : first | static_cast<std::uint32_t>(rules.size()) << 16, __ATOMIC_RELEASE);
  return {};
}

Result<void> XdpAttachment::store_prefixes(std::span<const Prefix> wanted, std::vector<Prefix>& stored, std::uint8_t verdict) {
  for (const Prefix& prefix : wanted) {
    if (std::find(stored.begin(), stored.end(), prefix) != stored.end()) continue;
    const PrefixKey key = prefix_key(prefix);
    if (bpf_map_update_elem(program_->prefix_map, &key, &verdict, BPF_ANY) != 0) {
      return xdp_error(probe_.name, "cannot add prefix " + prefix.to_string() + " to the XDP program", errno, "", read_capabilities());
    }
    stored.push_back(prefix);
  }
  return {};
}

Result<void> XdpAttachment::drop_prefixes(std::span<const Prefix> wanted, std::vector<Prefix>& stored) {
  Result<void> result;
  std::erase_if(stored, [&](const Prefix& prefix) {
    if (std::find(wanted.begin(), wanted.end(), prefix) != wanted.end()) return false;
    const PrefixKey key = prefix_key(prefix);
    if (bpf_map_delete_elem(program_->prefix_map, &key) == 0 || errno == ENOENT) return true;
    result = xdp_error(probe_.name, "cannot remove prefix " + prefix.to_string() + " from the XDP program", errno, "",
                       read_capabilities());
    return false;
  });
  return result;
}

Result<void> XdpAttachment::set_socket(std::uint32_t queue, int fd) {
  if (bpf_map_update_elem(program_->socket_map, &queue, &fd, BPF_ANY) == 0) return {};
  if (errno == E2BIG) {
    return Error{"interface_queues_too_few",
                 "interface " + probe_.name + " has no receive queue " + std::to_string(queue) + "; it has " +
                     std::to_string(queues()) + ".",
                 E2BIG};
  }
  return xdp_error(probe_.name, "cannot give queue " + std::to_string(queue) + " to its socket", errno, "", read_capabilities());
}

XdpCounters XdpAttachment::counters() const {
  drain_lock();
  XdpCounters sum;
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return sum;
  static_assert(sizeof(XdpCounters) == 6 * 8, "layout of struct counters in af_xdp.bpf.c");
  std::vector<XdpCounters> per_cpu(static_cast<std::size_t>(cpus));
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(program_->statistics_map, &zero, per_cpu.data()) != 0) return sum;
  for (const XdpCounters& one : per_cpu) {
    sum.received_packets += one.received_packets;
    sum.received_bytes += one.received_bytes;
    sum.to_workers_packets += one.to_workers_packets;
    sum.to_workers_bytes += one.to_workers_bytes;
    sum.to_kernel_packets += one.to_kernel_packets;
    sum.to_kernel_bytes += one.to_kernel_bytes;
  }
  return sum;
}

}  // namespace millrace
