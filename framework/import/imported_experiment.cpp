#include "framework/import/imported_experiment.h"

#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/config/scalar.h"

namespace quell {

namespace fs = std::filesystem;

std::string yaml_text(const std::string& text) {
  std::string yaml = to_yaml(string_scalar(text));
  yaml.pop_back();  // the line end
  return yaml;
}

std::string published_model_type(const fs::path& folder, const std::string& name) {
  if (!folder.empty() && fs::exists(folder / "config.json")) {
    const auto json = nlohmann::json::parse(read_file(folder / "config.json"), nullptr, false);
    if (json.is_object() && json.contains("model_type") && json["model_type"].is_string()) {
      return json["model_type"].get<std::string>();
    }
  }
  for (const char* type : {"roberta", "bart", "mobilebert", "bert"}) {
    if (name.find(type) != std::string::npos) return type;
  }
  return "";
}

}  // namespace quell
