// Models, experiments and plug-ins inside a test, made from YAML as a user would write it.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/model/engine.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/run/run.h"
#include "tests/support/paths.h"

namespace quell {

inline std::filesystem::path test_data() { return source_folder() / "tests/data"; }
// Goldens and models that are not part of the repository; they may be absent.
inline std::filesystem::path shared_folder() { return source_folder() / "../shared"; }

// Every plug-in, registered once.
const Plugins& all_plugins();

// An engine with its defaults.
std::unique_ptr<const Engine> make_engine(const std::string& name);

// Parameters of a plug-in, read from YAML ("" for the defaults).
std::shared_ptr<void> read_params(const PluginEntry& entry, const std::string& yaml);

// A model with quantization rules.
class QuantizedNetwork {
 public:
  // `quant` is the content of an experiment's `quant:` section.
  QuantizedNetwork(const std::filesystem::path& folder, const std::string& quant,
                   const std::vector<at::Device>& devices = {at::kCPU});

  Model& model() { return *model_; }
  SitePoints& points() { return *points_; }
  // With all sites of these kinds quantized.
  Pass pass(bool weights = false, bool activations = false, Tap tap = {}) const;
  const std::vector<SitePlan>& plan() const { return plan_; }
  // By key or published name; fails the test (and throws) when there is none.
  SiteId site(const std::string& name) const;
  std::string key(const std::string& name) const { return model_->sites()[site(name)].key(); }
  SitePoint& point(const std::string& name) { return *points_->point(site(name)); }

  // Runs a solver with parameters in YAML.
  void solve(const std::string& solver, std::span<const Batch> batches,
             const std::string& params = "");
  void calibrate(std::span<const Batch> batches, const std::string& params = "") {
    solve("calibrate", batches, params);
  }
  // Runs a transform with parameters in YAML; what it logged.
  std::string transform(const std::string& name, const std::string& params = "",
                        std::span<const Batch> batches = {});
  // Names that `source` ("outlier_suppression", "qualcomm") gives to the quantized sites, sorted.
  std::vector<std::string> quantized_names(const std::string& source) const;
  // The logits with or without quantization of weights and activations.
  at::Tensor logits(const Batch& batch, bool weights, bool activations, Tap tap = {});

 private:
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::vector<SitePlan> plan_;
  std::unique_ptr<SitePoints> points_;
};

// An experiment that was run, or only loaded.
class Experiment {
 public:
  explicit Experiment(const std::string& yaml, bool run = true);

  // What the run found.
  const RunRecord& record() const { return record_; }
  // Of an experiment that was only loaded.
  Bench& bench() { return bench_; }
  // "logits" of all examples in order, [examples, values]. Throws when the stage was not run.
  at::Tensor logits(Stage stage) const;
  double metric(Stage stage, const std::string& name) const;
  SiteId site(const std::string& name) const;
  // Null where the site is not quantized.
  const SiteRecord* point(const std::string& name) const;
  // As QuantizedNetwork::quantized_names().
  std::vector<std::string> quantized_names(const std::string& source) const;

 private:
  const Evaluation& evaluation(Stage stage) const;

  Bench bench_;
  RunRecord record_;
};

// The batches of `input_ids` tensors in a file, with their masks and, where there are some, labels;
// `keep_padding_to` as in pack(); with it a decoder's side keeps the padding that the file has.
std::vector<Batch> read_batches(const std::filesystem::path& file,
                                const std::vector<std::string>& keys, int64_t keep_padding_to = 0);

// Whether matrix products of this processor round as those of the published code's runs, so that
// numbers that follow from them can be compared to the bit.
bool rounds_as_published();
// Whether a row of LibTorch's matrix products has the same bits whatever rows are multiplied along.
// On Intel's processors MKL has other kernels for other numbers of rows.
bool products_ignore_company();

// The sequences of batches with labels, without padding, as training data.
std::unique_ptr<TrainingData> training_data(const std::vector<Batch>& batches);

}  // namespace quell
