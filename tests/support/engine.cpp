#include "tests/support/engine.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "framework/config/load.h"
#include "framework/io/safetensors.h"
#include "framework/model/gather.h"
#include "framework/solve/stored_calibration.h"
#include "tasks/data/labelled_sequences.h"
#include "tests/support/equal_bits.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

SiteId require_site(std::span<const Site> sites, const std::string& name) {
  const SiteId id = find_site(sites, name);
  if (id == kNoSite) throw Error(fmt::format("no site \"{}\"", name));
  return id;
}

std::unique_ptr<Model> load_model(const Checkpoint& checkpoint,
                                  const std::vector<at::Device>& devices) {
  const auto type = checkpoint.config().at("model_type").get<std::string>();
  auto model = ModelChoice(all_plugins().models, type).create(checkpoint);
  model->set_devices(devices);
  model->load(checkpoint);
  return model;
}

// What `source` calls the quantized sites, sorted.
std::vector<std::string> names_of_quantized(std::span<const Site> sites,
                                            const std::function<bool(SiteId)>& is_quantized,
                                            const std::string& source) {
  std::vector<std::string> names;
  for (size_t id = 0; id < sites.size(); ++id) {
    if (!is_quantized(static_cast<SiteId>(id))) continue;
    std::string published = "no name of " + source + ": " + sites[id].key();
    for (const auto& [paper, name] : sites[id].published_names) {
      if (paper == source) published = name;
    }
    names.push_back(published);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::unique_ptr<const Engine> make_engine(const std::string& name) {
  return EngineChoice(all_plugins().engines, name).create();
}

const Plugins& all_plugins() {
  static const std::unique_ptr<const Plugins> plugins = [] {
    auto made = std::make_unique<Plugins>();
    register_all_plugins(*made);
    return made;
  }();
  return *plugins;
}

std::shared_ptr<void> read_params(const PluginEntry& entry, const std::string& yaml) {
  Problems problems;
  ReadContext context{problems, &all_plugins()};
  const ConfigNode node = parse_yaml(yaml.empty() ? "{}" : yaml, "params.yaml", problems);
  std::shared_ptr<void> params = entry.params().make();
  entry.params().read(node, entry.name(), context, params.get());
  problems.throw_if_any();
  return params;
}

QuantizedNetwork::QuantizedNetwork(const std::filesystem::path& folder, const std::string& quant,
                                   const std::vector<at::Device>& devices)
    : checkpoint_(folder), model_(load_model(checkpoint_, devices)) {
  Problems problems;
  ReadContext context{problems, &all_plugins()};
  const ConfigNode node = parse_yaml(quant, "quant.yaml", problems);
  const auto options = read_config<QuantOptions>(node, context, "quant");
  const std::vector<Rule> rules = collect_rules(options, context);
  plan_ = plan_sites(model_->sites(), rules, all_plugins(), problems);
  problems.throw_if_any();
  points_ = std::make_unique<SitePoints>(model_->sites());
  apply_plan(plan_, *points_);
  at::set_num_threads(1);  // the models are tiny, and tests run beside each other
}

SiteId QuantizedNetwork::site(const std::string& name) const {
  return require_site(model_->sites(), name);
}

void QuantizedNetwork::solve(const std::string& solver, std::span<const Batch> batches,
                             const std::string& params) {
  const at::NoGradGuard no_gradients;
  Log log(Verbosity::kQuiet);
  PipelineContext pipeline{*model_, *points_, batches, log};
  const auto& entry = all_plugins().solvers.get(solver);
  entry.create(read_params(entry, params).get())->run(pipeline);
}

Pass QuantizedNetwork::pass(bool weights, bool activations, Tap tap) const {
  return Pass(*points_,
              {.quantize = points_->calibrated(weights, activations), .tap = std::move(tap)});
}

at::Tensor QuantizedNetwork::logits(const Batch& batch, bool weights, bool activations, Tap tap) {
  const at::NoGradGuard no_gradients;
  return model_->forward(batch, pass(weights, activations, std::move(tap))).at("logits");
}

std::string QuantizedNetwork::transform(const std::string& name, const std::string& params,
                                        std::span<const Batch> batches) {
  const at::NoGradGuard no_gradients;
  Log log(Verbosity::kQuiet);
  PipelineContext pipeline{*model_, *points_, batches, log};
  const auto& entry = all_plugins().transforms.get(name);
  entry.create(read_params(entry, params).get())->run(pipeline);
  return log.text();
}

std::vector<std::string> QuantizedNetwork::quantized_names(const std::string& source) const {
  return names_of_quantized(
      model_->sites(), [&](SiteId id) { return points_->point(id) != nullptr; }, source);
}

Experiment::Experiment(const std::string& yaml, bool run) {
  const TemporaryFolder folder;
  Log log(Verbosity::kQuiet);
  bench_ = load_bench(load_experiment(folder.write("experiment.yaml", yaml), {}, all_plugins()),
                      all_plugins(), log);
  if (run) record_ = run_experiment(std::move(bench_), log);
}

const Evaluation& Experiment::evaluation(Stage stage) const {
  for (const StageResult& result : record_.stages) {
    if (result.stage == to_string(stage)) return result.evaluation;
  }
  throw Error(fmt::format("stage {} was not run", to_string(stage)));
}

at::Tensor Experiment::logits(Stage stage) const {
  std::vector<float> values;
  const auto& predictions = evaluation(stage).predictions;
  for (const Prediction& prediction : predictions) {
    const std::vector<float>& row = prediction.outputs.at("logits");
    values.insert(values.end(), row.begin(), row.end());
  }
  return at::tensor(values).view({static_cast<int64_t>(predictions.size()), -1});
}

double Experiment::metric(Stage stage, const std::string& name) const {
  for (const auto& [metric, value] : evaluation(stage).metrics) {
    if (metric == name) return value;
  }
  throw Error(fmt::format("no metric {}", name));
}

SiteId Experiment::site(const std::string& name) const { return require_site(record_.sites, name); }

const SiteRecord* Experiment::point(const std::string& name) const {
  const auto found = record_.quantized.find(site(name));
  return found == record_.quantized.end() ? nullptr : &found->second;
}

std::vector<std::string> Experiment::quantized_names(const std::string& source) const {
  const bool was_run = bench_.model == nullptr;
  return names_of_quantized(
      was_run ? record_.sites : bench_.model->sites(),
      [&](SiteId id) {
        return was_run ? record_.quantized.count(id) > 0
                       : bench_.plan[static_cast<size_t>(id)].quantize;
      },
      source);
}

std::vector<Batch> read_batches(const std::filesystem::path& file,
                                const std::vector<std::string>& keys, int64_t keep_padding_to) {
  const SafetensorsFile tensors(file);
  std::vector<Batch> batches;
  for (const std::string& key : keys) {
    const std::string stem = key.substr(0, key.rfind("input_ids"));
    const auto read = [&](const char* name) {
      return tensors.read(stem + name).to(at::kLong).contiguous();
    };
    const auto sequences = [&](const std::string& prefix) {
      const at::Tensor ids = read((prefix + "input_ids").c_str());
      const at::Tensor mask = read((prefix + "attention_mask").c_str());
      const bool typed = prefix.empty() && tensors.contains(stem + "token_type_ids");
      const at::Tensor types = typed ? read("token_type_ids") : at::zeros_like(ids);
      std::vector<TokenSequence> result;
      for (int64_t row = 0; row < ids.size(0); ++row) {
        const auto values = [&](const at::Tensor& tensor) {
          const int64_t* data = tensor.const_data_ptr<int64_t>() + row * ids.size(1);
          return std::vector<int64_t>(data, data + ids.size(1));
        };
        result.push_back({values(ids), values(types), mask[row].sum().item<int64_t>()});
      }
      return result;
    };
    batches.push_back(pack(sequences(""), keep_padding_to));
    if (tensors.contains(stem + "decoder_input_ids")) {
      const int64_t width = tensors.read(stem + "decoder_input_ids").size(1);
      pack_decoder(batches.back(), sequences("decoder_"), keep_padding_to > 0 ? width : 0);
    }
    if (tensors.contains(stem + "labels")) batches.back().labels = read("labels");
  }
  return batches;
}

bool rounds_as_published() {
  const auto golden = test_data() / "parity/outlier_suppression";
  QuantizedNetwork network(golden, "{rules: []}");
  const at::Tensor expected = SafetensorsFile(golden / "logits.safetensors").read("fp.logits");
  const auto batches = read_batches(golden / "inputs.safetensors", {"b0.input_ids"}, 32);
  return equal_bits(network.logits(batches[0], false, false), expected[0]);
}

bool products_ignore_company() {
  const auto golden = test_data() / "parity/outlier_suppression";
  QuantizedNetwork network(golden, "{rules: []}");
  const auto batches =
      read_batches(golden / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
  for (size_t batch = 0; batch < batches.size(); ++batch) {
    const at::Tensor together = network.logits(batches[batch], false, false);
    for (int64_t count = 1; count < batches[batch].sequences(); ++count) {
      std::vector<BatchSequence> chosen;
      for (int64_t i = 0; i < count; ++i) chosen.push_back({batch, i});
      const at::Tensor alone = network.logits(gather(batches, chosen), false, false);
      if (!equal_bits(alone, together.narrow(0, 0, count).contiguous())) return false;
    }
  }
  return true;
}

std::unique_ptr<TrainingData> training_data(const std::vector<Batch>& batches) {
  LabelledSequences examples;
  for (const Batch& batch : batches) {
    const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
    const int64_t* segments = batch.segment_ids.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      const int64_t begin = batch.offsets[i], end = begin + batch.valid_lengths[i];
      examples.sequences.push_back({{ids + begin, ids + end}, {segments + begin, segments + end}});
      examples.labels.push_back(static_cast<double>(batch.labels[i].item<int64_t>()));
    }
  }
  return std::make_unique<SequenceTrainingData>([examples] { return examples; },
                                                batches.front().sequences());
}

}  // namespace quell
