// What the third paper's range estimators share: a loss that each batch adds to for every
// candidate, or Brent's method on the last batch.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "framework/config/enum_name.h"
#include "framework/config/schema.h"
#include "framework/kernels/shifted_search.h"
#include "framework/quant/observer.h"

namespace quell {

// How the range with the smallest loss is looked for.
enum class RangeSearchMethod {
  kGrid,   // candidates in equal steps, losses summed over batches
  kBrent,  // Brent's method, the last batch alone
};

template <>
struct EnumNames<RangeSearchMethod> {
  static constexpr std::pair<const char*, RangeSearchMethod> values[] = {
      {"grid", RangeSearchMethod::kGrid}, {"brent", RangeSearchMethod::kBrent}};
};

struct ShiftedSearchParams {
  RangeSearchMethod search = RangeSearchMethod::kGrid;
  int64_t candidates = 100;
  int64_t shifts = 0;

  template <class V>
  static void describe(V& v) {
    v("search", &ShiftedSearchParams::search,
      "grid: candidates in equal steps, the smallest loss over all batches; brent: Brent's method "
      "on "
      "the last batch alone");
    v("candidates", &ShiftedSearchParams::candidates,
      "of the grid: equal steps of the bound or the half-width, up to the largest absolute value "
      "of "
      "the first batch and a half",
      in_range(1, 100000));
    v("shifts", &ShiftedSearchParams::shifts,
      "of an asymmetric range: how many steps of the grid it may be moved to either side; 0: a "
      "quarter of the codes. The published code takes 64, that of 8 bits, where --quant-dict gives "
      "a site other bits",
      in_range(0, 16384));
  }
};

// The space follows from the first batch, all scales together, as published.
class ShiftedSearchObserver : public Observer {
 public:
  ShiftedSearchObserver(const ShiftedSearchParams& params, const QuantSpec& spec)
      : params_(params), spec_(spec) {}

  void observe(const at::Tensor& rows) final;
  Range range() const final;
  void reset() final { space_.reset(); }

 protected:
  // The loss of ranges for the `values` of one scale, which lie in rows of `row` values: those of a
  // batch where there is one scale, else all of them. Several threads may call it at once.
  virtual kernels::RangeLoss loss_of(std::vector<float> values, size_t row,
                                     const kernels::AffineRule& rule) const = 0;

 private:
  void start(kernels::MinMax extremes, size_t scales);

  ShiftedSearchParams params_;
  QuantSpec spec_;
  std::optional<kernels::ShiftedSpace> space_;
  std::vector<kernels::MinMax> candidates_;
  std::vector<std::vector<double>> losses_;  // [scales][candidates], summed
  std::vector<kernels::MinMax> best_;        // [scales]
};

}  // namespace quell
