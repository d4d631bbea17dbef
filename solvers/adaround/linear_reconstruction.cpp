// Linears: on random sequences, and by second moments of all rows.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros.h>
#include <algorithm>
#include <mutex>
#include <numeric>

#include "framework/base/error.h"
#include "solvers/adaround/layer_reconstructions.h"

namespace quell {
namespace {

// Outputs that a thread computes at once: as many as fill the cache with their rows.
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
      : linear_(linear), draw_(std::move(draw)), inputs_(memory), targets_(memory) {
    set_blocks(linear.weight.size(0), kOutputs);
  }

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

  double squared_error(int64_t block, const at::Tensor& weights, float* gradient) override {
    return buffers_.with(rows() * (block_begin(block + 1) - block_begin(block)),
                         [&](float* buffer) { return error(block, weights, buffer, gradient); });
  }

  double loss_factor() const override {
    const auto sequences = static_cast<double>(std::ssize(target_rows_));
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
      std::vector<double> errors(blocks());
      for_each_piece(blocks(), [&](int64_t block) {
        errors[static_cast<size_t>(block)] = squared_error(block, weights, nullptr);
      });
      sum = std::accumulate(errors.begin(), errors.end(), sum);
    }
    return sum / static_cast<double>(targets_.total_rows() * targets_.features());
  }

 private:
  int64_t rows() const { return batch_.size(0); }

  void load(const std::vector<int64_t>& chosen) {
    int64_t rows = 0, on_disk = 0;
    for (const int64_t sequence : chosen) rows += inputs_.rows(sequence);
    if (!room_.defined() || room_.size(0) < rows) {
      room_ = at::empty({rows, inputs_.features()}, at::kFloat);
    }
    batch_ = room_.narrow(0, 0, rows);
    if (targets_.on_disk()) on_disk = rows * targets_.features();
    if (target_copies_.size() < static_cast<size_t>(on_disk)) target_copies_.resize(on_disk);
    target_rows_.clear();
    int64_t row = 0;
    for (const int64_t sequence : chosen) {
      float* to = batch_.mutable_data_ptr<float>() + row * inputs_.features();
      const float* from = inputs_.find(sequence, to);
      const int64_t count = inputs_.rows(sequence);
      if (from != to) std::copy_n(from, count * inputs_.features(), to);
      float* copy = on_disk == 0 ? nullptr : target_copies_.data() + row * targets_.features();
      target_rows_.push_back({targets_.find(sequence, copy), count});
      row += count;
    }
  }

  // y - target, where y is in `values` [rows, outputs of the block]; the sum of squares.
  double subtract_targets(int64_t block, float* values, const float* bias) const {
    const int64_t first = block_begin(block), outputs = block_begin(block + 1) - first;
    double sum = 0;
    for (const auto& [data, count] : target_rows_) {
      sum +=
          kernels::subtract_target(values, bias, data + first, count, outputs, targets_.features());
      values += count * outputs;
    }
    return sum;
  }

  double error(int64_t block, const at::Tensor& weights, float* buffer, float* gradient) const {
    const int64_t first = block_begin(block), outputs = block_begin(block + 1) - first;
    at::Tensor values = matrix(buffer, rows(), outputs);
    at::mm_out(values, batch_, weights.narrow(0, first, outputs).t());
    const float* bias =
        linear_.bias.defined() ? linear_.bias.const_data_ptr<float>() + first : nullptr;
    if (!linear_.nonlinearity) {
      const double sum = subtract_targets(block, buffer, bias);
      if (gradient != nullptr) add_up(values, outputs, gradient);
      return sum;
    }
    if (bias != nullptr) values.add_(linear_.bias.narrow(0, first, outputs));
    const at::AutoGradMode record(gradient != nullptr);
    const at::Tensor leaf = values.detach().set_requires_grad(gradient != nullptr);
    const at::Tensor result = linear_.nonlinearity(leaf.clone());
    const at::Tensor errors = result.detach().clone();
    const double sum = subtract_targets(block, errors.mutable_data_ptr<float>(), nullptr);
    if (gradient == nullptr) return sum;
    result.backward(errors);
    add_up(leaf.grad(), outputs, gradient);
    return sum;
  }

  void add_up(const at::Tensor& errors, int64_t outputs, float* gradient) const {
    at::Tensor result = matrix(gradient, outputs, inputs_.features());
    const at::NoGradGuard no_gradients;
    at::mm_out(result, errors.t(), batch_);
  }

  struct TargetRows {
    const float* data;
    int64_t count;
  };

  Linear linear_;
  SequenceDraw draw_;
  RowCache inputs_, targets_;
  bool one_row_each_ = true;
  at::Tensor room_, batch_;  // for inputs; those of the chosen sequences
  std::vector<TargetRows> target_rows_;
  std::vector<float> target_copies_;  // of those on disk
  Buffers buffers_;
};

class LinearByMoments final : public Reconstruction {
 public:
  explicit LinearByMoments(const Linear& linear)
      : weight_(linear.weight), outputs_(weight_.size(0)) {
    const int64_t inputs = weight_.size(1);
    set_blocks(outputs_, kOutputs);
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

  double squared_error(int64_t block, const at::Tensor& weights, float* gradient) override {
    const int64_t first = block_begin(block), outputs = block_begin(block + 1) - first;
    const int64_t inputs = weight_.size(1);
    return buffers_.with(2 * outputs * inputs, [&](float* buffer) {
      at::Tensor deviation = matrix(buffer, outputs, inputs);
      at::Tensor result =
          matrix(gradient != nullptr ? gradient : buffer + outputs * inputs, outputs, inputs);
      const at::Tensor offset = offset_.narrow(0, first, outputs);
      at::sub_out(deviation, weights.narrow(0, first, outputs), weight_.narrow(0, first, outputs));
      at::addmm_out(result, offset, deviation, moments_float_);
      return constant_[static_cast<size_t>(block)] +
             kernels::sum_of_products(buffer, result.const_data_ptr<float>(),
                                      offset.const_data_ptr<float>(), outputs * inputs);
    });
  }

  double loss_factor() const override {
    const auto sequences = static_cast<double>(sequences_);
    return rows_ == sequences_ ? 1 / sequences : 1 / (sequences * static_cast<double>(outputs_));
  }

  double mean_squared_error(const at::Tensor& weights) override {
    prepare();
    std::vector<double> errors(blocks());
    for_each_piece(blocks(), [&](int64_t block) {
      errors[static_cast<size_t>(block)] = squared_error(block, weights, nullptr);
    });
    // Rounding may take a sum of next to nothing below zero.
    return std::max(0.0, std::accumulate(errors.begin(), errors.end(), 0.0)) /
           static_cast<double>(rows_ * outputs_);
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
    constant_.assign(blocks(), 0);
    for_each_piece(blocks(), [&](int64_t block) {
      const int64_t first = block_begin(block), outputs = block_begin(block + 1) - first;
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
  std::vector<double> constant_;  // c, by block
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
