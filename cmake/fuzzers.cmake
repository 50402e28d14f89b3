# libFuzzer targets (clang only): build with the preset "fuzz", run with `npm run fuzz`.
file(GLOB fuzz_sources CONFIGURE_DEPENDS test/fuzz/*_fuzz.cc)
foreach(source ${fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/test/native)
  target_link_libraries(${name} PRIVATE millrace_io)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endforeach()
