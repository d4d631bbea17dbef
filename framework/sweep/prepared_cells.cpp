#include "framework/sweep/prepared_cells.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/json/json.h"
#include "framework/sweep/cell_folder.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

Cell read_cell(const fs::path& folder, const Plugins& plugins) {
  const fs::path file = folder / kCellFile;
  const fs::path experiment = experiment_file(folder);
  if (!fs::exists(file) || !fs::exists(experiment)) {
    throw ConfigError(
        fmt::format("{}: is no cell that `quell sweep --slurm` has written (no {} in it, or no {})",
                    folder.string(), kCellFile, experiment.string()));
  }
  Cell cell;
  read_own_json(file, [&](const nlohmann::ordered_json& root) {
    cell.label = root.at("label");
    cell.fingerprint = root.at("fingerprint");
    for (const auto& [key, value] : root.at("settings").items()) {
      cell.settings.push_back({key, ConfigNode::scalar(value.get<std::string>())});
    }
  });
  cell.spec = load_experiment(experiment, {}, plugins);
  cell.config = to_yaml(to_node(cell.spec));
  return cell;
}

}  // namespace

std::vector<Cell> load_prepared_cells(const fs::path& output, const std::vector<std::string>& names,
                                      const Plugins& plugins) {
  std::vector<Cell> cells, to_check;
  for (const std::string& name : names) {
    cells.push_back(read_cell(output / name, plugins));
    const bool done = cell_state(output / name, cells.back().fingerprint) == CellState::kDone;
    if (!done) to_check.push_back(cells.back());
  }
  std::vector<Cell> now = to_check;
  Log quiet(Verbosity::kQuiet);
  fingerprint_cells(now, plugins, quiet);
  for (size_t i = 0; i < now.size(); ++i) {
    if (now[i].fingerprint == to_check[i].fingerprint) continue;
    throw DataError(fmt::format(
        "{}: the experiment, the model, the data or the version of quell has changed since this "
        "cell was submitted; submit the sweep again",
        now[i].label));
  }
  return cells;
}

}  // namespace quell
