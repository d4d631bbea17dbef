#include "framework/solve/stored_calibration.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"

namespace quell {
namespace {

using Json = nlohmann::json;
using Table = std::map<std::string, StoredParameters>;

// The smallest scale of the Qualcomm code; its files hold `delta` before this floor.
constexpr float kQualcommSmallestScale = 1e-8f;

std::vector<float> numbers(const Json& value, const std::string& where) {
  if (value.is_number()) return {value.get<float>()};
  if (value.is_array()) {
    std::vector<float> result;
    for (const Json& item : value) {
      if (!item.is_number()) {
        throw DataError(fmt::format("{}: expected numbers, found {}", where, item.dump()));
      }
      result.push_back(item.get<float>());
    }
    return result;
  }
  throw DataError(fmt::format("{}: expected a number or a list of numbers, found {}", where,
                              value.dump().substr(0, 60)));
}

Table outlier_suppression_table(const Json& table, const std::string& file) {
  Table result;
  for (const auto& [name, value] : table.items()) {
    const std::string where = fmt::format("{}: {}", file, name);
    const std::vector<float> row = numbers(value, where);
    if (row.size() < 2) {
      throw DataError(fmt::format("{}: expected [scale, zero point, ...]", where));
    }
    result[name] = {{row[0]}, {row[1]}, {}};
  }
  return result;
}

// A field that is a scalar in the JSON, or a vector in the tensor file beside it.
std::vector<float> scalar_or_vector(const Json& quantizer, const std::string& name,
                                    const char* field, const SafetensorsFile* vectors) {
  if (quantizer.contains(field) && quantizer[field].is_number()) {
    return {quantizer[field].get<float>()};
  }
  const std::string key = name + "." + field;
  if (vectors == nullptr || !vectors->contains(key)) return {};
  const at::Tensor values = vectors->read(key).to(at::kFloat).contiguous();
  const float* data = values.const_data_ptr<float>();
  return {data, data + values.numel()};
}

Table qualcomm_table(const Json& quantizers, const std::filesystem::path& path) {
  std::filesystem::path beside = path;
  beside.replace_extension(".safetensors");
  std::optional<SafetensorsFile> vectors;
  if (std::filesystem::exists(beside)) vectors.emplace(beside);
  Table result;
  for (const Json& quantizer : quantizers) {
    const std::string name = quantizer.value("name", "");
    StoredParameters stored;
    stored.scale = scalar_or_vector(quantizer, name, "delta", vectors ? &*vectors : nullptr);
    if (stored.scale.empty()) continue;  // a quantizer that was switched off
    for (float& scale : stored.scale) scale = std::max(scale, kQualcommSmallestScale);
    const bool symmetric = quantizer.value("method", "").starts_with("symmetric");
    const auto zero =
        symmetric ? std::vector<float>()
                  : scalar_or_vector(quantizer, name, "zero_float", vectors ? &*vectors : nullptr);
    const float highest = std::exp2(static_cast<float>(quantizer.value("n_bits", 8))) - 1;
    for (const float value : zero) {
      stored.zero_point.push_back(std::clamp(std::nearbyint(value), 0.0f, highest));
    }
    stored.zero_point.resize(stored.scale.size(), 0.0f);
    if (quantizer.contains("signed")) stored.signed_levels = quantizer["signed"].get<bool>();
    result[name] = std::move(stored);
  }
  return result;
}

const Json& descend(const Json& root, const std::vector<std::string>& entry,
                    const std::string& file) {
  const Json* node = &root;
  for (const std::string& key : entry) {
    if (!node->is_object() || !node->contains(key)) {
      std::vector<std::string> known;
      if (node->is_object()) {
        for (const auto& item : node->items()) known.push_back(item.key());
      }
      throw DataError(fmt::format("{}: no entry \"{}\"{}", file, key, did_you_mean(key, known)));
    }
    node = &(*node)[key];
  }
  return *node;
}

Table read_json_table(const std::filesystem::path& path, const std::vector<std::string>& entry) {
  const Json root = read_json_file(path);
  const Json& table = descend(root, entry, path.string());
  if (!table.is_object()) {
    throw DataError(fmt::format("{}: expected an object of scales by name", path.string()));
  }
  if (!table.contains("quantizers")) return outlier_suppression_table(table, path.string());
  try {
    return qualcomm_table(table["quantizers"], path);
  } catch (const Json::exception& error) {
    throw DataError(
        fmt::format("{}: expected a list `quantizers` of objects with name, method, "
                    "n_bits and delta: {}",
                    path.string(), error.what()));
  }
}

// Scales must be positive, and each needs its zero point.
void check_table(const Table& table, const std::string& file) {
  for (const auto& [name, stored] : table) {
    if (stored.scale.size() != stored.zero_point.size()) {
      throw DataError(fmt::format("{}: {}: {} scales, but {} zero points", file, name,
                                  stored.scale.size(), stored.zero_point.size()));
    }
    for (size_t i = 0; i < stored.scale.size(); ++i) {
      const float scale = stored.scale[i], zero_point = stored.zero_point[i];
      if (std::isfinite(scale) && scale > 0 && std::isfinite(zero_point)) continue;
      throw DataError(
          fmt::format("{}: {}: expected a positive scale and a finite zero point, found "
                      "scale {} and zero point {}",
                      file, name, scale, zero_point));
    }
  }
}

}  // namespace

Table read_stored_calibration(const std::filesystem::path& path,
                              const std::vector<std::string>& entry) {
  if (path.extension() != ".h5" && path.extension() != ".json") {
    throw DataError(
        fmt::format("{}: expected a results file (.h5) or a table (.json)", path.string()));
  }
  Table table =
      path.extension() == ".h5" ? read_results_parameters(path) : read_json_table(path, entry);
  check_table(table, path.string());
  return table;
}

SiteId find_site(std::span<const Site> sites, const std::string& name) {
  for (size_t id = 0; id < sites.size(); ++id) {
    if (sites[id].key() == name) return static_cast<SiteId>(id);
    for (const auto& [source, published] : sites[id].published_names) {
      if (published == name) return static_cast<SiteId>(id);
    }
  }
  return kNoSite;
}

}  // namespace quell
