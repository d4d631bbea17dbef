// quell's side of the comparison: the steps of an experiment, each timed on its own.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/io/checkpoint.h"
#include "framework/model/pipeline.h"
#include "framework/run/experiment.h"
#include "tests/benchmarks/published/pipeline.h"
#include "tests/support/records.h"

namespace quell::published {

// What is quantized and on which data.
struct Problem {
  std::string name;  // "CoLA"
  std::filesystem::path model;
  std::string task;    // the `task:` section of an experiment, as YAML
  int64_t length = 0;  // what the published code pads to
  int64_t bits = 6;
  int64_t threads = 1;
  std::string device = "cpu";  // of both
};

// One way of running quell; the default is what a user gets.
struct Variant {
  std::string search;               // parameters of token_wise_clipping, as YAML
  std::string quantizer = "fixed";  // of activations
  bool keep_padding = false;
  bool search_only = false;  // no learning, no evaluation
};

struct OurResult {
  Times times;
  SearchRecord search;
  std::string search_note;                                      // what the search says about itself
  std::map<std::string, std::pair<double, double>> parameters;  // by published name, at the end
  Metrics metrics;                                              // of the quantized network
};

// An experiment whose model and data are loaded.
class Setup {
 public:
  Setup(const Problem& problem, const Variant& variant, const Plugins& plugins);

  // Everything; the model is used up by it.
  OurResult run();

  const std::vector<Batch>& calibration() const { return calibration_; }
  // The batches that the task evaluates on, in its order.
  std::vector<Batch> evaluation_batches() const;
  // What the task says about these logits of evaluation_batches().
  Metrics score(const std::vector<at::Tensor>& logits) const;
  int64_t pad_id() const { return model_->pad_id(); }
  // The float rows of an activation site for the first calibration batch.
  at::Tensor rows_at(const std::string& site);

 private:
  void run_step(const StepChoice& step, PipelineContext& context);
  Metrics evaluate();

  ExperimentSpec spec_;
  Checkpoint checkpoint_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<SitePoints> points_;
  std::vector<Batch> calibration_;
  bool search_only_;
  Log log_{Verbosity::kQuiet};
};

// Adds the quantizer "eager", which does the arithmetic of "fixed" in the published sequence of
// operations of LibTorch.
void register_eager_quantizer(Plugins& plugins);
// Whether quell has the fine stage in this build, and the quantizer that a run then takes.
bool has_learning(const Plugins& plugins);
std::string learned_quantizer(const Plugins& plugins);

}  // namespace quell::published
