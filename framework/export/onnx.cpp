#include "framework/export/onnx.h"

#include <fmt/format.h>

#include "framework/base/file.h"
#include "framework/export/export.h"
#include "framework/export/onnx_writer.h"

namespace quell {

void check_onnx(Bench& bench, const Plugins& /*plugins*/) {
  SitePoints points(bench.model->sites());
  apply_plan(bench.plan, points);
  OnnxWriter writer(points, /*has_tensors=*/false);
  bench.model->write(writer);
}

void write_onnx(const CalibratedNetwork& network, const std::filesystem::path& folder, Log& log) {
  const Bench& bench = network.bench();
  write_other_files(bench, folder);
  OnnxWriter writer(network.points(), /*has_tensors=*/true);
  bench.model->write(writer);
  const std::string bytes = writer.bytes();
  write_file(folder / "model.onnx", bytes);
  log.info(fmt::format("model.onnx: {:.1f} MB", static_cast<double>(bytes.size()) / 1e6));
}

}  // namespace quell
