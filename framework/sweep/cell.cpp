#include "framework/sweep/cell.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <map>

#include "framework/base/error.h"
#include "framework/config/load.h"
#include "framework/config/paths.h"

namespace quell {
namespace {

constexpr size_t kFolderDigits = 12;

// Problems of many cells, each said once.
class CellProblems {
 public:
  void add(const std::string& label, const Problems& problems) {
    ++cells_;
    for (const std::string& line : problems.lines()) {
      auto [entry, is_new] = labels_.try_emplace(line);
      if (is_new) order_.push_back(line);
      entry->second.push_back(label);
    }
  }

  void throw_if_any() const {
    std::vector<std::string> lines;
    for (const std::string& line : order_) {
      const auto& labels = labels_.at(line);
      if (labels.size() == cells_) {
        lines.push_back(line);
      } else if (labels.size() == 1) {
        lines.push_back(fmt::format("{} (cell {})", line, labels[0]));
      } else {
        lines.push_back(
            fmt::format("{} ({} cells, the first is {})", line, labels.size(), labels[0]));
      }
    }
    if (!lines.empty()) throw ConfigError(fmt::format("{}", fmt::join(lines, "\n")));
  }

 private:
  size_t cells_ = 0;
  std::vector<std::string> order_;
  std::map<std::string, std::vector<std::string>> labels_;
};

const Setting* base_of(const SweepFile& sweep, const Settings& settings) {
  const Setting* own = find_setting(settings, "base");
  return own != nullptr ? own : find_setting(sweep.fixed, "base");
}

// The cell's experiment as a tree.
ConfigNode cell_tree(const SweepFile& sweep, const Settings& settings, Problems& problems) {
  const Setting* base = base_of(sweep, settings);
  if (base == nullptr) {
    problems.add({sweep.path.string(), 1, 1}, "base",
                 "no experiment to start from: name a file with base:");
    problems.throw_if_any();
  }
  const auto file = resolve_path(base->value, "base", PathKind::kFile, problems);
  problems.throw_if_any();
  ConfigNode root = load_config(*file, {}, schema_of<ExperimentSpec>(), problems);
  for (const Settings* list : {&sweep.fixed, &settings}) {
    for (const Setting& setting : *list) {
      if (setting.key == "base") continue;
      apply_setting(root, setting.key, setting.value, schema_of<ExperimentSpec>(), problems);
    }
  }
  return root;
}

void refuse_equal_cells(const SweepFile& sweep, const std::vector<Cell>& cells) {
  std::map<std::string, const Cell*> first;
  for (const Cell& cell : cells) {
    const auto [entry, is_new] = first.emplace(cell.config, &cell);
    if (is_new) continue;
    throw ConfigError(fmt::format("{}: two cells are the same experiment: {} and {}",
                                  sweep.path.string(), entry->second->label, cell.label));
  }
}

}  // namespace

std::string Cell::folder_name() const {
  return fmt::format("{}-{}", label, fingerprint.substr(0, kFolderDigits));
}

std::vector<Cell> load_cells(const SweepFile& sweep, const Plugins& plugins) {
  Problems of_the_file;
  std::vector<Cell> cells;
  for (Settings& settings : expand(sweep, of_the_file)) {
    const std::string label = cell_label(settings);
    cells.push_back({std::move(settings), label});
  }
  of_the_file.throw_if_any();
  CellProblems all;
  for (Cell& cell : cells) {
    Problems problems;
    try {
      const ConfigNode tree = cell_tree(sweep, cell.settings, problems);
      cell.spec = read_experiment(tree, plugins, problems);
    } catch (const ConfigError& error) {
      if (problems.empty()) throw;  // no YAML at all: its message has file and line
    }
    if (problems.empty()) cell.config = to_yaml(to_node(cell.spec));
    all.add(cell.label, problems);
  }
  all.throw_if_any();
  refuse_equal_cells(sweep, cells);
  return cells;
}

}  // namespace quell
