# Headers of others that most sources read are precompiled: reading them is most of the work of a small
# source. Headers of ours only where every source of a target reads them anyhow, since an edit compiles
# the whole target anew: the transformer in models, tests/support/engine.h in tests of whole experiments.
#
#   quell_precompiled(NAME LIBRARIES libraries... HEADERS headers...)   makes one
#   quell_use_precompiled(TARGET NAME)                                  uses it
#
# Sources include what they use as if there were none; QUELL_PRECOMPILED=OFF shows whether they do.
# A target that uses one needs the same options of optimization as the one that makes it.

if(QUELL_PRECOMPILED)  # used even where the compiler cache only preprocesses
  target_compile_options(quell_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/precompiled.cpp CONTENT "")

function(quell_precompiled name)
  cmake_parse_arguments(argument "" "" "LIBRARIES;HEADERS" ${ARGN})
  if(QUELL_PRECOMPILED)
    add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/generated/precompiled.cpp)
    target_link_libraries(${name} PRIVATE quell_options ${argument_LIBRARIES})
    target_precompile_headers(${name} PRIVATE ${argument_HEADERS})
    set_property(TARGET ${name} PROPERTY CXX_COMPILER_LAUNCHER
      ${PROJECT_SOURCE_DIR}/cmake/without_old_header.sh ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
endfunction()

function(quell_use_precompiled target name)
  if(QUELL_PRECOMPILED)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()
