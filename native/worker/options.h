// What is fixed for the life of a dataplane. Mirrors NativeOptions in src/native-binding.ts; validated there.
// Threads: a value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/kernel_objects.h"
#include "ports/interface_check.h"

namespace millrace {

enum class Polling : std::uint8_t { kAdaptive, kBusy, kInterrupt };

struct InterfaceOptions {
  std::string name;
  // Only for replay, where no kernel interface is asked.
  MacAddress mac;
  std::uint16_t mtu = 1500;
  std::vector<Prefix> addresses;
};

struct DataplaneOptions {
  std::uint32_t workers = 1;
  /// CPU per worker; -1 leaves the thread unpinned. Shorter than `workers`: the rest is unpinned.
  std::vector<int> cpus;
  std::vector<InterfaceOptions> interfaces;
  AttachMode attach_mode = AttachMode::kAuto;
  ZeroCopy zero_copy = ZeroCopy::kAuto;
  Polling polling = Polling::kAdaptive;
  /// Packets; 0 leaves the device to its interrupts.
  std::uint32_t busy_poll_budget = 0;
  std::uint32_t frames_per_worker = 8192;
  /// Bytes; 0: chosen from the largest MTU.
  std::uint32_t frame_size = 0;
  std::uint32_t ring_size = 2048;
  bool huge_pages = true;
  std::uint32_t max_sessions_per_worker = 1u << 20;
  std::uint16_t local_port_low = 1024;
  std::uint16_t local_port_high = 65535;
  /// 0 takes one from the kernel.
  std::uint64_t seed = 0;
};

}  // namespace millrace
