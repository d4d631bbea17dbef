#include "framework/export/export.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/export/compressed_tensors.h"
#include "framework/export/huggingface.h"
#include "framework/export/network_folder.h"
#include "framework/export/onnx.h"
#include "framework/record/model_folder.h"

namespace quell {
namespace fs = std::filesystem;

const std::vector<ExportFormat>& export_formats() {
  static const std::vector<ExportFormat> all = {
      {"quell", "codes, scales and the float rest, for `quell run`", check_network_folder,
       write_network_folder},
      {"onnx",
       "QuantizeLinear and DequantizeLinear around float operations, for onnxruntime and OpenVINO",
       check_onnx, write_onnx},
      {"compressed-tensors",
       "linears as 8-bit codes with 8-bit inputs, or as 4- or 8-bit weights alone, for vLLM",
       check_compressed_tensors, write_compressed_tensors},
      {"huggingface", "the float model behind transforms, for transformers, in float32",
       check_huggingface, write_huggingface},
      {"huggingface-float16", "the same in float16", check_huggingface, write_huggingface_float16},
      {"huggingface-bfloat16", "the same in bfloat16", check_huggingface,
       write_huggingface_bfloat16},
  };
  return all;
}

const ExportFormat& find_export_format(const std::string& name) {
  std::vector<std::string> names;
  for (const ExportFormat& format : export_formats()) {
    if (format.name == name) return format;
    names.push_back(format.name);
  }
  throw ConfigError(fmt::format("--format {}: no such format{}", name, did_you_mean(name, names)));
}

void write_other_files(const Bench& bench, const fs::path& folder) {
  const Checkpoint& checkpoint = *bench.checkpoint;
  write_model_files(folder, checkpoint.has_new_head() ? checkpoint.config().dump(2) + "\n" : "",
                    checkpoint.folder());
}

void export_network(const ExperimentSpec& spec, const ExportFormat& format, const fs::path& folder,
                    bool overwrite, const Plugins& plugins, Log& log) {
  std::error_code error;
  if (fs::exists(folder, error) && !overwrite) {
    throw ConfigError(
        fmt::format("{}: exists; use --overwrite to replace it, or --output to write elsewhere",
                    folder.string()));
  }
  ExperimentSpec on_host = spec;  // files hold what does not depend on it
  on_host.model.device = {"cpu"};
  Bench bench = load_bench(on_host, plugins, log);
  format.check(bench, plugins);
  const CalibratedNetwork network(std::move(bench), log);
  fs::path partial = folder;
  partial += ".partial";
  fs::remove_all(partial, error);
  fs::create_directories(partial, error);
  if (error) {
    throw Error(fmt::format("{}: cannot create the folder: {}; choose another with --output",
                            partial.string(), error.message()));
  }
  format.write(network, partial, log);
  fs::remove_all(folder, error);
  fs::rename(partial, folder, error);
  if (error) {
    throw Error(fmt::format("{}: cannot be renamed to {}: {}", partial.string(), folder.string(),
                            error.message()));
  }
}

}  // namespace quell
