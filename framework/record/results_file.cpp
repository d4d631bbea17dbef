#include "framework/record/results_file.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/io/hdf5_reader.h"
#include "framework/io/hdf5_writer.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

std::string site_group(const Site& site) {
  return fmt::format("sites/{}/{}", to_string(site.kind), site.name);
}

void write_identity(Hdf5Writer& file, const std::string& group, const Site& site) {
  file.create_group(group);
  file.set_attribute(group, "key", site.key());
  file.set_attribute(group, "kind", std::string(to_string(site.kind)));
  file.set_attribute(group, "role", site.role);
  file.set_attribute(group, "layer", site.layer);
  for (const auto& [source, name] : site.published_names) {
    file.set_attribute(group, "published_name_" + source, name);
  }
}

void write_scales(Hdf5Writer& file, const std::string& group, const SiteRecord& point) {
  const auto write = [&](const char* name, const at::Tensor& values, const char* unit) {
    if (!values.defined()) return;
    const std::string object = group + "/" + name;
    file.write(object, values);
    file.set_axes(object, {{scale_axis(point.spec)}});
    file.set_attribute(object, "unit", std::string(unit));
  };
  if (point.spec.feature_groups != nullptr) {
    file.write(group + "/group_of", point.spec.feature_groups->group_of());
    file.set_axes(group + "/group_of", {{"feature"}});
  }
  const QuantParameters& parameters = point.parameters;
  write("range_min", point.range.min, "value");
  write("range_max", point.range.max, "value");
  write("scale", parameters.scale, "value per integer step");
  write("zero_point", parameters.zero_point, "integer code");
  for (const auto& [name, values] : point.state) {
    file.write(group + "/state/" + name, values, {.gzip_level = 1});
  }
  if (!parameters.scale.defined()) return;
  file.set_attribute(group, "lowest_code", static_cast<int64_t>(parameters.levels.low));
  file.set_attribute(group, "highest_code", static_cast<int64_t>(parameters.levels.high));
}

void write_point(Hdf5Writer& file, const std::string& group, const SiteRecord& point) {
  const QuantSpec& spec = point.spec;
  file.set_attribute(group, "bits", spec.bits);
  file.set_attribute(group, "symmetric", static_cast<int64_t>(spec.symmetric));
  file.set_attribute(group, "granularity", std::string(enum_name(spec.granularity)));
  for (const auto& [key, value] : granularity_keys(spec)) {
    if (key != "axis") file.set_attribute(group, key, value);  // the axes of the scales say it
  }
  file.set_attribute(group, "grid", std::string(enum_name(spec.grid)));
  file.set_attribute(group, "observer", point.observer);
  file.set_attribute(group, "quantizer", point.quantizer);
  write_scales(file, group, point);
}

void write_linear_error(Hdf5Writer& file, const std::string& group, const LinearError& error) {
  file.set_attribute(group, "concentration_db", error.weight_concentration_db);
  file.set_attribute(group, "input_sqnr_db", error.input_sqnr_db);
  file.set_attribute(group, "input_concentration_db", error.input_concentration_db);
  file.set_attribute(group, "alignment_db", error.alignment_db);
  file.set_attribute(group, "output_sqnr_db", error.output_sqnr_db);
  file.set_attribute(group, "predicted_output_sqnr_db", error.predicted_sqnr_db);
}

void write_sites(Hdf5Writer& file, const RunRecord& run) {
  for (size_t i = 0; i < run.sites.size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const Site& site = run.sites[i];
    const std::string group = site_group(site);
    write_identity(file, group, site);
    const auto point = run.quantized.find(id);
    const bool quantized = point != run.quantized.end();
    file.set_attribute(group, "quantized", static_cast<int64_t>(quantized));
    if (!quantized) continue;
    write_point(file, group, point->second);
    const auto weight_error = run.weight_errors.find(id);
    if (weight_error != run.weight_errors.end()) {
      file.set_attribute(group, "sqnr_db", weight_error->second);
    }
    const auto linear = run.linear_errors.find(id);
    if (linear != run.linear_errors.end()) write_linear_error(file, group, linear->second);
    const auto error = run.site_errors.find(id);
    if (error == run.site_errors.end()) continue;
    file.set_attribute(group, "sqnr_db", error->second.sqnr_db);
    file.set_attribute(group, "network_sqnr_db", error->second.network_sqnr_db);
    file.set_attribute(group, "cosine_to_float", error->second.cosine_to_float);
  }
}

// The outputs of one stage, as [examples, values] per set, or flat with offsets where examples have
// different numbers of values.
void write_outputs(Hdf5Writer& file, const std::string& group, const Evaluation& evaluation) {
  struct Column {
    std::vector<float> values;
    std::vector<int64_t> offsets = {0};
  };
  std::map<std::pair<std::string, std::string>, Column> columns;
  for (const Prediction& prediction : evaluation.predictions) {
    for (const auto& [name, values] : prediction.outputs) {
      Column& column = columns[{prediction.set, name}];
      column.values.insert(column.values.end(), values.begin(), values.end());
      column.offsets.push_back(static_cast<int64_t>(column.values.size()));
    }
  }
  for (const auto& [key, column] : columns) {
    const std::string object = fmt::format("{}/{}/{}", group, key.first, key.second);
    const auto examples = static_cast<int64_t>(column.offsets.size()) - 1;
    const int64_t width = column.offsets[1];
    bool even = true;
    for (int64_t i = 0; i <= examples; ++i) even &= column.offsets[i] == i * width;
    at::Tensor values = at::tensor(column.values);
    file.write(object, even ? values.view({examples, width}) : values);
    const std::vector<Hdf5Axis> both = {{"example"}, {"value"}}, flat = {{"example_and_value"}};
    file.set_axes(object, even ? both : flat);
    if (!even) file.write(object + "_offsets", at::tensor(column.offsets, at::kLong));
  }
}

void write_examples(Hdf5Writer& file, const Evaluation& evaluation) {
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<double>>> sets;
  bool labelled = true;
  for (const Prediction& prediction : evaluation.predictions) {
    auto& [indices, labels] = sets[prediction.set];
    indices.push_back(prediction.index);
    labels.push_back(prediction.label.value_or(0));
    labelled &= prediction.label.has_value();
  }
  for (const auto& [set, columns] : sets) {
    const std::string group = "examples/" + set;
    file.write(group + "/index", at::tensor(columns.first, at::kLong));
    file.set_attribute(group + "/index", "unit", std::string("0-based row of the data file"));
    if (labelled) file.write(group + "/label", at::tensor(columns.second, at::kDouble));
  }
}

void write_stages(Hdf5Writer& file, const RunRecord& run) {
  std::vector<std::string> names;
  for (const StageResult& result : run.stages) {
    names.push_back(result.stage);
    const std::string group = "metrics/" + names.back();
    file.create_group(group);
    for (const auto& [metric, value] : result.evaluation.metrics) {
      file.set_attribute(group, metric, value);
    }
    write_outputs(file, "outputs/" + names.back(), result.evaluation);
  }
  file.set_attribute("/", "stages", names);
  if (!run.stages.empty()) write_examples(file, run.stages[0].evaluation);
}

void write_records(Hdf5Writer& file, const RunRecord& run) {
  std::map<std::string, int> uses;
  for (const Record& record : run.records) {
    std::string group = record.group + "/" + record.name;
    if (const int use = ++uses[group]; use > 1) group += fmt::format("_{}", use);
    for (const RecordColumn& column : record.columns) {
      const std::string dataset = group + "/" + column.name;
      file.write(dataset, column.values);
      file.set_axes(dataset, {{column.axis}});
      if (!column.unit.empty()) file.set_attribute(dataset, "unit", column.unit);
    }
    for (const auto& [name, value] : record.attributes) {
      std::visit([&, name = name](const auto& known) { file.set_attribute(group, name, known); },
                 value);
    }
  }
}

}  // namespace

void write_results_file(const std::filesystem::path& path, const RunRecord& run) {
  Hdf5Writer file(path);
  file.set_attribute("/", "format", std::string(kResultsFormat));
  file.set_attribute("/", "version", kResultsVersion);
  file.set_attribute("/", "name", run.name);
  file.write("config", run.config);
  write_stages(file, run);
  file.create_group("model_size");
  file.set_attribute("model_size", "unit", std::string("byte"));
  file.set_attribute("model_size", "float", run.size.float_bytes);
  file.set_attribute("model_size", "quantized", run.size.quantized_bytes);
  file.set_attribute("model_size", "float_embeddings", run.size.float_embedding_bytes);
  file.set_attribute("model_size", "quantized_embeddings", run.size.quantized_embedding_bytes);
  file.set_attribute("model_size", "ratio", run.size.ratio());
  file.create_group("calibration");
  file.set_attribute("calibration", "batches", run.calibration_batches);
  file.set_attribute("calibration", "tokens", run.calibration_tokens);
  if (!run.calibration_indices.empty()) {
    file.write("calibration/index", at::tensor(run.calibration_indices, at::kLong));
  }
  write_records(file, run);
  write_sites(file, run);
  file.commit();
}

namespace {

NamedTensors read_state(const Hdf5Reader& file, const std::string& group) {
  NamedTensors state;
  if (file.exists(group + "/rounding")) {  // where layout version 1 has it
    state["rounding"] = file.read_tensor(group + "/rounding");
  }
  if (!file.exists(group + "/state")) return state;
  for (const std::string& name : file.children(group + "/state")) {
    state[name] = file.read_tensor(group + "/state/" + name);
  }
  return state;
}

StoredParameters read_point(const Hdf5Reader& file, const std::string& group) {
  const auto values = [&](const char* dataset) {
    const at::Tensor tensor = file.read_tensor(group + "/" + dataset).contiguous();
    const float* data = tensor.const_data_ptr<float>();
    return std::vector<float>(data, data + tensor.numel());
  };
  StoredParameters stored;
  if (file.exists(group + "/group_of")) {
    const at::Tensor groups = file.read_tensor(group + "/group_of").to(at::kLong).contiguous();
    const int64_t* group_of = groups.const_data_ptr<int64_t>();
    stored.group_of.assign(group_of, group_of + groups.numel());
  }
  stored.scale = values("scale");
  stored.zero_point = values("zero_point");
  stored.signed_levels = std::get<int64_t>(file.read_attribute(group, "lowest_code")) < 0;
  if (file.has_attribute(group, "quantizer")) {
    stored.quantizer = std::get<std::string>(file.read_attribute(group, "quantizer"));
  }
  stored.state = read_state(file, group);
  return stored;
}

}  // namespace

std::map<std::string, StoredParameters> read_results_parameters(const std::filesystem::path& path) {
  const Hdf5Reader file(path);
  check_results_file(file);
  std::map<std::string, StoredParameters> result;
  for (const std::string& kind : file.children("sites")) {
    for (const std::string& name : file.children("sites/" + kind)) {
      const std::string group = fmt::format("sites/{}/{}", kind, name);
      if (!file.exists(group + "/scale")) continue;
      result[fmt::format("{}:{}", kind, name)] = read_point(file, group);
    }
  }
  return result;
}

void check_results_file(const Hdf5Reader& file) {
  const auto has = [&](const char* name) { return file.has_attribute("/", name); };
  if (!has("format") || !has("version") ||
      file.read_attribute("/", "format") != Hdf5Attribute(std::string(kResultsFormat))) {
    throw DataError(fmt::format("{}: is no results file of quell", file.path().string()));
  }
  const auto version = std::get<int64_t>(file.read_attribute("/", "version"));
  if (version > kResultsVersion) {
    throw DataError(
        fmt::format("{}: layout version {} is newer than this quell, which reads up to {}",
                    file.path().string(), version, kResultsVersion));
  }
}

}  // namespace quell
