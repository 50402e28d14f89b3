// Promises around the blocking calls of a Dataplane.
#include "addon/dataplane_wrap.h"

#include <functional>
#include <utility>

#include "addon/convert.h"
#include "addon/log_reader_wrap.h"

namespace millrace::addon {

namespace {

/// Runs `work` on a pool thread, then resolves with what `encode` makes of it, or rejects with its error.
template <typename T>
class Task final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result<T>()>;
  using Encode = std::function<Napi::Value(Napi::Env, const Result<T>&)>;

  static Napi::Promise run(Napi::Env env, Work work, Encode encode) {
    auto* task = new Task(env, std::move(work), std::move(encode));  // deletes itself
    const Napi::Promise promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, Work work, Encode encode)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), encode_(std::move(encode)),
        result_(Error{}) {}

  void Execute() override { result_ = work_(); }
  void OnOK() override {
    const Napi::HandleScope scope(Env());
    const Napi::Value value = encode_(Env(), result_);
    if (result_) {
      deferred_.Resolve(value);
    } else {
      deferred_.Reject(encode_error(Env(), result_.error()));
    }
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Encode encode_;
  Result<T> result_;
};

Error not_running() { return Error{"not_running", "the balancer is not running", 0}; }

/// Shows native memory to JavaScript; `owner` keeps it alive as long as the view exists.
Napi::Value show(Napi::Env env, void* data, std::size_t bytes, std::shared_ptr<SharedStatistics> owner) {
  auto* keep = new std::shared_ptr<SharedStatistics>(std::move(owner));
  return Napi::ArrayBuffer::New(
      env, data, bytes, [](Napi::Env, void*, std::shared_ptr<SharedStatistics>* held) { delete held; }, keep);
}

}  // namespace

std::shared_ptr<Dataplane> DataplaneHolder::running() const {
  const std::lock_guard lock(pointer_);
  return dataplane_;
}

void DataplaneHolder::set_running(std::shared_ptr<Dataplane> dataplane) {
  // By exchange: the argument, with what was there before, goes after the lock.
  const std::lock_guard lock(pointer_);
  dataplane_.swap(dataplane);
}

Result<void> DataplaneHolder::start() {
  const std::lock_guard lock(turn_);
  if (stopped_) return not_running();
  auto started = Dataplane::start(options_);
  if (!started) return started.error();
  set_running(std::move(started).value());
  return {};
}

Result<ApplyOutcome> DataplaneHolder::apply(TablesConfig tables) {
  const std::lock_guard lock(turn_);
  const std::shared_ptr<Dataplane> dataplane = running();
  if (!dataplane) return not_running();
  return dataplane->apply(std::move(tables));
}

Result<ApplyOutcome> DataplaneHolder::update(ServicesUpdate update) {
  const std::lock_guard lock(turn_);
  const std::shared_ptr<Dataplane> dataplane = running();
  if (!dataplane) return not_running();
  return dataplane->update(std::move(update));
}

Result<SessionPage> DataplaneHolder::sessions(const SessionRequest& request) {
  const std::lock_guard lock(queries_);
  const std::shared_ptr<Dataplane> dataplane = running();
  if (!dataplane) return not_running();
  return dataplane->sessions(request);
}

void DataplaneHolder::stop() {
  // Workers answer queries as long as they run: those that are under way come first.
  const std::scoped_lock lock(turn_, queries_);
  stopped_ = true;
  // Here, and not with the last reference: who reads statistics meanwhile must not be the one that waits for the threads.
  if (const std::shared_ptr<Dataplane> dataplane = running()) dataplane->stop();
  set_running(nullptr);
}

Napi::Function DataplaneWrap::define(Napi::Env env) {
  return DefineClass(env, "Dataplane",
                     {InstanceMethod<&DataplaneWrap::start>("start"), InstanceMethod<&DataplaneWrap::apply>("apply"),
                      InstanceMethod<&DataplaneWrap::update>("update"), InstanceMethod<&DataplaneWrap::sessions>("sessions"),
                      InstanceMethod<&DataplaneWrap::stop>("stop"), InstanceMethod<&DataplaneWrap::counters>("counters"),
                      InstanceMethod<&DataplaneWrap::server_stats>("serverStats"),
                      InstanceMethod<&DataplaneWrap::server_rates>("serverRates"),
                      InstanceMethod<&DataplaneWrap::service_rates>("serviceRates"),
                      InstanceMethod<&DataplaneWrap::service_crowded>("serviceCrowded"),
                      InstanceMethod<&DataplaneWrap::log_handle>("logHandle"),
                      InstanceMethod<&DataplaneWrap::interfaces>("interfaces"), InstanceMethod<&DataplaneWrap::ref>("ref"),
                      InstanceMethod<&DataplaneWrap::unref>("unref")});
}

DataplaneWrap::DataplaneWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DataplaneWrap>(info),
      holder_(std::make_shared<DataplaneHolder>(decode_options(info[0].As<Napi::Object>()))) {
  auto& dataplanes = info.Env().GetInstanceData<InstanceData>()->dataplanes;
  std::erase_if(dataplanes, [](const auto& weak) { return weak.expired(); });
  dataplanes.push_back(holder_);
}

DataplaneWrap::~DataplaneWrap() { release_loop(); }

void DataplaneWrap::hold_loop(Napi::Env env) {
  if (holding_) return;
  keep_alive_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "millrace", 1, 1);
  holding_ = true;
  if (!referenced_) keep_alive_.Unref(env);
}

void DataplaneWrap::release_loop() {
  if (!holding_) return;
  holding_ = false;
  keep_alive_.Release();
}

Napi::Value DataplaneWrap::start(const Napi::CallbackInfo& info) {
  hold_loop(info.Env());
  Ref();  // until the promise settles: the callbacks below use this object
  const auto holder = holder_;
  return Task<void>::run(
      info.Env(),
      [holder] { return holder->start(); },
      [this](Napi::Env env, const Result<void>& result) {
        if (!result) release_loop();
        Unref();
        return env.Undefined();
      });
}

namespace {

Napi::Value change(Napi::Env env, std::function<Result<ApplyOutcome>()> work) {
  return Task<ApplyOutcome>::run(env, std::move(work), [](Napi::Env there, const Result<ApplyOutcome>& result) {
    return result ? encode_outcome(there, result.value()) : there.Undefined();
  });
}

}  // namespace

Napi::Value DataplaneWrap::apply(const Napi::CallbackInfo& info) {
  const auto tables = std::make_shared<TablesConfig>(decode_tables(info[0].As<Napi::Object>()));
  return change(info.Env(), [holder = holder_, tables] { return holder->apply(std::move(*tables)); });
}

Napi::Value DataplaneWrap::update(const Napi::CallbackInfo& info) {
  const auto services = std::make_shared<ServicesUpdate>(decode_update(info[0].As<Napi::Array>()));
  return change(info.Env(), [holder = holder_, services] { return holder->update(std::move(*services)); });
}

Napi::Value DataplaneWrap::sessions(const Napi::CallbackInfo& info) {
  const auto request = std::make_shared<SessionRequest>(decode_session_request(info[0].As<Napi::Object>()));
  return Task<SessionPage>::run(
      info.Env(), [holder = holder_, request] { return holder->sessions(*request); },
      [](Napi::Env env, const Result<SessionPage>& page) { return page ? encode_sessions(env, page.value()) : env.Undefined(); });
}

Napi::Value DataplaneWrap::stop(const Napi::CallbackInfo& info) {
  Ref();
  const auto holder = holder_;
  return Task<void>::run(
      info.Env(),
      [holder] {
        holder->stop();
        return Result<void>();
      },
      [this](Napi::Env env, const Result<void>&) {
        release_loop();
        Unref();
        return env.Undefined();
      });
}

/// The statistics of the worker that the first argument names; null and an exception when nothing runs.
std::shared_ptr<SharedStatistics> DataplaneWrap::statistics_of(const Napi::CallbackInfo& info) const {
  const std::uint32_t worker = info[0].ToNumber().Uint32Value();
  const std::shared_ptr<Dataplane> dataplane = holder_->running();
  if (dataplane && worker < dataplane->workers()) return dataplane->statistics(worker);
  Napi::Error(info.Env(), encode_error(info.Env(), not_running())).ThrowAsJavaScriptException();
  return nullptr;
}

Napi::Value DataplaneWrap::counters(const Napi::CallbackInfo& info) {
  const auto statistics = statistics_of(info);
  if (!statistics) return info.Env().Undefined();
  return show(info.Env(), statistics->counters.data(), kCounterSlots * sizeof(std::uint64_t), statistics);
}

Napi::Value DataplaneWrap::server_stats(const Napi::CallbackInfo& info) {
  const auto statistics = statistics_of(info);
  if (!statistics) return info.Env().Undefined();
  return show(info.Env(), statistics->servers.data(), statistics->servers.capacity() * sizeof(ServerStats), statistics);
}

Napi::Value DataplaneWrap::server_rates(const Napi::CallbackInfo& info) {
  const auto statistics = statistics_of(info);
  if (!statistics) return info.Env().Undefined();
  return show(info.Env(), statistics->server_rates.data(), statistics->server_rates.capacity() * sizeof(RateLeases), statistics);
}

Napi::Value DataplaneWrap::service_rates(const Napi::CallbackInfo& info) {
  const auto statistics = statistics_of(info);
  if (!statistics) return info.Env().Undefined();
  return show(info.Env(), statistics->service_rates.data(), statistics->service_rates.capacity() * sizeof(RateLeases), statistics);
}

Napi::Value DataplaneWrap::service_crowded(const Napi::CallbackInfo& info) {
  const auto statistics = statistics_of(info);
  if (!statistics) return info.Env().Undefined();
  return show(info.Env(), statistics->crowded.data(), statistics->crowded.capacity() * sizeof(std::uint64_t), statistics);
}

Napi::Value DataplaneWrap::log_handle(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Dataplane> dataplane = holder_->running();
  if (!dataplane) {
    Napi::Error(info.Env(), encode_error(info.Env(), not_running())).ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  if (log_handle_ == 0) log_handle_ = publish_logs(dataplane->logs());
  return Napi::Number::New(info.Env(), log_handle_);
}

Napi::Value DataplaneWrap::interfaces(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Dataplane> dataplane = holder_->running();
  return encode_interfaces(info.Env(), dataplane ? dataplane->interfaces() : std::vector<InterfaceStatus>{});
}

void DataplaneWrap::ref(const Napi::CallbackInfo& info) {
  referenced_ = true;
  if (holding_) keep_alive_.Ref(info.Env());
}

void DataplaneWrap::unref(const Napi::CallbackInfo& info) {
  referenced_ = false;
  if (holding_) keep_alive_.Unref(info.Env());
}

}  // namespace millrace::addon
