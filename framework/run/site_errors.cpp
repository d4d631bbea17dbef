#include "framework/run/site_errors.h"

#include <cmath>
#include <limits>

#include "framework/base/error.h"

namespace quell {
namespace {

// Sums over pairs of values (reference x, changed y).
struct Sums {
  double xx = 0, yy = 0, xy = 0, noise = 0;

  void add(const at::Tensor& reference, const at::Tensor& changed) {
    QUELL_ASSERT(reference.numel() == changed.numel(), "the same site has the same shape");
    const float* x = reference.const_data_ptr<float>();
    const float* y = changed.const_data_ptr<float>();
    for (int64_t i = 0; i < reference.numel(); ++i) {
      const double a = x[i], b = y[i];
      xx += a * a;
      yy += b * b;
      xy += a * b;
      noise += (b - a) * (b - a);
    }
  }
  double sqnr_db() const {
    if (noise == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(xx / noise);
  }
  double cosine() const { return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : (xx == yy ? 1 : 0); }
};

// Not where all steps of the pipeline were transforms.
bool any_calibrated(const SitePoints& points) {
  for (size_t id = 0; id < points.sites().size(); ++id) {
    const SitePoint* point = points.point(static_cast<SiteId>(id));
    if (point != nullptr && point->calibrated) return true;
  }
  return false;
}

}  // namespace

std::map<SiteId, SiteError> site_errors(PipelineContext& context, std::span<const Batch> batches) {
  SitePoints& points = context.points;
  if (!any_calibrated(points)) return {};
  std::map<SiteId, Sums> own, network;
  std::map<SiteId, at::Tensor> reference;
  const Pass in_float(points, {.tap = [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
                        SitePoint* point = points.point(id);
                        if (point == nullptr) return;
                        reference[id] = before.clone(at::MemoryFormat::Contiguous);
                        own[id].add(reference[id], point->quantizer->apply(reference[id],
                                                                           /*in_place=*/false));
                      }});
  const Pass quantized(points, {.quantize = points.calibrated(true, true),
                                .tap = [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
                                  if (reference.count(id) == 0) return;
                                  network[id].add(reference[id], after.contiguous());
                                }});
  std::vector<ModelInput> inputs;
  for (const Batch& batch : batches) inputs.push_back(context.model.bind(batch));
  std::vector<State> float_states(batches.size()), quantized_states(batches.size());
  int64_t done = 0;
  const int64_t total = std::ssize(inputs) * std::ssize(context.model.segments());
  context.execution->for_each_segment([&](const Segment& segment) {
    for (size_t i = 0; i < batches.size(); ++i) {
      reference.clear();
      segment.run(float_states[i], inputs[i], in_float);
      segment.run(quantized_states[i], inputs[i], quantized);
      context.log.progress("site errors", ++done, total);
    }
  });
  std::map<SiteId, SiteError> errors;
  for (const auto& [id, sums] : own) {
    errors[id] = {sums.sqnr_db(), network[id].sqnr_db(), network[id].cosine()};
  }
  return errors;
}

std::map<SiteId, double> weight_errors(PipelineContext& context) {
  std::map<SiteId, double> errors;
  if (!any_calibrated(context.points)) return errors;
  context.execution->for_each_segment([&](const Segment& segment) {
    for (const ModelTensor& tensor : segment.tensors) {
      const SitePoint* point = tensor.site == kNoSite ? nullptr : context.points.point(tensor.site);
      if (point == nullptr || !point->calibrated) continue;
      const at::Tensor& weight = *tensor.place;
      errors[tensor.site] =
          weight_sqnr_db(weight, point->quantizer->apply(weight, /*in_place=*/false));
    }
  });
  return errors;
}

double weight_sqnr_db(const at::Tensor& weight, const at::Tensor& quantized) {
  Sums sums;
  sums.add(weight.contiguous(), quantized.contiguous());
  return sums.sqnr_db();
}

}  // namespace quell
