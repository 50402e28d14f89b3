# Native benchmarks: each is a program that prints figures as JSON lines (bench/README.md).
file(GLOB bench_sources CONFIGURE_DEPENDS bench/native/*_bench.cc)
foreach(source ${bench_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/bench/native ${CMAKE_SOURCE_DIR}/test/native)
  target_link_libraries(${name} PRIVATE millrace_io)
endforeach()
