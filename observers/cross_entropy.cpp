// Cross-entropy: the range that keeps what a softmax makes of the rows, for logits.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "framework/kernels/dispatch.h"
#include "framework/plugin/registry.h"
#include "framework/quant/shifted_search_observer.h"

namespace quell {
namespace {

// Rows [n, size] and the softmax of each.
struct Rows {
  std::vector<float> values;
  std::vector<double> softmax;
  size_t size = 0;

  Rows(std::vector<float> given, size_t row) : values(std::move(given)), size(row) {
    softmax.resize(values.size());
    for (size_t begin = 0; begin < values.size(); begin += size) {
      const float largest = *std::max_element(&values[begin], &values[begin] + size);
      double sum = 0;
      for (size_t i = begin; i < begin + size; ++i) {
        softmax[i] = std::exp(static_cast<double>(values[i]) - largest);
        sum += softmax[i];
      }
      for (size_t i = begin; i < begin + size; ++i) softmax[i] /= sum;
    }
  }
};

// The sum over rows of -softmax(x) log softmax(y), where y is x fake-quantized.
class CrossEntropyOf {
 public:
  CrossEntropyOf(Rows rows, kernels::Levels levels)
      : rows_(std::move(rows)), levels_(levels), quantized_(rows_.values.size()) {}

  double operator()(kernels::ScaleZeroPoint grid) {
    const auto [scale, zero_point] = grid;
    kernels::fake_quantize_tensor({}, rows_.values.data(), quantized_.data(),
                                  static_cast<int64_t>(quantized_.size()), &scale, &zero_point,
                                  levels_);
    double sum = 0;
    for (size_t begin = 0; begin < quantized_.size(); begin += rows_.size) {
      const float* y = &quantized_[begin];
      const float largest = *std::max_element(y, y + rows_.size);
      double exponentials = 0, expected = 0;
      for (size_t i = 0; i < rows_.size; ++i) {
        exponentials += std::exp(y[i] - largest);
        expected += rows_.softmax[begin + i] * (y[i] - largest);
      }
      sum += std::log(exponentials) - expected;
    }
    return sum;
  }

 private:
  Rows rows_;
  kernels::Levels levels_;
  std::vector<float> quantized_;
};

// Where there are several scales, the values of each count as a row.
class CrossEntropy final : public ShiftedSearchObserver {
 public:
  using ShiftedSearchObserver::ShiftedSearchObserver;

 private:
  kernels::RangeLoss loss_of(std::vector<float> values, size_t row,
                             const kernels::AffineRule& rule) const override {
    return [rule, loss = CrossEntropyOf(Rows(std::move(values), row), rule.levels)](
               kernels::MinMax range) mutable {
      return loss(kernels::scale_zero_point(rule, range.min, range.max));
    };
  }
};

}  // namespace

void register_observer_cross_entropy(Plugins& plugins) {
  add_plugin<CrossEntropy, ShiftedSearchParams>(
      plugins.observers, "cross_entropy",
      "Range whose grid changes the softmax of the rows least, summed over batches; for logits.",
      "Qualcomm cross-entropy estimator")
      .breaks("scale_equivariant", "a softmax of larger values is another one")
      .breaks("constant_input", "a softmax does not see a constant")
      .breaks("feature_groups", "the values of each scale count as a row");
}

}  // namespace quell
