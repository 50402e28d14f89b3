// The JavaScript face of a LogReader, and the numbers by which threads find each other's logs: an object of one environment cannot be
// handed to another, a number can.
// Guarantees: a reader owns what it reads, so it does not matter when the dataplane stops. Of a dataplane that is gone only its number is left.
// Threads: a reader belongs to the environment that opened it; publish_logs() and open_logs() may be called by any.
#pragma once

#include <napi.h>

#include <memory>

#include "core/log_ring.h"

namespace millrace::addon {

/// A number for these logs, never used again. The logs are not kept by it.
std::uint32_t publish_logs(const std::shared_ptr<LogSource>& logs);

Napi::Value open_logs(const Napi::CallbackInfo& info);
Napi::Value encode_log_info(Napi::Env env);
/// Bytes to a socket that others write to as well: never waits, whatever the socket's own flags are. How many were taken, or -errno.
Napi::Value send_now(const Napi::CallbackInfo& info);

class LogReaderWrap : public Napi::ObjectWrap<LogReaderWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit LogReaderWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LogReaderWrap>(info) {}

  void take(std::unique_ptr<LogReader> reader) { reader_ = std::move(reader); }

 private:
  Napi::Value drain(const Napi::CallbackInfo& info);
  Napi::Value lost(const Napi::CallbackInfo& info);
  void set_rate(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  /// nullptr once closed.
  std::unique_ptr<LogReader> reader_;
};

}  // namespace millrace::addon
