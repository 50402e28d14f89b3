// What `millrace realserver` needs from native code, as one object of the addon: NativeRealserver of src/native-binding.ts.
// Thread: the JavaScript thread.
#pragma once

#include <napi.h>

namespace millrace::addon {

/// The object `realserver` of the addon.
Napi::Object make_realserver(Napi::Env env);

}  // namespace millrace::addon
