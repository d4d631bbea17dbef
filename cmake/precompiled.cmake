# Headers of others that most sources read are precompiled: reading them is most of the work of a small
# source. Headers of ours only where every source of a target reads them anyhow, since an edit compiles
# the whole target anew: the transformer in models, tests/support/engine.h in tests of whole experiments.
#
#   quell_precompiled(NAME LIBRARIES libraries... HEADERS headers... [OPERATIONS headers...])   makes one
#   quell_use_precompiled(TARGET NAME)                                                         uses it
#
# With OPERATIONS there are two: at the end of every source GCC instantiates all that the inline functions
# of its headers need, used or not, and for LibTorch's operations that takes a second. So these, with
# LibTorch's whole set, are for sources that include an operation; the others have NAME.
#
# Sources include what they use as if there were none; QUELL_PRECOMPILED=OFF shows whether they do.
# A target that uses one needs the same options of optimization as the one that makes it.

if(QUELL_PRECOMPILED)  # used even where the compiler cache only preprocesses
  target_compile_options(quell_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/precompiled.cpp CONTENT "")

function(quell_precompiled name)
  cmake_parse_arguments(argument "" "" "LIBRARIES;HEADERS;OPERATIONS" ${ARGN})
  if(NOT QUELL_PRECOMPILED)
    return()
  endif()
  add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/generated/precompiled.cpp)
  target_link_libraries(${name} PRIVATE quell_options ${argument_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${argument_HEADERS})
  set_property(TARGET ${name} PROPERTY CXX_COMPILER_LAUNCHER
    ${PROJECT_SOURCE_DIR}/cmake/without_old_header.sh ${CMAKE_CXX_COMPILER_LAUNCHER})
  if(argument_OPERATIONS)
    quell_precompiled(${name}_and_operations LIBRARIES ${argument_LIBRARIES}
      HEADERS <ATen/ATen.h> ${argument_OPERATIONS} ${argument_HEADERS})
  endif()
endfunction()

function(quell_use_precompiled target name)
  if(NOT QUELL_PRECOMPILED)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${name})
  if(NOT TARGET ${name}_and_operations)
    return()
  endif()
  get_target_property(folder ${name}_and_operations BINARY_DIR)
  set(header ${folder}/CMakeFiles/${name}_and_operations.dir/cmake_pch.hxx)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source)
    if(NOT EXISTS ${source})
      continue()
    endif()
    file(STRINGS ${source} operations LIMIT_COUNT 1
      REGEX "^#include <ATen/(ATen|ops/.*)\\.h>")
    if(operations)
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON
        COMPILE_OPTIONS "-Winvalid-pch;-include;${header}" OBJECT_DEPENDS ${header}.gch)
    endif()
  endforeach()
endfunction()
