// Result<T>: how cold-path code (set-up, configuration, netlink) reports failure without exceptions.
// Guarantees: an Error always carries a stable code, a sentence for a person, and the errno if there was one.
// Thread: any. Never used per packet: the packet path speaks in Verdicts and counters.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace millrace {

struct Error {
  /// Stable identifier, e.g. "interface_busy"; TypeScript maps it to MILLRACE_E_INTERFACE_BUSY.
  std::string code;
  /// What was found, what is needed, how to get it: one or two sentences.
  std::string message;
  /// errno of the failing call, 0 if none.
  int system_errno = 0;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  bool ok() const { return state_.index() == 0; }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return ok_; }
  bool ok() const { return ok_; }
  const Error& error() const { return error_; }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace millrace
