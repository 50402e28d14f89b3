// The addon's entry: what src/native-binding.ts calls NativeBinding. State lives in the environment's instance data, so the addon can be
// loaded by several worker_threads at once; the cleanup hook stops every thread that an environment started before it goes.
// Thread: the JavaScript thread of each environment.
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <napi.h>
#include <sys/utsname.h>
#include <xdp/xsk.h>

#include <cstdlib>

#include "addon/convert.h"
#include "addon/dataplane_wrap.h"
#include "addon/log_reader_wrap.h"
#include "addon/realserver_wrap.h"
#include "control/check_socket.h"
#include "lab/steering.h"
#include "ports/interface_probe.h"
#include "worker/replay.h"

namespace millrace::addon {

namespace {

constexpr int kAbiVersion = 3;

Napi::Value thrown(Napi::Env env, const Error& error) {
  Napi::Error(env, encode_error(env, error)).ThrowAsJavaScriptException();
  return env.Undefined();
}

/// libxdp does not tell its version; the name of the file that was loaded does: libxdp.so.1.3.1. Empty when it does not.
std::string libxdp_version() {
  Dl_info library{};
  if (dladdr(reinterpret_cast<void*>(&xsk_umem__create), &library) == 0 || library.dli_fname == nullptr) return {};
  const std::unique_ptr<char, decltype(&std::free)> path(realpath(library.dli_fname, nullptr), &std::free);
  if (!path) return {};
  const std::string file = path.get();
  const std::size_t version = file.find(".so.");
  return version == std::string::npos ? std::string() : file.substr(version + 4);
}

Napi::Value versions(const Napi::CallbackInfo& info) {
  auto object = Napi::Object::New(info.Env());
  object.Set("addon", MILLRACE_VERSION);
  object.Set("libbpf", std::to_string(libbpf_major_version()) + "." + std::to_string(libbpf_minor_version()));
  if (const std::string libxdp = libxdp_version(); !libxdp.empty()) object.Set("libxdp", libxdp);
  utsname name{};
  if (uname(&name) == 0) object.Set("kernel", name.release);
  object.Set("compiler", __VERSION__);
  return object;
}

Napi::Value create_dataplane(const Napi::CallbackInfo& info) {
  return info.Env().GetInstanceData<InstanceData>()->dataplane_constructor.New({info[0]});
}

Napi::Value run_replay(const Napi::CallbackInfo& info) {
  DataplaneOptions options = decode_options(info[0].As<Napi::Object>());
  const TablesConfig tables = decode_tables(info[1].As<Napi::Object>());
  const auto wanted = info[2].As<Napi::Object>();
  if (const std::uint32_t workers = number(wanted, "workers"); workers != 0) options.workers = workers;
  const auto result = replay(options, tables, decode_replay(wanted));
  if (!result) return thrown(info.Env(), result.error());
  return encode_replay(info.Env(), result.value());
}

Napi::Value interfaces(const Napi::CallbackInfo& info) {
  const auto probes = probe_interfaces();
  if (!probes) return thrown(info.Env(), probes.error());
  return encode_probes(info.Env(), probes.value());
}

Napi::Value kernel(const Napi::CallbackInfo& info) {
  const KernelProbe probe = probe_kernel();
  auto object = Napi::Object::New(info.Env());
  object.Set("xdp", probe.xdp);
  object.Set("afXdp", probe.af_xdp);
  object.Set("bpfLink", probe.bpf_link);
  return object;
}

Napi::Value lab_steering(const Napi::CallbackInfo& info) {
  const auto wanted = info[0].As<Napi::Object>();
  std::vector<SteeringRule> rules;
  const auto list = wanted.Get("rules").As<Napi::Array>();
  for (std::uint32_t i = 0; i < list.Length(); i++) {
    const auto rule = list.Get(i).As<Napi::Object>();
    bool ok = false;
    rules.push_back({IpAddress::parse(text(rule, "address"), ok), number(rule, "queue")});
  }
  const auto attached = attach_steering(text(wanted, "interface"), number(wanted, "queues"), rules);
  if (!attached) return thrown(info.Env(), attached.error());
  return info.Env().Undefined();
}

Napi::Value check_socket(const Napi::CallbackInfo& info) {
  const auto wanted = info[0].As<Napi::Object>();
  CheckSocketOptions options;
  const std::string kind = text(wanted, "kind");
  options.kind = kind == "echo" ? CheckSocketKind::kEcho : kind == "datagram" ? CheckSocketKind::kDatagram : CheckSocketKind::kStream;
  options.ipv6 = number(wanted, "family") == 6;
  options.bind_address = text(wanted, "bindAddress");
  options.bind_interface = text(wanted, "bindInterface");
  options.mark = number(wanted, "mark");
  const auto fd = open_check_socket(options);
  if (!fd) return thrown(info.Env(), fd.error());
  return Napi::Number::New(info.Env(), fd.value());
}

Napi::Value notify_systemd(const Napi::CallbackInfo& info) {
  const auto sent = notify_service_manager(info[0].As<Napi::String>(), info[1].As<Napi::String>());
  if (!sent) return thrown(info.Env(), sent.error());
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* data = new InstanceData();  // freed with the environment
  env.SetInstanceData(data);
  env.AddCleanupHook([data] {
    for (const auto& weak : data->dataplanes) {
      if (const auto holder = weak.lock()) holder->stop();
    }
  });
  data->dataplane_constructor = Napi::Persistent(DataplaneWrap::define(env));
  data->log_reader_constructor = Napi::Persistent(LogReaderWrap::define(env));
  // libbpf's own messages go to stderr by default; what matters of them comes back in our errors.
  libbpf_set_print(nullptr);
  exports.Set("abiVersion", kAbiVersion);
  exports.Set("versions", Napi::Function::New(env, versions));
  exports.Set("counterInfo", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return encode_counter_info(info.Env()); }));
  exports.Set("logInfo", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return encode_log_info(info.Env()); }));
  exports.Set("sendNow", Napi::Function::New(env, send_now));
  exports.Set("openLogs", Napi::Function::New(env, open_logs));
  exports.Set("createDataplane", Napi::Function::New(env, create_dataplane));
  exports.Set("replay", Napi::Function::New(env, run_replay));
  exports.Set("probeInterfaces", Napi::Function::New(env, interfaces));
  exports.Set("probeKernel", Napi::Function::New(env, kernel));
  exports.Set("attachLabSteering", Napi::Function::New(env, lab_steering));
  exports.Set("openCheckSocket", Napi::Function::New(env, check_socket));
  exports.Set("notifyServiceManager", Napi::Function::New(env, notify_systemd));
  exports.Set("realserver", make_realserver(env));
  return exports;
}

}  // namespace

}  // namespace millrace::addon

static Napi::Object millrace_init(Napi::Env env, Napi::Object exports) { return millrace::addon::init(env, exports); }

NODE_API_MODULE(millrace, millrace_init)
