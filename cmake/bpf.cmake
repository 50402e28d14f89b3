# BPF programs: clang compiles them to BPF objects, bpftool turns each into a C header that embeds it (a "skeleton").
find_program(BPF_CLANG NAMES clang-14 clang-15 clang-16 clang REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-multiarch OUTPUT_VARIABLE multiarch OUTPUT_STRIP_TRAILING_WHITESPACE)

# Files that the program includes come after its own name.
function(millrace_bpf_skeleton target source)
  get_filename_component(name ${source} NAME_WLE) # af_xdp.bpf
  string(REGEX REPLACE "\\.bpf$" "" name ${name})
  set(object ${CMAKE_BINARY_DIR}/bpf/${name}.bpf.o)
  set(header ${CMAKE_BINARY_DIR}/bpf/${name}.skel.h)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bpf)
  add_custom_command(OUTPUT ${object}
    COMMAND ${BPF_CLANG} -O2 -g -Wall -Werror -target bpf -I/usr/include/${multiarch} -c ${CMAKE_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${source} ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} VERBATIM)
  # The object's file name would become part of the program's names; "name" keeps them stable.
  add_custom_command(OUTPUT ${header}
    COMMAND sh -c "'${BPFTOOL}' gen skeleton '${object}' name millrace_${name} > '${header}'"
    DEPENDS ${object} VERBATIM)
  target_sources(${target} PRIVATE ${header})
  # SYSTEM: what bpftool generates is not held to our warnings.
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_BINARY_DIR}/bpf)
endfunction()
