// What is known of each site of a model that is to be quantized: how, by whom, with which range.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/quant/observer.h"
#include "framework/quant/quantizer.h"
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

struct SitePoint {
  QuantSpec spec;
  DuringCalibration during_calibration = DuringCalibration::kObserve;
  std::unique_ptr<Observer> observer;
  std::unique_ptr<Quantizer> quantizer;
  Range range;  // what was observed; undefined where parameters were given
  std::string observer_name;
  std::string observer_settings;  // name and parameters as YAML
  std::string quantizer_name;
  bool calibrated = false;  // the quantizer has parameters (always, for a dynamic granularity)

  // Make observer and quantizer anew, as the rules say, for another specification.
  std::function<std::unique_ptr<Observer>(const QuantSpec&)> make_observer;
  std::function<std::unique_ptr<Quantizer>(const QuantSpec&)> make_quantizer;
};

class SitePoints {
 public:
  explicit SitePoints(std::span<const Site> sites);

  const std::vector<Site>& sites() const { return sites_; }
  // Null where the site is not to be quantized.
  SitePoint* point(SiteId id) const { return points_[static_cast<size_t>(id)].get(); }
  void set_point(SiteId id, std::unique_ptr<SitePoint> point);

  // Gives a site of granularity feature_groups other groups; null: those of neighbours. As many as
  // before, or ConfigError. What was known of its range is forgotten.
  void set_feature_groups(SiteId id, std::shared_ptr<const FeatureGroups> groups);

  // The sites to be quantized of one kind, or of those that are wanted, also of a block alone.
  // Throws Error where one has no parameters yet.
  SiteSet calibrated(SiteKind kind) const;
  SiteSet calibrated(bool weights, bool activations, SiteRange scope = {}) const;

  // The weight on its grid, computed once and kept until weight_changed(). While gradients are
  // recorded for the weight or its quantizer it is quantized anew and not kept. Several threads may
  // call it at once.
  at::Tensor quantized_weight(SiteId id, const at::Tensor& weight) const;
  // Forgets the kept one after its parameters or its float values changed, or to free its memory.
  void weight_changed(SiteId id);
  // An object that lives until then.
  std::weak_ptr<const void> weight_stamp(SiteId id) const;

 private:
  struct KeptWeight {
    std::mutex mutex;
    at::Tensor tensor;
    std::shared_ptr<const void> stamp = std::make_shared<char>();
  };

  std::vector<Site> sites_;
  std::vector<std::unique_ptr<SitePoint>> points_;
  mutable std::deque<KeptWeight> kept_weights_;
};

}  // namespace quell
