// The goldens of SQuAD: questions, logits and what the published scripts made of them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "support.h"
#include "tasks/data/squad_data.h"
#include "tasks/data/squad_features.h"
#include "tests/support/paths.h"

namespace quell {

inline std::filesystem::path test_data(const std::string& name) {
  return source_folder() / "tests/data" / name;
}

// The rows of an integer tensor.
inline std::vector<std::vector<int64_t>> integer_rows(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kLong).contiguous().view({tensor.size(0), -1});
  std::vector<std::vector<int64_t>> rows;
  for (int64_t i = 0; i < values.size(0); ++i) {
    const int64_t* data = values.const_data_ptr<int64_t>() + i * values.size(1);
    rows.emplace_back(data, data + values.size(1));
  }
  return rows;
}

// One folder of goldens: the excerpt of tests/data, or all of them.
struct SquadGoldens {
  explicit SquadGoldens(const std::filesystem::path& where)
      : folder(where),
        json(read_json_file(folder / "squad.json")),
        tensors(folder / "squad.safetensors"),
        data(read_squad(folder / "squad.json")) {}

  std::filesystem::path folder;
  nlohmann::json json;
  SafetensorsFile tensors;
  SquadData data;
};

inline std::vector<std::filesystem::path> golden_folders() {
  std::vector<std::filesystem::path> folders = {test_data("squad")};
  if (std::filesystem::exists(shared_folder() / "goldens/squad")) {
    folders.push_back(shared_folder() / "goldens/squad");
  }
  return folders;
}

struct WindowSetting {
  const char* name;
  SquadWindows windows;
};
inline constexpr WindowSetting kWindowSettings[] = {{"384_128", {384, 128}}, {"128_64", {128, 64}}};

}  // namespace quell
