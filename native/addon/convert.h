// JavaScript values to native ones and back. The TypeScript side has validated everything (src/config), so a wrong type here is a
// defect of ours: a value that does not fit becomes its default.
// Thread: the JavaScript thread.
#pragma once

#include <napi.h>

#include <string>

#include "core/result.h"
#include "ports/interface_probe.h"
#include "tables/configuration.h"
#include "tables/table_builder.h"
#include "worker/dataplane.h"
#include "worker/options.h"
#include "worker/replay.h"

namespace millrace::addon {

DataplaneOptions decode_options(const Napi::Object& object);
TablesConfig decode_tables(const Napi::Object& object);
ServicesUpdate decode_update(const Napi::Array& services);
SessionRequest decode_session_request(const Napi::Object& object);
Napi::Value encode_sessions(Napi::Env env, const SessionPage& page);
ReplayOptions decode_replay(const Napi::Object& object);

std::string text(const Napi::Object& object, const char* key);
std::uint32_t number(const Napi::Object& object, const char* key);

/// An Error object with code, message and errno.
Napi::Value encode_error(Napi::Env env, const Error& error);
Napi::Value encode_outcome(Napi::Env env, const ApplyOutcome& outcome);
Napi::Value encode_interfaces(Napi::Env env, const std::vector<InterfaceStatus>& interfaces);
Napi::Value encode_probes(Napi::Env env, const std::vector<InterfaceProbe>& probes);
Napi::Value encode_replay(Napi::Env env, const ReplayResult& result);
Napi::Value encode_counter_info(Napi::Env env);

}  // namespace millrace::addon
