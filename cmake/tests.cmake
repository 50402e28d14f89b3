# Native unit tests: one GoogleTest binary per folder under test/native, one CTest entry per test case.
find_package(GTest REQUIRED)
include(GoogleTest)

# ThreadSanitizer of these compilers finds no room for its shadow where the kernel draws mappings from more than 28 bits (Linux 6.6 and
# later, vm.mmap_rnd_bits 32): then each test runs without address randomisation.
if(CMAKE_CXX_FLAGS MATCHES "fsanitize=thread" AND EXISTS /proc/sys/vm/mmap_rnd_bits)
  file(READ /proc/sys/vm/mmap_rnd_bits random_bits)
  find_program(SETARCH setarch)
  if(random_bits GREATER 28 AND SETARCH)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${SETARCH} -R)
  endif()
endif()

file(GLOB test_folders CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/test/native ${CMAKE_SOURCE_DIR}/test/native/*)
foreach(folder ${test_folders})
  file(GLOB sources CONFIGURE_DEPENDS test/native/${folder}/*_test.cc)
  if(sources)
    add_executable(millrace_${folder}_test ${sources})
    target_include_directories(millrace_${folder}_test PRIVATE ${CMAKE_SOURCE_DIR}/test/native ${CMAKE_BINARY_DIR}/bpf)
    target_link_libraries(millrace_${folder}_test PRIVATE millrace_io GTest::gtest GTest::gtest_main)
    gtest_discover_tests(millrace_${folder}_test TEST_PREFIX "${folder}." DISCOVERY_TIMEOUT 60
      PROPERTIES TIMEOUT 300 SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  endif()
endforeach()

# For end-to-end tests: SCTP without a kernel that has it.
add_executable(millrace_sctp_echo test/lab/sctp_echo.c)
target_compile_options(millrace_sctp_echo PRIVATE -std=gnu11 -Wall -Wextra -Werror -O2)
target_link_libraries(millrace_sctp_echo PRIVATE usrsctp pthread)

# And how servers learn their clients: a bad wire, a server that says whom it sees, a client that judges.
foreach(program impair address_server address_client)
  add_executable(millrace_${program} test/lab/${program}.c)
  target_compile_options(millrace_${program} PRIVATE -std=gnu11 -Wall -Wextra -Werror -O2)
endforeach()

# Each header compiles alone.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/native native/*.h)
list(FILTER headers EXCLUDE REGEX "^addon/|bpf\\.h$")
set(header_sources)
foreach(header ${headers})
  string(REPLACE "/" "_" name ${header})
  set(source ${CMAKE_BINARY_DIR}/headers/${name}.cc)
  file(GENERATE OUTPUT ${source} CONTENT "#include \"${header}\"\n")
  list(APPEND header_sources ${source})
endforeach()
add_library(millrace_headers OBJECT ${header_sources})
target_link_libraries(millrace_headers PRIVATE millrace_io)
