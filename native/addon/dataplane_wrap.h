// The JavaScript face of a Dataplane. Blocking calls run on Node's thread pool; statistics are native memory shown to JavaScript.
// Threads: members run on the JavaScript thread, the bodies of tasks on pool threads, one at a time per object.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>

#include "worker/dataplane.h"

namespace millrace::addon {

/// The dataplane behind a wrap. Shared with tasks in flight, so that it outlives the JavaScript object if it must.
struct DataplaneHolder {
  DataplaneOptions options;
  /// Orders start, apply and stop, which run on pool threads.
  std::mutex mutex;
  std::unique_ptr<Dataplane> dataplane;
  bool stopped = false;

  void stop();
};

class DataplaneWrap : public Napi::ObjectWrap<DataplaneWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit DataplaneWrap(const Napi::CallbackInfo& info);
  ~DataplaneWrap() override;

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value apply(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value server_stats(const Napi::CallbackInfo& info);
  Napi::Value interfaces(const Napi::CallbackInfo& info);
  void ref(const Napi::CallbackInfo& info);
  void unref(const Napi::CallbackInfo& info);
  void hold_loop(Napi::Env env);
  void release_loop();

  std::shared_ptr<DataplaneHolder> holder_;
  /// Exists while the dataplane runs: what keeps the event loop alive when referenced.
  Napi::ThreadSafeFunction keep_alive_;
  bool holding_ = false;
  bool referenced_ = true;
};

/// Per environment: every dataplane made in it, so that the cleanup hook can stop their threads before the environment goes.
struct InstanceData {
  Napi::FunctionReference dataplane_constructor;
  std::vector<std::weak_ptr<DataplaneHolder>> dataplanes;
};

}  // namespace millrace::addon
