# millrace.node. Headers come from cmake-js (CMAKE_JS_INC) or, in a plain cmake build, from the npm package node-api-headers.
set(node_include "${CMAKE_JS_INC}")
if(NOT node_include AND EXISTS ${CMAKE_SOURCE_DIR}/node_modules/node-api-headers/include)
  set(node_include ${CMAKE_SOURCE_DIR}/node_modules/node-api-headers/include)
endif()
# Elsewhere when Millrace is installed as a package: npm keeps one copy for all.
set(MILLRACE_NODE_ADDON_API ${CMAKE_SOURCE_DIR}/node_modules/node-addon-api CACHE PATH "directory of the npm package node-addon-api")
set(node_addon_api ${MILLRACE_NODE_ADDON_API})
file(GLOB addon_sources CONFIGURE_DEPENDS native/addon/*.cc)
if(node_include AND EXISTS ${node_addon_api}/napi.h AND addon_sources)
  add_library(millrace_addon SHARED ${addon_sources} ${CMAKE_JS_SRC})
  set_target_properties(millrace_addon PROPERTIES PREFIX "" SUFFIX ".node" OUTPUT_NAME millrace
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/Release)
  target_include_directories(millrace_addon SYSTEM PRIVATE ${node_include} ${node_addon_api})
  target_compile_definitions(millrace_addon PRIVATE NAPI_VERSION=9 NAPI_DISABLE_CPP_EXCEPTIONS NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
    MILLRACE_VERSION="${PROJECT_VERSION}")
  target_link_libraries(millrace_addon PRIVATE millrace_io ${CMAKE_JS_LIB})
  target_link_options(millrace_addon PRIVATE -Wl,--exclude-libs,ALL -Wl,-Bsymbolic)
else()
  message(STATUS "millrace.node is not built: run npm ci first (node-addon-api, node-api-headers)")
endif()
