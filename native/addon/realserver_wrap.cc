// See realserver_wrap.h. Values come checked from src/realserver.
#include "addon/realserver_wrap.h"

#include <cstdlib>

#include "addon/convert.h"
#include "realserver/ingress.h"
#include "realserver/namespace_cookie.h"

namespace millrace::addon {

namespace {

Napi::Value thrown(Napi::Env env, const Error& error) {
  Napi::Error(env, encode_error(env, error)).ThrowAsJavaScriptException();
  return env.Undefined();
}

template <typename T>
Napi::Value answer(Napi::Env env, const Result<T>& result) {
  if (!result) return thrown(env, result.error());
  if constexpr (std::is_void_v<T>) {
    return env.Undefined();
  } else {
    return Napi::Value::From(env, result.value());
  }
}

IpAddress address(const std::string& words) {
  bool ok = false;
  return IpAddress::parse(words, ok);
}

/// "address/length"; checked by TypeScript.
IngressPrefix prefix(const std::string& words) {
  const std::size_t slash = words.find('/');
  return {address(words.substr(0, slash)), static_cast<std::uint32_t>(std::strtoul(words.c_str() + slash + 1, nullptr, 10))};
}

template <typename Visit>
void each(const Napi::Object& object, const char* key, Visit visit) {
  const auto array = object.Get(key).As<Napi::Array>();
  for (std::uint32_t i = 0; i < array.Length(); i++) visit(array.Get(i));
}

std::string interface_of(const Napi::CallbackInfo& info) { return info[0].As<Napi::String>().Utf8Value(); }

IngressProgram program_of(const Napi::CallbackInfo& info) {
  return info[1].As<Napi::String>().Utf8Value() == "l3dsr" ? IngressProgram::kL3dsr : IngressProgram::kDecapsulation;
}

Napi::Value attach_decapsulation_call(const Napi::CallbackInfo& info) {
  const auto object = info[0].As<Napi::Object>();
  Decapsulation wanted;
  wanted.interface = text(object, "interface");
  wanted.gue_port = static_cast<std::uint16_t>(number(object, "guePort"));
  each(object, "types", [&](const Napi::Value& value) {
    const std::string type = value.As<Napi::String>().Utf8Value();
    wanted.ipip |= type == "ipip";
    wanted.gre |= type == "gre";
    wanted.gue |= type == "gue";
  });
  each(object, "vips", [&](const Napi::Value& value) { wanted.vips.push_back(address(value.As<Napi::String>().Utf8Value())); });
  each(object, "trusted",
       [&](const Napi::Value& value) { wanted.trusted.push_back(prefix(value.As<Napi::String>().Utf8Value())); });
  return answer(info.Env(), attach_decapsulation(wanted));
}

Napi::Value attach_l3dsr_call(const Napi::CallbackInfo& info) {
  const auto object = info[0].As<Napi::Object>();
  L3dsr wanted;
  wanted.interface = text(object, "interface");
  each(object, "marks", [&](const Napi::Value& value) {
    const auto mark = value.As<Napi::Object>();
    wanted.marks.push_back({number(mark, "dscp"), address(text(mark, "vip"))});
  });
  return answer(info.Env(), attach_l3dsr(wanted));
}

Napi::Value ingress_state_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Result<IngressState> state = ingress_state(interface_of(info), program_of(info));
  if (!state) return thrown(env, state.error());
  auto object = Napi::Object::New(env);
  object.Set("hook", state.value().hook);
  object.Set("filters", state.value().filters);
  object.Set("programId", state.value().program_id);
  auto counters = Napi::Array::New(env);
  for (const IngressCounter& counter : state.value().counters) {
    auto item = Napi::Object::New(env);
    item.Set("name", counter.name);
    item.Set("help", counter.help);
    item.Set("packets", Napi::BigInt::New(env, counter.packets));
    item.Set("bytes", Napi::BigInt::New(env, counter.bytes));
    counters.Set(counters.Length(), item);
  }
  object.Set("counters", counters);
  return object;
}

Napi::Value detach_call(const Napi::CallbackInfo& info) {
  return answer(info.Env(), detach_ingress(interface_of(info), program_of(info)));
}

Napi::Value make_hook_call(const Napi::CallbackInfo& info) { return answer(info.Env(), make_ingress_hook(interface_of(info))); }

Napi::Value remove_hook_call(const Napi::CallbackInfo& info) {
  return answer(info.Env(), remove_ingress_hook(interface_of(info)));
}

Napi::Value cookie_call(const Napi::CallbackInfo& info) { return Napi::BigInt::New(info.Env(), network_namespace_cookie()); }

}  // namespace

Napi::Object make_realserver(Napi::Env env) {
  auto object = Napi::Object::New(env);
  object.Set("attachDecapsulation", Napi::Function::New(env, attach_decapsulation_call));
  object.Set("attachL3dsr", Napi::Function::New(env, attach_l3dsr_call));
  object.Set("ingressState", Napi::Function::New(env, ingress_state_call));
  object.Set("detachIngress", Napi::Function::New(env, detach_call));
  object.Set("makeIngressHook", Napi::Function::New(env, make_hook_call));
  object.Set("removeIngressHook", Napi::Function::New(env, remove_hook_call));
  object.Set("networkNamespaceCookie", Napi::Function::New(env, cookie_call));
  return object;
}

}  // namespace millrace::addon
