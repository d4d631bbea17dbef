// The whole published pipeline of Outlier Suppression after training (W6A6 and others): float
// targets, gamma migration, weights, ratio search, learning, evaluation; each stage on its own, so
// that it can be timed whole or on a part of its work.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <string>
#include <vector>

#include "tests/benchmarks/published/bert.h"
#include "tests/benchmarks/published/clock.h"

namespace quell::published {

using Times = std::map<std::string, Time>;  // by stage

struct Settings {
  std::filesystem::path model;
  int64_t bits = 6;
  int64_t epochs = 3;
  double learning_rate = 1e-5;
  at::Device device = at::kCPU;
};

// What is timed where the whole would take too long. All batches are padded to the same shape and
// every ratio does the same operations, so that a part stands for the whole.
struct Sample {
  int64_t batches = 2;         // of float targets, of a ratio's two passes, of the evaluation
  int64_t learning_steps = 1;  // of 24; 0: no learning
};

// The number of ratios, which begin at 1 and fall by kRatioStep (32 sequences of up to 128 tokens).
int64_t ratio_count(int64_t bits);
constexpr double kRatioStep = 0.01;

class Pipeline {
 public:
  Pipeline(const Settings& settings, std::vector<PaddedBatch> calibration,
           std::vector<PaddedBatch> evaluation);

  // Everything; the first `ratios` ratios (0: all of them). Times as measured.
  Times run(int64_t ratios);
  // The times of the whole, extrapolated from a part of each stage: one ratio, Sample::batches
  // batches, the weights of one batch (which are all).
  Times sample(const Sample& sample);
  // The same up to the search, whose time is returned.
  Time sample_search(size_t batches, Times& times);

  // Filled by run().
  const std::vector<double>& losses() const { return losses_; }  // by ratio
  double chosen_ratio() const { return chosen_ratio_; }
  // Scale and zero point by published name, before learning and at the end.
  const std::map<std::string, std::pair<double, double>>& coarse() const { return coarse_; }
  std::map<std::string, std::pair<double, double>> parameters();
  const std::vector<at::Tensor>& evaluation_logits() const { return evaluation_logits_; }

  // The time of one observing and of one quantized pass over all calibration batches.
  const Time& observing_time() const { return observing_time_; }
  const Time& quantized_time() const { return quantized_time_; }

 private:
  // Until all that was started is done.
  template <class Work>
  Time timed(const Work& work) const {
    return published::timed([&] {
      work();
      wait();
    });
  }
  void wait() const;

  void compute_targets(size_t batches);
  void observe_weights();
  void observe(double ratio, size_t batches);
  double loss_of_batches(size_t batches);
  void search(int64_t ratios);
  void learn(int64_t steps);
  void evaluate(size_t batches);

  Settings settings_;
  Bert model_;
  std::vector<PaddedBatch> calibration_, evaluation_;
  std::vector<at::Tensor> targets_, evaluation_logits_;
  std::vector<double> losses_;
  std::map<std::string, std::pair<double, double>> coarse_;
  double chosen_ratio_ = 1;
  Time observing_time_, quantized_time_;
};

}  // namespace quell::published
