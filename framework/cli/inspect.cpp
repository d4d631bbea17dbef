#include <fmt/format.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/io/hdf5_reader.h"
#include "framework/record/results_file.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Hdf5Attribute& attribute) {
  return std::visit([](const auto& value) { return Json(value); }, attribute);
}

Json attributes_json(const Hdf5Reader& file, const std::string& object) {
  Json json = Json::object();
  for (const std::string& name : file.attribute_names(object)) {
    json[name] = to_json(file.read_attribute(object, name));
  }
  return json;
}

// A vector, or its only entry.
Json values_json(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  const double* data = values.const_data_ptr<double>();
  if (values.numel() == 1) return *data;
  return std::vector<double>(data, data + values.numel());
}

Json sites_json(const Hdf5Reader& file) {
  Json sites = Json::array();
  for (const std::string& kind : file.children("sites")) {
    for (const std::string& name : file.children("sites/" + kind)) {
      const std::string group = fmt::format("sites/{}/{}", kind, name);
      Json site = attributes_json(file, group);
      for (const std::string& dataset : file.children(group)) {
        site[dataset] = values_json(file.read_tensor(group + "/" + dataset));
      }
      sites.push_back(std::move(site));
    }
  }
  return sites;
}

Json results_json(const Hdf5Reader& file) {
  Json json = attributes_json(file, "/");
  json["metrics"] = Json::object();
  for (const std::string& stage : file.children("metrics")) {
    json["metrics"][stage] = attributes_json(file, "metrics/" + stage);
  }
  json["model_size"] = attributes_json(file, "model_size");
  json["calibration"] = attributes_json(file, "calibration");
  json["sites"] = sites_json(file);
  return json;
}

// A number, or the range of a vector's entries.
std::string cell(const Json& site, const char* key) {
  if (!site.contains(key)) return "";
  const Json& value = site[key];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return fmt::format("{}", value.get<int64_t>());
  if (value.is_number()) return fmt::format("{:.5g}", value.get<double>());
  double low = INFINITY, high = -INFINITY;
  for (const Json& item : value) {
    low = std::min(low, item.get<double>());
    high = std::max(high, item.get<double>());
  }
  return low == high ? fmt::format("{:.4g}", low) : fmt::format("{:.4g}..{:.4g}", low, high);
}

void print_results(const Json& json) {
  fmt::print("{}\n\n", json["name"].get<std::string>());
  std::vector<std::vector<std::string>> metrics = {{"stage"}};
  for (const auto& [stage, values] : json["metrics"].items()) {
    std::vector<std::string> row = {stage};
    for (const auto& [metric, value] : values.items()) {
      if (metrics.size() == 1) metrics[0].push_back(metric);
      row.push_back(metric_text(metric, value.get<double>()));
    }
    metrics.push_back(row);
  }
  fmt::print("{}\n", text_table(metrics));
  std::vector<std::vector<std::string>> rows = {{"site", "bits", "min", "max", "scale",
                                                 "zero point", "SQNR dB", "SQNR dB to float",
                                                 "cosine"}};
  for (const Json& site : json["sites"]) {
    if (site["quantized"].get<int64_t>() == 0) continue;
    rows.push_back({cell(site, "key"), cell(site, "bits"), cell(site, "range_min"),
                    cell(site, "range_max"), cell(site, "scale"), cell(site, "zero_point"),
                    cell(site, "sqnr_db"), cell(site, "network_sqnr_db"),
                    cell(site, "cosine_to_float")});
  }
  fmt::print("{}", text_table(rows));
}

}  // namespace

int run_inspect(const Plugins&, const Arguments& arguments) {
  CommandLine line(
      "inspect RESULTS [--json]",
      "Prints a results file (results.h5) as tables: metrics of the stages, in percent, "
      "and ranges,\nscales and errors of the quantized sites.");
  line.add()("json", "print everything as JSON");
  line.positional("file", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("file");
  if (files.empty()) throw ConfigError("inspect needs a results file; see `quell inspect --help`");
  const Hdf5Reader file(files[0]);
  check_results_file(file);
  const Json json = results_json(file);
  if (line.has("json")) {
    print_json(json);
  } else {
    print_results(json);
  }
  return 0;
}

}  // namespace quell
