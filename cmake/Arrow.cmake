# Arrow's C++ library, from the Python package pyarrow that `make setup` installs into QUELL_CACHE,
# or from the folder Arrow_ROOT (that of such a package: include/ and libarrow.so.*). It is optional:
# without it Parquet files are refused with a message.
#
# Defines quell_parquet, a module that the program loads when it reads such a file.

if(NOT Arrow_ROOT)
  set(Arrow_ROOT ${quell_cache}/pyarrow-26.0.1/pyarrow)
endif()
# Looked for again at every build: it may come later.
file(GLOB quell_arrow_libraries CONFIGURE_DEPENDS ${Arrow_ROOT}/libparquet.so.* ${Arrow_ROOT}/libarrow.so.*)
set(quell_parquet_module "")
if(quell_old_abi)
  message(STATUS "Arrow: not used, since LibTorch has the old C++ ABI")
elseif(quell_arrow_libraries AND EXISTS ${Arrow_ROOT}/include/parquet/arrow/reader.h)
  message(STATUS "Arrow: ${Arrow_ROOT}")
  add_library(quell_parquet MODULE ${PROJECT_SOURCE_DIR}/framework/io/arrow/parquet_module.cpp)
  target_include_directories(quell_parquet SYSTEM PRIVATE ${Arrow_ROOT}/include)
  target_link_libraries(quell_parquet PRIVATE quell_options nlohmann_json::nlohmann_json
    ${quell_arrow_libraries} -Wl,-rpath,${Arrow_ROOT})
  set(quell_parquet_module $<TARGET_FILE:quell_parquet>)
else()
  message(STATUS "Arrow: not found; Parquet files will be refused")
endif()
