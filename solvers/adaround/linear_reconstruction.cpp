// Linears: on random sequences, and by second moments of all rows.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <mutex>
#include <numeric>

#include "framework/base/error.h"
#include "framework/model/activation_function.h"
#include "solvers/adaround/layer_reconstructions.h"
#include "solvers/adaround/pieces.h"

namespace quell {
namespace {

// What a thread computes at once on batches: half of the rows, but about so many, in whole
// sequences, of so many outputs, which lie in the second-level cache between the two products.
constexpr int64_t kLeastRows = 512, kMostRows = 1024, kTileOutputs = 384;
// Parts of a batch that each have a gradient of their own, which are added up.
constexpr int64_t kParts = 4;
// Rows of the weight that a thread takes by moments.
constexpr int64_t kOutputs = 128;

// Memory that is used again and again, by one thread at a time.
class Buffers {
 public:
  template <class Work>
  auto with(int64_t size, const Work& work) {
    at::Tensor buffer = take();
    if (!buffer.defined() || buffer.numel() < size) buffer = at::empty({size}, at::kFloat);
    auto result = work(buffer.mutable_data_ptr<float>());
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));
    return result;
  }

 private:
  at::Tensor take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return {};
    at::Tensor buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  std::mutex mutex_;
  std::vector<at::Tensor> free_;
};

at::Tensor matrix(float* data, int64_t rows, int64_t columns) {
  return at::from_blob(data, {rows, columns}, at::kFloat);
}

class LinearOnBatches final : public Reconstruction {
 public:
  LinearOnBatches(const Linear& linear, SequenceDraw draw, RowMemory& memory)
      : linear_(linear),
        activation_(kernel_of(linear.nonlinearity)),
        draw_(std::move(draw)),
        inputs_(memory),
        targets_(memory) {}

  void add(const OperationInputs& inputs) override {
    inputs_.add(inputs.quantized, inputs.begins);
    at::Tensor targets = inputs.targets;
    if (!targets.defined()) {
      for_each_piece(1, [&](int64_t) {
        targets = at::linear(inputs.original, linear_.weight, linear_.bias);
        if (linear_.nonlinearity) targets = linear_.nonlinearity(std::move(targets));
      });
    }
    targets_.add(targets, inputs.begins);
    for (size_t i = 0; i + 1 < inputs.begins.size(); ++i) {
      one_row_each_ &= inputs.begins[i + 1] - inputs.begins[i] == 1;
    }
  }

  void start(int64_t iteration) override { load(draw_(iteration)); }

  double squared_error(const at::Tensor& weights, at::Tensor& gradient) override {
    const double sum = error(weights, &gradient);
    for (int64_t part = 1; part < parts(); ++part) {
      gradient.add_(later_parts_[static_cast<size_t>(part - 1)]);
    }
    return sum;
  }

  double loss_factor() const override {
    const auto sequences = static_cast<double>(std::ssize(chosen_));
    return one_row_each_ ? 1 / sequences
                         : 1 / (sequences * static_cast<double>(targets_.features()));
  }

  double mean_squared_error(const at::Tensor& weights) override {
    double sum = 0;
    constexpr int64_t kAtOnce = 8;
    for (int64_t first = 0; first < inputs_.sequences(); first += kAtOnce) {
      std::vector<int64_t> chosen(std::min(kAtOnce, inputs_.sequences() - first));
      std::iota(chosen.begin(), chosen.end(), first);
      load(chosen);
      sum += error(weights, nullptr);
    }
    return sum / static_cast<double>(targets_.total_rows() * targets_.features());
  }

 private:
  // Sequences that are computed at once.
  struct Tile {
    size_t first, last;     // in chosen_
    int64_t row, rows = 0;  // of batch_
  };
  struct Outputs {
    int64_t first, count;
  };
  struct Chosen {
    int64_t sequence, rows;
    const float* targets = nullptr;
  };

  int64_t parts() const { return std::min<int64_t>(kParts, std::ssize(tiles_)); }

  void load(const std::vector<int64_t>& sequences) {
    chosen_.clear();
    tiles_.clear();
    int64_t rows = 0;
    for (const int64_t sequence : sequences) rows += inputs_.rows(sequence);
    const int64_t enough = std::clamp((rows + 1) / 2, kLeastRows, kMostRows);
    rows = 0;
    for (const int64_t sequence : sequences) {
      if (tiles_.empty() || tiles_.back().rows >= enough) {
        tiles_.push_back({chosen_.size(), chosen_.size(), rows});
      }
      chosen_.push_back({sequence, inputs_.rows(sequence)});
      ++tiles_.back().last;
      tiles_.back().rows += chosen_.back().rows;
      rows += chosen_.back().rows;
    }
    if (!room_.defined() || room_.size(0) < rows) {
      room_ = at::empty({rows, inputs_.features()}, at::kFloat);
      if (targets_.on_disk()) target_room_ = at::empty({rows, targets_.features()}, at::kFloat);
    }
    batch_ = room_.narrow(0, 0, rows);
    for_each_piece(std::ssize(tiles_),
                   [&](int64_t tile) { load_rows(tiles_[static_cast<size_t>(tile)]); });
  }

  void load_rows(const Tile& tile) {
    float* to = batch_.mutable_data_ptr<float>() + tile.row * inputs_.features();
    float* copy = targets_.on_disk()
                      ? target_room_.mutable_data_ptr<float>() + tile.row * targets_.features()
                      : nullptr;
    for (size_t i = tile.first; i < tile.last; ++i) {
      Chosen& chosen = chosen_[i];
      const float* from = inputs_.find(chosen.sequence, to);
      const int64_t values = chosen.rows * inputs_.features();
      if (from != to) std::copy_n(from, values, to);
      to += values;
      chosen.targets = targets_.find(chosen.sequence, copy);
      if (copy != nullptr) copy += chosen.rows * targets_.features();
    }
  }

  // The sum of squared errors of the chosen sequences; half of the gradient is that of the first
  // part in `gradient`, if there is one, and of the others in later_parts_.
  double error(const at::Tensor& weights, at::Tensor* gradient) {
    const int64_t outputs = weights.size(0), blocks = (outputs + kTileOutputs - 1) / kTileOutputs;
    const int64_t tiles = std::ssize(tiles_);
    if (gradient != nullptr && std::ssize(later_parts_) < parts() - 1) {
      later_parts_.resize(static_cast<size_t>(parts() - 1));
      for (at::Tensor& part : later_parts_) part = at::empty_like(*gradient);
    }
    return sum_over_pieces(parts() * blocks, 1, [&](int64_t piece, int64_t) {
      const int64_t part = piece / blocks, first = piece % blocks * kTileOutputs;
      const Outputs of{first, std::min(kTileOutputs, outputs - first)};
      const at::Tensor own = weights.narrow(0, of.first, of.count);
      at::Tensor along;
      if (gradient != nullptr) {
        along = (part == 0 ? *gradient : later_parts_[static_cast<size_t>(part - 1)])
                    .narrow(0, of.first, of.count);
      }
      double sum = 0;
      const int64_t begin = tiles * part / parts(), end = tiles * (part + 1) / parts();
      for (int64_t i = begin; i < end; ++i) {
        const Tile& tile = tiles_[static_cast<size_t>(i)];
        sum += buffers_.with(tile.rows * of.count, [&](float* buffer) {
          return tile_error(tile, of, own, buffer, along, i > begin);
        });
      }
      return sum;
    });
  }

  // Adds to the gradient, or writes it.
  double tile_error(const Tile& tile, const Outputs& of, const at::Tensor& weights, float* buffer,
                    at::Tensor& gradient, bool adds) const {
    const at::Tensor rows = batch_.narrow(0, tile.row, tile.rows);
    at::Tensor values = matrix(buffer, tile.rows, of.count);
    at::mm_out(values, rows, weights.t());
    const bool known = !linear_.nonlinearity || activation_ != kernels::Activation::kNone;
    const double sum = known ? take_errors(tile, of, values, linear_.bias, activation_)
                             : take_errors_by_autograd(tile, of, values, gradient.defined());
    if (!gradient.defined()) return sum;
    if (adds) {
      gradient.addmm_(values.t(), rows);
    } else {
      at::mm_out(gradient, values.t(), rows);
    }
    return sum;
  }

  // The sum of squared errors of outputs `values` [rows of the tile, outputs], which become half of
  // its gradient.
  double take_errors(const Tile& tile, const Outputs& of, at::Tensor& values,
                     const at::Tensor& bias, kernels::Activation activation) const {
    kernels::OutputTargets targets{.activation = activation, .stride = targets_.features()};
    if (bias.defined()) targets.shift = bias.const_data_ptr<float>() + of.first;
    auto* at = values.mutable_data_ptr<float>();
    double sum = 0;
    for (size_t i = tile.first; i < tile.last; ++i) {
      targets.target = chosen_[i].targets + of.first;
      sum += kernels::take_output_errors(at, chosen_[i].rows, of.count, targets);
      at += chosen_[i].rows * of.count;
    }
    return sum;
  }

  // Where no kernel knows the derivative of the nonlinearity.
  double take_errors_by_autograd(const Tile& tile, const Outputs& of, at::Tensor& values,
                                 bool has_gradient) const {
    if (linear_.bias.defined()) values.add_(linear_.bias.narrow(0, of.first, of.count));
    const at::AutoGradMode record(has_gradient);
    const at::Tensor leaf = values.detach().set_requires_grad(has_gradient);
    const at::Tensor result = linear_.nonlinearity(leaf.clone());
    at::Tensor errors = result.detach().clone();
    const double sum = take_errors(tile, of, errors, {}, kernels::Activation::kNone);
    if (!has_gradient) return sum;
    result.backward(errors);
    values = leaf.grad();
    return sum;
  }

  Linear linear_;
  kernels::Activation activation_;
  SequenceDraw draw_;
  RowCache inputs_, targets_;
  bool one_row_each_ = true;
  at::Tensor room_, batch_;  // for inputs; those of the chosen sequences
  at::Tensor target_room_;   // for targets that lie on disk
  std::vector<Chosen> chosen_;
  std::vector<Tile> tiles_;
  std::vector<at::Tensor> later_parts_;
  Buffers buffers_;
};

class LinearByMoments final : public Reconstruction {
 public:
  explicit LinearByMoments(const Linear& linear)
      : weight_(linear.weight), outputs_(weight_.size(0)) {
    const int64_t inputs = weight_.size(1);
    for (at::Tensor* sum : {&moments_, &cross_, &deviation_}) {
      *sum = at::zeros({inputs, inputs}, at::kDouble);
    }
  }

  void add(const OperationInputs& inputs) override {
    QUELL_ASSERT(!inputs.targets.defined(), "targets of moments are the operation's");
    const at::Tensor& x = inputs.quantized;
    add_product(x, x, moments_);
    if (!x.is_same(inputs.original)) {
      const at::Tensor moved = x.sub(inputs.original);
      add_product(moved, x, cross_);
      add_product(moved, moved, deviation_);
    }
    rows_ += x.size(0);
    sequences_ += std::ssize(inputs.begins) - 1;
    prepared_ = false;
  }

  void start(int64_t /*iteration*/) override { prepare(); }

  double squared_error(const at::Tensor& weights, at::Tensor& gradient) override {
    const int64_t inputs = weight_.size(1);
    return sum_over_pieces(outputs_, kOutputs, [&](int64_t first, int64_t last) {
      const int64_t outputs = last - first;
      return buffers_.with(outputs * inputs, [&](float* buffer) {
        at::Tensor deviation = matrix(buffer, outputs, inputs);
        at::Tensor result = gradient.narrow(0, first, outputs);
        const at::Tensor offset = offset_.narrow(0, first, outputs);
        at::sub_out(deviation, weights.narrow(0, first, outputs),
                    weight_.narrow(0, first, outputs));
        at::addmm_out(result, offset, deviation, moments_float_);
        return constant_[static_cast<size_t>(first / kOutputs)] +
               kernels::sum_of_products(buffer, result.const_data_ptr<float>(),
                                        offset.const_data_ptr<float>(), outputs * inputs);
      });
    });
  }

  double loss_factor() const override {
    const auto sequences = static_cast<double>(sequences_);
    return rows_ == sequences_ ? 1 / sequences : 1 / (sequences * static_cast<double>(outputs_));
  }

  double mean_squared_error(const at::Tensor& weights) override {
    prepare();
    at::Tensor gradient = at::empty_like(weights);
    // Rounding may take a sum of next to nothing below zero.
    return std::max(0.0, squared_error(weights, gradient)) / static_cast<double>(rows_ * outputs_);
  }

 private:
  // Adds a' b; the sums of one batch are float32.
  static void add_product(const at::Tensor& a, const at::Tensor& b, at::Tensor& sum) {
    const int64_t features = a.size(1);
    for_each_piece((features + kOutputs - 1) / kOutputs, [&](int64_t piece) {
      const int64_t first = piece * kOutputs, count = std::min(kOutputs, features - first);
      sum.narrow(0, first, count).add_(at::mm(a.narrow(1, first, count).t(), b));
    });
  }

  // What iterations read.
  void prepare() {
    if (prepared_) return;
    prepared_ = true;
    moments_float_ = moments_.to(at::kFloat);
    offset_ = at::empty(weight_.sizes(), at::kFloat);
    constant_.clear();
    for (int64_t first = 0; first < outputs_; first += kOutputs) constant_.push_back(0);
    for_each_piece(std::ssize(constant_), [&](int64_t block) {
      const int64_t first = block * kOutputs, outputs = std::min(kOutputs, outputs_ - first);
      const at::Tensor weight = weight_.narrow(0, first, outputs).to(at::kDouble);
      offset_.narrow(0, first, outputs).copy_(at::mm(weight, cross_));
      constant_[static_cast<size_t>(block)] =
          at::mm(weight, deviation_).mul_(weight).sum().item<double>();
    });
  }

  at::Tensor weight_;
  int64_t outputs_, rows_ = 0, sequences_ = 0;
  // float64 [inputs, inputs]: sums of x x', (x - x_float) x', and (x - x_float) (x - x_float)'.
  at::Tensor moments_, cross_, deviation_;
  bool prepared_ = false;
  at::Tensor moments_float_;      // H
  at::Tensor offset_;             // R [outputs, inputs]
  std::vector<double> constant_;  // c, by kOutputs
  Buffers buffers_;
};

}  // namespace

std::unique_ptr<Reconstruction> reconstruct_linear(const Linear& linear, SequenceDraw draw,
                                                   RowMemory& memory) {
  return std::make_unique<LinearOnBatches>(linear, std::move(draw), memory);
}

std::unique_ptr<Reconstruction> reconstruct_linear_by_moments(const Linear& linear) {
  return std::make_unique<LinearByMoments>(linear);
}

}  // namespace quell
