// QuantContext: what a model calls while it runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/quant/dropout.h"
#include "framework/quant/observer.h"
#include "framework/quant/quantizer.h"
#include "framework/quant/real_rows.h"
#include "framework/quant/site.h"

namespace quell {

// Whether a site already quantizes while its range is observed.
enum class DuringCalibration {
  kObserve,             // ranges of the float network (Outlier Suppression)
  kObserveAndQuantize,  // each site estimates, then quantizes (OS+, Qualcomm)
};

template <>
struct EnumNames<DuringCalibration> {
  static constexpr std::pair<const char*, DuringCalibration> values[] = {
      {"observe", DuringCalibration::kObserve},
      {"observe_and_quantize", DuringCalibration::kObserveAndQuantize}};
};

// What happens at one site. `observe` and `quantize` are switched independently of each other.
struct QuantPoint {
  QuantSpec spec;
  DuringCalibration during_calibration = DuringCalibration::kObserve;
  std::unique_ptr<Observer> observer;
  std::unique_ptr<Quantizer> quantizer;
  Range range;  // what was observed; undefined where parameters were given
  std::string observer_name;
  std::string observer_settings;  // name and parameters as YAML
  std::string quantizer_name;
  bool observe = false;
  bool quantize = false;
  bool calibrated = false;  // the quantizer has parameters (always, for a dynamic granularity)
};

// Sees the rows [n, features] of a site before and after quantization.
using Tap = std::function<void(SiteId, const at::Tensor& before, const at::Tensor& after)>;

// How a tap sees attention matrices: as rows of equal widths, or the compact blocks of one sequence
// after another, [elements, 1], which saves copies; see AttentionLayout.
enum class TapMatrices { kRows, kCompact };

class QuantContext {
 public:
  explicit QuantContext(std::span<const Site> sites);

  const std::vector<Site>& sites() const { return sites_; }
  // Null where the site is not to be quantized.
  QuantPoint* point(SiteId id) { return points_[id].get(); }
  const QuantPoint* point(SiteId id) const { return points_[id].get(); }
  void set_point(SiteId id, std::unique_ptr<QuantPoint> point);

  // Switches quantization of all calibrated points of one kind.
  void set_quantize(SiteKind kind, bool on);
  void set_observe(SiteKind kind, bool on);
  // Called at every activation site while set; empty to remove.
  void set_tap(Tap tap, TapMatrices matrices = TapMatrices::kRows) {
    tap_ = std::move(tap);
    tap_matrices_ = matrices;
  }
  // Drops activations until it is removed with a null; must live until then.
  void set_dropout(Dropout* dropout) { dropout_ = dropout; }
  // Observers see these rows only, of every batch that follows; nothing: all rows.
  void set_observed_rows(std::optional<RealRows> rows) { observed_rows_ = std::move(rows); }
  // Forgets the cached quantized weight after its parameters or its float values changed.
  void weight_changed(SiteId id) { quantized_weights_[id] = at::Tensor(); }

  // Observes and quantizes what is switched on at an activation site. Overwrites `rows` where that
  // is possible, so the caller must not need them afterwards.
  at::Tensor activation(SiteId id, at::Tensor rows);
  // The weight as the model has to use it: the cached quantized one, or `weight` itself. While
  // gradients are recorded for the weight or its quantizer, it is quantized anew and not kept.
  at::Tensor weight(SiteId id, const at::Tensor& weight);

  // Called by a model where it is trained with dropout; returns `rows` where there is none.
  at::Tensor dropout(DropoutPlace place, at::Tensor rows) {
    return dropout_ == nullptr ? rows : dropout_->apply(place, rows);
  }

  // Whether anything is switched on at the site.
  bool active(SiteId id) const;
  // Whether the site must be given all of its rows: something looks at them, or their scales depend
  // on the row. Otherwise quantization is elementwise, and rows that nothing reads may be left out.
  bool needs_rows(SiteId id) const;
  // Whether a matrix of attention must come as rows of equal widths.
  bool needs_equal_widths(SiteId id) const;

 private:
  std::vector<Site> sites_;
  std::vector<std::unique_ptr<QuantPoint>> points_;
  std::vector<at::Tensor> quantized_weights_;
  Tap tap_;
  TapMatrices tap_matrices_ = TapMatrices::kRows;
  Dropout* dropout_ = nullptr;
  std::optional<RealRows> observed_rows_;
};

}  // namespace quell
