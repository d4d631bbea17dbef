// The loss of a threshold where each compared value follows from one token and one output of each
// reader: plain outputs, and the products of a gate.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "transforms/thresholds/threshold_loss.h"

namespace quell {

// Tokens and outputs that are far off at a typical threshold come first, in rounds that grow, so
// that a threshold which loses shows it early.
class FeatureLoss final : public ThresholdLoss {
 public:
  // `gated`: what the readers give is multiplied, behind their biases and nonlinearities.
  FeatureLoss(const SearchedGroup& group, const std::vector<GroupInput>& inputs, bool gated);

  size_t rounds() const override { return rounds_.size(); }
  double add(float threshold, size_t round) override;

 private:
  // What is compared together: the outputs of one reader, or the products of several.
  struct Compared {
    std::vector<const Linear*> readers;
    std::vector<ReaderWeights::Part> parts;  // of each reader
    std::vector<at::Tensor> biases;          // of each reader; undefined: none
    at::Tensor targets;                      // [tokens, outputs], float
    std::vector<int64_t> ends;               // of each step: the outputs up to its end

    int64_t outputs() const { return parts[0].values.size(0); }
    int64_t first(size_t step) const { return step == 0 ? 0 : ends[step - 1]; }
    bool divides() const;
    void sort(const at::Tensor& order);
  };
  // Rows that one thread computes at once.
  struct RowBlock {
    int64_t first, end;
  };
  // Some blocks of rows, times some steps of the outputs.
  struct Round {
    size_t first_block, end_block, first_step, end_step;
  };
  // The readers' weights, of one step of one Compared.
  using Weights = std::vector<QuantizedWeight>;
  // By step, and within one by Compared; null: not known.
  using Steps = std::vector<std::shared_ptr<const std::vector<Weights>>>;
  // What is known of a threshold from its earlier rounds.
  struct Known {
    Steps steps;
    std::vector<std::shared_ptr<const QuantizedRows>> codes;  // by block; null: not known
  };

  void read(const std::vector<GroupInput>& inputs);
  void sort_by_loss();
  void plan(const std::vector<double>& row_losses,
            const std::vector<std::vector<double>>& output_losses);
  // What rows and the readers' weights of outputs `first` .. give, [rows, outputs].
  at::Tensor outputs(const Compared& compared, const Weights& weights, const QuantizedRows& codes,
                     const QuantizedRows& floats, int64_t first) const;
  Weights weights(const Compared& compared, const at::Tensor& scale, int64_t first,
                  int64_t end) const;
  // What a round needs of a threshold, kept if there is room.
  Known known(float threshold, const at::Tensor& scale, const Round& round);
  double distance(const Round& round, const Known& known, size_t block, const at::Tensor& scale,
                  float threshold) const;

  SearchedGroup group_;
  bool gated_;
  ReaderWeights weights_;
  std::vector<Compared> compared_;
  at::Tensor rows_;  // [tokens, features]
  bool any_codes_ = false, any_floats_ = false;
  std::vector<RowBlock> blocks_;
  std::vector<Round> rounds_;
  std::map<float, Known> kept_;
  int64_t kept_bytes_ = 0;
};

}  // namespace quell
