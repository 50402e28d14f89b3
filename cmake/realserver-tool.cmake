# millrace-realserver: one static program for real servers, which may have neither Node nor libbpf.
find_library(STATIC_BPF_LIBRARY NAMES libbpf.a REQUIRED)
find_library(STATIC_ELF_LIBRARY NAMES libelf.a REQUIRED)
find_library(STATIC_Z_LIBRARY NAMES libz.a REQUIRED)
add_executable(millrace_realserver native/realserver/tool/millrace_realserver.c)
set_target_properties(millrace_realserver PROPERTIES OUTPUT_NAME millrace-realserver RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tool)
millrace_bpf_skeleton(millrace_realserver native/realserver/client_address.bpf.c
  native/realserver/ingress.bpf.h native/realserver/client_address_counters.def)
# Not the flags of the rest: no sanitizer and no vector instructions of newer machines in a program that must run anywhere.
set_target_properties(millrace_realserver PROPERTIES POSITION_INDEPENDENT_CODE OFF C_STANDARD 11 C_EXTENSIONS ON)
target_compile_definitions(millrace_realserver PRIVATE _GNU_SOURCE MILLRACE_VERSION="${PROJECT_VERSION}")
target_compile_options(millrace_realserver PRIVATE -Os -g0 -Wall -Wextra -Wshadow -Werror -ffunction-sections -fdata-sections)
target_link_options(millrace_realserver PRIVATE -static -no-pie -Wl,--gc-sections -s)
target_link_libraries(millrace_realserver PRIVATE ${STATIC_BPF_LIBRARY} ${STATIC_ELF_LIBRARY} ${STATIC_Z_LIBRARY})
