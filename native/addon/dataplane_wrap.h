// The JavaScript face of a Dataplane. Blocking calls run on Node's thread pool; statistics are native memory shown to JavaScript.
// Threads: members run on the JavaScript thread, the bodies of tasks on pool threads, one at a time per object.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <vector>

#include "worker/dataplane.h"

namespace millrace::addon {

/// The dataplane behind a wrap. Shared with tasks in flight, so that it outlives the JavaScript object if it must.
class DataplaneHolder {
 public:
  explicit DataplaneHolder(DataplaneOptions options) : options_(std::move(options)) {}

  // Blocking, one after the other: for pool threads and the cleanup hook.
  Result<void> start();
  Result<ApplyOutcome> apply(TablesConfig tables);
  Result<ApplyOutcome> update(ServicesUpdate update);
  Result<SessionPage> sessions(const SessionRequest& request);
  void stop();

  /// The running dataplane or nothing. Never waits for the calls above, so that JavaScript may read statistics during them.
  std::shared_ptr<Dataplane> running() const;

 private:
  void set_running(std::shared_ptr<Dataplane> dataplane);

  const DataplaneOptions options_;
  std::mutex turn_;
  /// One query of sessions at a time, beside changes.
  std::mutex queries_;
  bool stopped_ = false;  // guarded by turn_
  mutable std::mutex pointer_;
  std::shared_ptr<Dataplane> dataplane_;  // guarded by pointer_
};

class DataplaneWrap : public Napi::ObjectWrap<DataplaneWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit DataplaneWrap(const Napi::CallbackInfo& info);
  ~DataplaneWrap() override;

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value apply(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value sessions(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value server_stats(const Napi::CallbackInfo& info);
  Napi::Value server_rates(const Napi::CallbackInfo& info);
  Napi::Value service_rates(const Napi::CallbackInfo& info);
  Napi::Value service_crowded(const Napi::CallbackInfo& info);
  Napi::Value log_handle(const Napi::CallbackInfo& info);
  Napi::Value interfaces(const Napi::CallbackInfo& info);
  void ref(const Napi::CallbackInfo& info);
  void unref(const Napi::CallbackInfo& info);
  std::shared_ptr<SharedStatistics> statistics_of(const Napi::CallbackInfo& info) const;
  void hold_loop(Napi::Env env);
  void release_loop();

  std::shared_ptr<DataplaneHolder> holder_;
  /// Exists while the dataplane runs: what keeps the event loop alive when referenced.
  Napi::ThreadSafeFunction keep_alive_;
  bool holding_ = false;
  bool referenced_ = true;
  /// Of log_handle(); 0 before the first call.
  std::uint32_t log_handle_ = 0;
};

/// Per environment: every dataplane made in it, so that the cleanup hook can stop their threads before the environment goes.
struct InstanceData {
  Napi::FunctionReference dataplane_constructor;
  Napi::FunctionReference log_reader_constructor;
  std::vector<std::weak_ptr<DataplaneHolder>> dataplanes;
};

}  // namespace millrace::addon
