// Loads the steering program and attaches it with tc. See steering.h.
// Thread: any; set-up only.
#include "lab/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "steer.skel.h"

namespace millrace {
namespace {

struct SkeletonCloser {
  void operator()(millrace_steer* skeleton) const { millrace_steer__destroy(skeleton); }
};

Error failure(const std::string& what, int system_errno) {
  const bool denied = system_errno == EPERM || system_errno == EACCES;
  std::string message = what + ": " + std::strerror(system_errno) + ". ";
  message += denied ? "Steering needs CAP_BPF and CAP_NET_ADMIN; run as root."
                    : "Steering needs a kernel with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS (clsact).";
  return Error{denied ? "permission_denied" : "xdp_unsupported", std::move(message), system_errno};
}

Result<void> check_rules(std::uint32_t queues, std::span<const SteeringRule> rules, std::uint32_t capacity) {
  if (queues == 0 || queues > 0xfffe) return Error{"config_invalid", "steering needs between 1 and 65534 queues", 0};
  if (rules.size() > capacity) {
    return Error{"config_invalid", "more than " + std::to_string(capacity) + " steering rules for one interface", 0};
  }
  for (const SteeringRule& rule : rules) {
    if (rule.queue >= queues) {
      return Error{"config_invalid",
                   "steering rule for " + rule.destination.to_string() + " names queue " + std::to_string(rule.queue) +
                       ", but there are " + std::to_string(queues),
                   0};
    }
  }
  return {};
}

Result<void> attach(const std::string& interface, int ifindex, int program) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = ifindex;
  hook.attach_point = BPF_TC_EGRESS;
  // A clsact that is already there serves as well as a new one, but libbpf would print the kernel's refusal to make a second.
  const libbpf_print_fn_t printer = libbpf_set_print(nullptr);
  const int hook_error = bpf_tc_hook_create(&hook);
  libbpf_set_print(printer);
  if (hook_error != 0 && hook_error != -EEXIST) return failure("cannot make the clsact hook of " + interface, -hook_error);
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.prog_fd = program;
  options.flags = BPF_TC_F_REPLACE;
  options.handle = 1;
  options.priority = 1;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
    return failure("cannot attach the steering program to " + interface, -error);
  }
  return {};
}

}  // namespace

Result<void> attach_steering(const std::string& interface, std::uint32_t queues, std::span<const SteeringRule> rules) {
  const unsigned int ifindex = if_nametoindex(interface.c_str());
  if (ifindex == 0) return Error{"interface_not_found", "no interface " + interface + " in this network namespace", errno};

  std::unique_ptr<millrace_steer, SkeletonCloser> skeleton(millrace_steer__open());
  if (!skeleton) return failure("cannot read the steering program", errno);
  if (Result<void> checked = check_rules(queues, rules, bpf_map__max_entries(skeleton->maps.steering_rules)); !checked)
    return checked;
  skeleton->rodata->queue_count = queues;
  if (const int error = millrace_steer__load(skeleton.get()); error != 0)
    return failure("cannot load the steering program", -error);

  const int map = bpf_map__fd(skeleton->maps.steering_rules);
  for (const SteeringRule& rule : rules) {
    if (bpf_map_update_elem(map, &rule.destination, &rule.queue, BPF_ANY) != 0) {
      return failure("cannot write the steering rule for " + rule.destination.to_string(), errno);
    }
  }
  return attach(interface, static_cast<int>(ifindex), bpf_program__fd(skeleton->progs.millrace_steer));
}

}  // namespace millrace
