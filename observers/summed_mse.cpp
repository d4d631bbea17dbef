// Summed MSE: the range of the smallest squared error over all batches together.

#include "framework/plugin/registry.h"
#include "framework/quant/shifted_search_observer.h"

namespace quell {
namespace {

class SummedMse final : public ShiftedSearchObserver {
 public:
  using ShiftedSearchObserver::ShiftedSearchObserver;

 private:
  kernels::RangeLoss loss_of(std::vector<float> values, size_t,
                             const kernels::AffineRule& rule) const override {
    return kernels::squared_error(std::move(values), rule);
  }
};

}  // namespace

void register_observer_summed_mse(Plugins& plugins) {
  const char* kMargin = "as published, the bounds that are tried follow from the values and a half";
  add_plugin<SummedMse, ShiftedSearchParams>(
      plugins.observers, "summed_mse",
      "Range of the smallest squared error, summed over batches, out of a grid of candidates.",
      "Qualcomm MSE estimator")
      .breaks("scale_equivariant", kMargin)
      .breaks("feature_groups", "as published, groups share the bounds that are tried");
}

}  // namespace quell
