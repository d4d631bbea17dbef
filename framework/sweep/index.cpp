#include "framework/sweep/index.h"

#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/record/environment.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

const char* to_string(CellState state) {
  if (state == CellState::kDone) return "done";
  return state == CellState::kFailed ? "failed" : "waiting";
}

}  // namespace

void write_sweep_index(const fs::path& output, const SweepFile& sweep,
                       const std::vector<Cell>& cells, const std::vector<CellStatus>& status) {
  nlohmann::ordered_json root;
  root["format"] = "quell sweep";
  root["version"] = 1;
  root["name"] = sweep.name;
  root["file"] = sweep.path.string();
  root["code"] = code_version();
  auto& axes = root["axes"] = nlohmann::ordered_json::array();
  for (const Axis& axis : sweep.axes) axes.push_back(axis.keys);
  auto& list = root["cells"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < cells.size(); ++i) {
    nlohmann::ordered_json entry;
    entry["folder"] = status[i].folder.filename().string();
    auto& settings = entry["settings"] = nlohmann::ordered_json::object();
    for (const Setting& setting : cells[i].settings) settings[setting.key] = setting.text();
    entry["status"] = to_string(status[i].state);
    entry["fingerprint"] = cells[i].fingerprint;
    list.push_back(std::move(entry));
  }
  write_file(output / kSweepIndex, root.dump(2) + "\n");
}

void update_sweep_index(const fs::path& output, const std::vector<Cell>& cells,
                        const std::vector<CellStatus>& status) {
  std::map<std::string, std::string> states;
  for (size_t i = 0; i < cells.size(); ++i) {
    states[cells[i].fingerprint] = to_string(status[i].state);
  }
  const fs::path file = output / kSweepIndex;
  const CellLock lock = wait_for_lock(output);
  if (!fs::exists(file)) return;
  nlohmann::ordered_json root;
  bool changed = false;
  read_own_json(file, [&](const nlohmann::ordered_json& before) {
    root = before;
    for (auto& entry : root.at("cells")) {
      const auto found = states.find(entry.at("fingerprint").get<std::string>());
      if (found == states.end() || entry.at("status") == found->second) continue;
      entry["status"] = found->second;
      changed = true;
    }
  });
  if (changed) write_file(file, root.dump(2) + "\n");
}

}  // namespace quell
