// Readers of logs, by number.
#include "addon/log_reader_wrap.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "addon/convert.h"
#include "addon/dataplane_wrap.h"

namespace millrace::addon {

namespace {

/// Shared by all environments of the process.
struct Published {
  std::mutex mutex;
  std::unordered_map<std::uint32_t, std::weak_ptr<LogSource>> logs;
  std::uint32_t next = 1;
};

Published& published() {
  static Published all;
  return all;
}

Napi::Value thrown(Napi::Env env, const Error& error) {
  Napi::Error(env, encode_error(env, error)).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace

std::uint32_t publish_logs(const std::shared_ptr<LogSource>& logs) {
  Published& all = published();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.logs, [](const auto& entry) { return entry.second.expired(); });
  all.logs[all.next] = logs;
  return all.next++;
}

Napi::Value open_logs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<LogSource> source;
  {
    Published& all = published();
    const std::lock_guard lock(all.mutex);
    const auto found = all.logs.find(info[0].ToNumber().Uint32Value());
    if (found != all.logs.end()) source = found->second.lock();
  }
  if (!source) return thrown(env, Error{"not_running", "the balancer is not running", 0});
  auto reader = LogReader::open(std::move(source), info[1].ToNumber().Uint32Value());
  if (!reader) return thrown(env, Error{"logs_in_use", "the logs of this balancer are being read already", 0});
  const Napi::Object object = env.GetInstanceData<InstanceData>()->log_reader_constructor.New({});
  LogReaderWrap::Unwrap(object)->take(std::move(reader));
  return object;
}

Napi::Value send_now(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Uint8Array>();
  const ssize_t sent = send(info[0].ToNumber().Int32Value(), bytes.Data(), bytes.ByteLength(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return Napi::Number::New(info.Env(), static_cast<double>(sent < 0 ? -errno : sent));
}

Napi::Function LogReaderWrap::define(Napi::Env env) {
  return DefineClass(env, "LogReader",
                     {InstanceMethod<&LogReaderWrap::drain>("drain"), InstanceMethod<&LogReaderWrap::lost>("lost"),
                      InstanceMethod<&LogReaderWrap::set_rate>("setRate"), InstanceMethod<&LogReaderWrap::close>("close")});
}

Napi::Value LogReaderWrap::drain(const Napi::CallbackInfo& info) {
  if (!reader_) return Napi::Number::New(info.Env(), 0);
  auto into = info[0].As<Napi::Uint8Array>();
  // Whatever its alignment: records are moved by way of some that have theirs.
  std::array<LogRecord, 64> some;
  const std::size_t room = into.ByteLength() / sizeof(LogRecord);
  std::size_t count = 0;
  while (count < room) {
    const std::size_t got = reader_->drain(std::span<LogRecord>(some).first(std::min(room - count, some.size())));
    if (got == 0) break;
    std::memcpy(into.Data() + count * sizeof(LogRecord), some.data(), got * sizeof(LogRecord));
    count += got;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value LogReaderWrap::lost(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  if (!reader_) return list;
  list.Set(0u, Napi::BigInt::New(info.Env(), reader_->dropped()));
  for (std::uint32_t event = 0; event < kLogEvents; event++) {
    list.Set(event + 1, Napi::BigInt::New(info.Env(), reader_->suppressed(static_cast<LogEvent>(event))));
  }
  return list;
}

void LogReaderWrap::set_rate(const Napi::CallbackInfo& info) {
  if (reader_) reader_->set_rate(info[0].ToNumber().Uint32Value());
}

void LogReaderWrap::close(const Napi::CallbackInfo&) { reader_.reset(); }

Napi::Value encode_log_info(Napi::Env env) {
  const auto text = [&](std::string_view view) { return Napi::String::New(env, view.data(), view.size()); };
  auto info = Napi::Object::New(env);
  auto events = Napi::Array::New(env);
  for (std::uint32_t i = 0; i < kLogEvents; i++) {
    auto event = Napi::Object::New(env);
    event.Set("name", text(kLogEventInfo[i].name));
    event.Set("level", text(kLogEventInfo[i].level));
    event.Set("value", text(kLogEventInfo[i].value));
    event.Set("text", text(kLogEventInfo[i].text));
    events.Set(i, event);
  }
  auto fields = Napi::Array::New(env);
  for (std::uint32_t i = 0; i < kLogFields.size(); i++) {
    auto field = Napi::Object::New(env);
    field.Set("name", text(kLogFields[i].name));
    field.Set("offset", Napi::Number::New(env, static_cast<double>(kLogFields[i].offset)));
    field.Set("bytes", Napi::Number::New(env, static_cast<double>(kLogFields[i].bytes)));
    fields.Set(i, field);
  }
  info.Set("events", events);
  info.Set("recordBytes", Napi::Number::New(env, static_cast<double>(sizeof(LogRecord))));
  info.Set("fields", fields);
  return info;
}

}  // namespace millrace::addon
