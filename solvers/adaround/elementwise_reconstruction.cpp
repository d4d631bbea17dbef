// Norms and tables: each value of the weight makes errors of its own.

#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <algorithm>

#include "framework/base/error.h"
#include "solvers/adaround/layer_reconstructions.h"
#include "solvers/adaround/pieces.h"

namespace quell {
namespace {

// The rows that the gains multiply.
at::Tensor normalized(const Norm& norm, const at::Tensor& rows) {
  switch (norm.kind) {
    case NormKind::kLayer:
      return at::layer_norm(rows, {rows.size(-1)}, {}, {}, norm.epsilon);
    case NormKind::kRms:
      return rows.mul(at::rsqrt(rows.mul(rows).mean(-1, /*keepdim=*/true).add(norm.epsilon)));
    case NormKind::kNone:
      return rows;
  }
  QUELL_ASSERT(false, "unhandled kind of norm");
}

at::Tensor outputs_of(const at::Tensor& rows, const at::Tensor& gain, const at::Tensor& bias) {
  const at::Tensor scaled = rows.mul(gain);
  return bias.defined() ? scaled.add(bias) : scaled;
}

class NormReconstruction final : public Reconstruction {
 public:
  NormReconstruction(const Norm& norm, bool moments, SequenceDraw draw, RowMemory& memory)
      : norm_(norm),
        moments_(moments),
        draw_(std::move(draw)),
        inputs_(memory),
        targets_(memory),
        square_(at::zeros({norm.weight.size(0)}, at::kDouble)),
        product_(at::zeros({norm.weight.size(0)}, at::kDouble)) {}

  void add(const OperationInputs& inputs) override {
    const at::Tensor rows = normalized(norm_, inputs.quantized);
    const at::Tensor targets =
        inputs.targets.defined()
            ? inputs.targets
            : outputs_of(normalized(norm_, inputs.original), norm_.weight, norm_.bias);
    // Of the targets without the bias.
    const at::Tensor wanted = (norm_.bias.defined() ? targets.sub(norm_.bias) : targets);
    const at::Tensor x = rows.to(at::kDouble), y = wanted.to(at::kDouble);
    square_.add_(x.mul(x).sum(0));
    product_.add_(x.mul(y).sum(0));
    constant_ += y.mul(y).sum().item<double>();
    total_rows_ += rows.size(0);
    if (moments_) return;
    inputs_.add(rows, inputs.begins);
    targets_.add(targets, inputs.begins);
  }

  void start(int64_t iteration) override {
    const std::vector<int64_t> chosen = draw_(iteration);
    sequences_ = std::ssize(chosen);
    batch_ = joined(inputs_, chosen);
    wanted_ = joined(targets_, chosen);
  }

  double squared_error(const at::Tensor& weights, at::Tensor& gradient) override {
    return sum_over_pieces(1, 1, [&](int64_t, int64_t) {
      const at::Tensor errors = outputs_of(batch_, weights.view({-1}), norm_.bias).sub_(wanted_);
      gradient.copy_(errors.mul(batch_).sum(0).view(gradient.sizes()));
      return errors.to(at::kDouble).square_().sum().item<double>();
    });
  }

  double loss_factor() const override {
    return 1 / static_cast<double>(sequences_ * batch_.size(1));
  }

  double mean_squared_error(const at::Tensor& weights) override {
    const at::Tensor gain = weights.view({-1}).to(at::kDouble);
    const double sum =
        gain.mul(gain).mul_(square_).sub_(gain.mul(product_).mul_(2)).sum().item<double>();
    return std::max(0.0, sum + constant_) / static_cast<double>(total_rows_ * gain.size(0));
  }

  at::Tensor separate_optimum() override {
    if (!moments_) return {};
    const at::Tensor best =
        at::where(square_.gt(0), product_.div(square_), norm_.weight.to(at::kDouble));
    return best.to(at::kFloat).view({1, -1});
  }

 private:
  static at::Tensor joined(const RowCache& cache, const std::vector<int64_t>& chosen) {
    int64_t rows = 0;
    for (const int64_t sequence : chosen) rows += cache.rows(sequence);
    const at::Tensor all = at::zeros({rows, cache.features()}, at::kFloat);
    auto* to = all.mutable_data_ptr<float>();
    for (const int64_t sequence : chosen) {
      const int64_t values = cache.rows(sequence) * cache.features();
      const float* from = cache.find(sequence, to);
      if (from != to) std::copy_n(from, values, to);
      to += values;
    }
    return all;
  }

  Norm norm_;
  bool moments_;
  SequenceDraw draw_;
  RowCache inputs_, targets_;
  // Over all rows, float64 [features]: sums of x^2, of x times the target, and of its square.
  at::Tensor square_, product_;
  double constant_ = 0;
  int64_t total_rows_ = 0, sequences_ = 0;
  at::Tensor batch_, wanted_;
};

class TableReconstruction final : public Reconstruction {
 public:
  TableReconstruction(const EmbeddingTable& table, bool moments, SequenceDraw draw)
      : weight_(table.weight.contiguous()),
        moments_(moments),
        draw_(std::move(draw)),
        all_(weight_.size(0)),
        drawn_(weight_.size(0)) {}

  void add(const OperationInputs& inputs) override {
    const auto* ids = inputs.quantized.const_data_ptr<int64_t>();
    for (size_t i = 0; i + 1 < inputs.begins.size(); ++i) {
      ids_.emplace_back(ids + inputs.begins[i], ids + inputs.begins[i + 1]);
      count(ids_.back(), all_);
      rows_ += std::ssize(ids_.back());
    }
  }

  void start(int64_t iteration) override {
    const std::vector<int64_t> chosen = draw_(iteration);
    sequences_ = std::ssize(chosen);
    std::fill(drawn_.begin(), drawn_.end(), 0.0f);
    for (const int64_t sequence : chosen) count(ids_[static_cast<size_t>(sequence)], drawn_);
  }

  double squared_error(const at::Tensor& weights, at::Tensor& gradient) override {
    return error_of(drawn_, weights, gradient.mutable_data_ptr<float>());
  }

  double loss_factor() const override {
    return 1 / static_cast<double>(sequences_ * weight_.size(1));
  }

  double mean_squared_error(const at::Tensor& weights) override {
    return error_of(all_, weights, nullptr) / static_cast<double>(rows_ * weight_.size(1));
  }

  at::Tensor separate_optimum() override { return moments_ ? weight_ : at::Tensor(); }

 private:
  static void count(const std::vector<int64_t>& ids, std::vector<float>& uses) {
    for (const int64_t id : ids) ++uses[static_cast<size_t>(id)];
  }

  // Of all entries, each as often as it is used.
  double error_of(const std::vector<float>& uses, const at::Tensor& weights,
                  float* gradient) const {
    constexpr int64_t kRows = 1024;
    return sum_over_pieces(weight_.size(0), kRows, [&](int64_t first, int64_t last) {
      float* along = gradient == nullptr ? nullptr : gradient + first * weight_.size(1);
      return error_of(first, last, uses, weights, along);
    });
  }
  // Of entries first..last.
  double error_of(int64_t first, int64_t last, const std::vector<float>& uses,
                  const at::Tensor& weights, float* gradient) const {
    const int64_t features = weight_.size(1);
    const float* target = weight_.const_data_ptr<float>() + first * features;
    const float* values = weights.const_data_ptr<float>() + first * features;
    double sum = 0;
    for (int64_t entry = first; entry < last; ++entry) {
      const float used = uses[static_cast<size_t>(entry)];
      double squares = 0;
      for (int64_t i = 0; i < features && used > 0; ++i) {
        const double error = values[i] - target[i];
        squares += error * error;
      }
      sum += used * squares;
      for (int64_t i = 0; i < features && gradient != nullptr; ++i) {
        *gradient++ = used * (values[i] - target[i]);
      }
      target += features;
      values += features;
    }
    return sum;
  }

  at::Tensor weight_;
  bool moments_;
  SequenceDraw draw_;
  std::vector<std::vector<int64_t>> ids_;  // by sequence
  std::vector<float> all_, drawn_;         // how often each entry is used
  int64_t rows_ = 0, sequences_ = 0;
};

}  // namespace

std::unique_ptr<Reconstruction> reconstruct_norm(const Norm& norm, bool moments, SequenceDraw draw,
                                                 RowMemory& memory) {
  return std::make_unique<NormReconstruction>(norm, moments, std::move(draw), memory);
}

std::unique_ptr<Reconstruction> reconstruct_table(const EmbeddingTable& table, bool moments,
                                                  SequenceDraw draw) {
  return std::make_unique<TableReconstruction>(table, moments, std::move(draw));
}

}  // namespace quell
