#include "framework/io/parquet.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "framework/base/error.h"
#include "framework/base/input_file.h"
#include "framework/io/arrow/parquet_module.h"

namespace quell {
namespace {

// Empty where Arrow was absent.
constexpr const char* kModule = QUELL_PARQUET_MODULE;

ReadParquet load_module() {
  // Its symbols stay its own: Arrow and LibTorch bring some of the same libraries.
  void* module = ::dlopen(kModule, RTLD_NOW | RTLD_LOCAL);
  void* function = module == nullptr ? nullptr : ::dlsym(module, kReadParquet);
  if (function != nullptr) return reinterpret_cast<ReadParquet>(function);
  throw Error(
      fmt::format("cannot load the reader of Parquet: {}; build again with `make`", ::dlerror()));
}

}  // namespace

bool reads_parquet() { return *kModule != '\0'; }

void read_parquet(const std::filesystem::path& path, const ParquetRow& use) {
  const InputFile ordinary(path);  // says precisely what is wrong with the file, Git LFS included
  if (!reads_parquet()) {
    throw DataError(fmt::format(
        "{}: Parquet is not read by this build, since Arrow was not there; `make setup` installs "
        "it "
        "(the Python package pyarrow), then `make` builds again. Or convert the file with Python: "
        "pandas.read_parquet(\"{}\").to_json(\"{}\", orient=\"records\", lines=True)",
        path.string(), path.filename().string(),
        std::filesystem::path(path).replace_extension(".jsonl").filename().string()));
  }
  static const ReadParquet read = load_module();
  std::string problem;
  read(path.c_str(), use, problem);
  if (problem.empty()) return;
  throw DataError(fmt::format("{}: cannot be read as Parquet: {}", path.string(), problem));
}

}  // namespace quell
