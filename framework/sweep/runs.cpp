#include "framework/sweep/runs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/config/load.h"
#include "framework/json/json.h"
#include "framework/sweep/index.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMetricsFile = "metrics.json";
constexpr const char* kConfigFile = "config.resolved.yaml";

void add_entries(const ConfigNode& node, const std::string& path, Texts& entries) {
  const bool plain = std::all_of(node.children.begin(), node.children.end(),
                                 [](const ConfigNode& child) { return child.children.empty(); });
  if (node.is_scalar() || node.is_null()) {
    entries.emplace_back(path, node.text);
  } else if (node.is_sequence() && plain) {
    std::vector<std::string> values;
    for (const ConfigNode& child : node.children) values.push_back(child.text);
    entries.emplace_back(path, fmt::format("[{}]", fmt::join(values, ", ")));
  } else if (node.children.empty()) {
    entries.emplace_back(path, "{}");
  }
  for (size_t i = 0; i < node.children.size(); ++i) {
    const ConfigNode& child = node.children[i];
    if (node.is_map()) add_entries(child, join_path(path, child.key), entries);
    if (node.is_sequence() && !plain) add_entries(child, index_path(path, i), entries);
  }
}

void read_metrics(Run& run) {
  read_own_json(run.folder / kMetricsFile, [&](const nlohmann::ordered_json& root) {
    for (const auto& [stage, metrics] : root.at("stages").items()) {
      auto& values =
          run.stages.emplace_back(stage, decltype(run.stages)::value_type::second_type());
      for (const auto& [name, value] : metrics.items()) {
        values.second.emplace_back(name, value.is_null() ? std::nan("") : value.get<double>());
      }
    }
  });
}

// The settings of a cell whose folder is named without its sweep.
Texts read_cell_settings(const fs::path& folder) {
  Texts settings;
  if (!fs::exists(folder / kCellFile)) return settings;
  read_own_json(folder / kCellFile, [&](const nlohmann::ordered_json& cell) {
    for (const auto& [key, value] : cell.at("settings").items()) {
      settings.emplace_back(key, value.get<std::string>());
    }
  });
  return settings;
}

void add_sweep(const fs::path& folder, RunList& list) {
  const SweepIndex index = read_sweep_index(folder);
  list.axes.insert(list.axes.end(), index.axes.begin(), index.axes.end());
  for (const IndexedCell& cell : index.cells) {
    const bool done = cell_state(cell.folder, cell.fingerprint) == CellState::kDone;
    Run run;
    if (done) run = read_run(cell.folder);
    run.folder = cell.folder;
    run.settings = cell.settings;
    list.runs.push_back(std::move(run));
  }
}

void add_folder(const fs::path& folder, RunList& list) {
  if (fs::exists(folder / kSweepIndex)) return add_sweep(folder, list);
  if (fs::exists(folder / kMetricsFile)) {
    list.runs.push_back(read_run(folder));
    return;
  }
  std::vector<fs::path> inner;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) inner.push_back(entry.path());
  }
  std::sort(inner.begin(), inner.end());
  for (const fs::path& path : inner) add_folder(path, list);
}

}  // namespace

Texts flatten(const ConfigNode& node) {
  Texts entries;
  add_entries(node, "", entries);
  return entries;
}

std::optional<std::string> Run::value(const std::string& key) const {
  if (key == "folder") return folder.filename().string();
  for (const Texts* texts : {&settings, &config}) {
    for (const auto& [name, value] : *texts) {
      if (name == key) return value;
    }
  }
  std::optional<std::string> found;
  for (const auto& [name, value] : config) {
    if (!name.ends_with("." + key)) continue;
    if (found) return {};
    found = value;
  }
  return found;
}

Run read_run(const fs::path& folder) {
  if (!fs::exists(folder / kMetricsFile)) {
    throw DataError(fmt::format("{}: no {}, so no complete run; name the folder of a run",
                                folder.string(), kMetricsFile));
  }
  Run run;
  run.folder = folder;
  run.complete = true;
  read_metrics(run);
  run.settings = read_cell_settings(folder);
  Problems problems;
  run.config = flatten(load_yaml(folder / kConfigFile, problems));
  return run;
}

RunList find_runs(const std::vector<std::string>& folders) {
  RunList list;
  for (const std::string& folder : folders) {
    if (!fs::is_directory(folder)) throw DataError(fmt::format("{}: no such folder", folder));
    const size_t before = list.runs.size();
    add_folder(folder, list);
    if (list.runs.size() > before) continue;
    throw DataError(
        fmt::format("{}: holds no complete run (no {} in it or below)", folder, kMetricsFile));
  }
  return list;
}

}  // namespace quell
