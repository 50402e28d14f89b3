// StableArray's memory: one anonymous mapping without reserved swap. Control thread only.
#pragma once

#include <sys/mman.h>

#include <cerrno>

#include "tables/slots.h"

namespace millrace {

template <typename T>
Result<void> StableArray<T>::reserve(std::size_t capacity) {
  void* memory = mmap(nullptr, capacity * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Error{"limit_exceeded", "cannot reserve address space for a table", errno};
  items_ = static_cast<T*>(memory);
  capacity_ = capacity;
  return {};
}

template <typename T>
StableArray<T>::~StableArray() {
  if (items_ != nullptr) munmap(items_, capacity_ * sizeof(T));
}

}  // namespace millrace
