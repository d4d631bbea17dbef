# Finds LibTorch without its own CMake package, which demands nvcc even for a CPU build.
#
#   LibTorch_ROOT  an unzipped LibTorch, or the `torch` folder of a Python package; without it
#                  the wheel that `make` installs into QUELL_CACHE is used.
#
# Defines LibTorch::CPU, and quell_fmt (compiled from the headers of fmt that the wheel ships:
# the library of another version would meet them otherwise).

if(NOT LibTorch_ROOT AND DEFINED ENV{LibTorch_ROOT})
  set(LibTorch_ROOT $ENV{LibTorch_ROOT})
endif()
set(quell_cache $ENV{QUELL_CACHE})
if(NOT quell_cache)
  set(quell_cache $ENV{HOME}/.cache/quell)
endif()
if(NOT LibTorch_ROOT)
  set(LibTorch_ROOT ${quell_cache}/libtorch-2.11.0/torch)
endif()

find_path(LibTorch_INCLUDE_DIR ATen/core/Tensor.h
  PATHS ${LibTorch_ROOT}/include NO_DEFAULT_PATH)
find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
if(NOT LibTorch_INCLUDE_DIR OR NOT LibTorch_CPU_LIBRARY OR NOT LibTorch_C10_LIBRARY)
  message(FATAL_ERROR "LibTorch not found in ${LibTorch_ROOT}. Run `make setup`, or name a LibTorch "
    "of yours: -DLibTorch_ROOT=/path/to/libtorch (the folder that holds include/ and lib/).")
endif()
message(STATUS "LibTorch: ${LibTorch_ROOT}")

add_library(LibTorch::CPU INTERFACE IMPORTED)
target_include_directories(LibTorch::CPU SYSTEM INTERFACE
  ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)
target_link_libraries(LibTorch::CPU INTERFACE ${LibTorch_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
# The OpenMP runtime that LibTorch brings: a second one would own a second thread pool.
file(GLOB quell_openmp ${LibTorch_ROOT}/lib/libgomp*.so*)
if(quell_openmp)
  list(GET quell_openmp 0 quell_openmp)
else()
  set(quell_openmp gomp)
endif()
target_link_libraries(LibTorch::CPU INTERFACE ${quell_openmp})
# The CPU library of the CUDA wheel names libcudart and libcupti, which are wheels of their own.
file(GLOB quell_nvidia_folders ${LibTorch_ROOT}/../nvidia/*/lib)
target_link_options(LibTorch::CPU INTERFACE -Wl,-rpath,${LibTorch_ROOT}/lib)
foreach(folder IN LISTS quell_nvidia_folders)
  target_link_options(LibTorch::CPU INTERFACE -Wl,-rpath,${folder} -Wl,-rpath-link,${folder})
endforeach()
# Older official archives were built with the old C++ ABI; the header says which.
file(GLOB_RECURSE quell_torch_flags ${LibTorch_ROOT}/share/cmake/Torch/TorchConfig.cmake)
if(quell_torch_flags)
  file(STRINGS ${quell_torch_flags} quell_old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(quell_old_abi)
    target_compile_definitions(LibTorch::CPU INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
  endif()
endif()

add_library(quell_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt.cpp)
if(EXISTS ${LibTorch_INCLUDE_DIR}/fmt/format.h)
  target_include_directories(quell_fmt SYSTEM PUBLIC ${LibTorch_INCLUDE_DIR})
endif()
