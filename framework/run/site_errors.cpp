#include "framework/run/site_errors.h"

#include <ATen/ops/linear.h>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

// Sums over pairs of values (reference x, changed y).
struct Sums {
  double xx = 0, yy = 0, xy = 0, noise = 0;

  void add(const at::Tensor& reference, const at::Tensor& changed) {
    QUELL_ASSERT(reference.numel() == changed.numel(), "the same site has the same shape");
    constexpr const char* kPurpose = "errors of sites";
    const at::Tensor from = on_host(reference, kPurpose), to = on_host(changed, kPurpose);
    const float* x = from.const_data_ptr<float>();
    const float* y = to.const_data_ptr<float>();
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

// A linear, summed over batches.
struct LinearSums {
  Sums input, weight, output;
  int64_t inputs = 0;
  int64_t weight_bits = 0, input_bits = 0;

  // What enters it in float and on its grid.
  void add(const at::Tensor& float_rows, const at::Tensor& rows, const at::Tensor& float_weight,
           const at::Tensor& quantized_weight) {
    if (inputs == 0) weight.add(float_weight.contiguous(), quantized_weight.contiguous());
    inputs = float_weight.size(1);
    input.add(float_rows, rows.contiguous());
    output.add(at::linear(float_rows, float_weight), at::linear(rows, quantized_weight));
  }
  LinearError error() const;
};

double decibels(double ratio) { return 10 * std::log10(ratio); }
double ratio_of(double decibels) { return std::pow(10, decibels / 10); }
// Of values that lie anywhere between the codes of a grid as wide as they are spread.
double decibels_of_bits(int64_t bits) {
  return decibels(12 * std::pow(std::ldexp(1.0, static_cast<int>(bits)) - 1, 2));
}

LinearError LinearSums::error() const {
  LinearError error;
  error.input_sqnr_db = input.sqnr_db();
  error.input_concentration_db = input.sqnr_db() - decibels_of_bits(input_bits);
  error.weight_concentration_db = weight.sqnr_db() - decibels_of_bits(weight_bits);
  error.alignment_db = decibels(static_cast<double>(inputs) * output.xx / (weight.xx * input.xx));
  error.output_sqnr_db = output.sqnr_db();
  error.predicted_sqnr_db =
      error.alignment_db - decibels(ratio_of(-input.sqnr_db()) + ratio_of(-weight.sqnr_db()));
  return error;
}

// Not where all steps of the pipeline were transforms.
bool any_calibrated(const SitePoints& points) {
  for (size_t id = 0; id < points.sites().size(); ++id) {
    const SitePoint* point = points.point(static_cast<SiteId>(id));
    if (point != nullptr && point->calibrated) return true;
  }
  return false;
}

}  // namespace

SiteErrors site_errors(PipelineContext& context, std::span<const Batch> batches) {
  constexpr int64_t kMostRows = 256;  // of a linear and batch
  SitePoints& points = context.points;
  if (!any_calibrated(points)) return {};
  std::map<SiteId, Sums> own, network;
  std::map<SiteId, LinearSums> linears;
  std::map<SiteId, at::Tensor> reference, entered;
  const auto quantized_linear = [&](const Operand& operand) {
    const SiteId id = weight_site(operand);
    const bool is_linear = std::holds_alternative<const Linear*>(operand);
    return is_linear && id != kNoSite && points.point(id) != nullptr ? id : kNoSite;
  };
  const Pass in_float(
      points, {.tap =
                   [&](SiteId id, const at::Tensor& before, const at::Tensor&) {
                     SitePoint* point = points.point(id);
                     if (point == nullptr) return;
                     reference[id] = before.clone(at::MemoryFormat::Contiguous);
                     own[id].add(reference[id], point->quantizer->apply(reference[id],
                                                                        /*in_place=*/false));
                   },
               .inputs =
                   [&](const Operand& operand, const Rows& rows) {
                     const SiteId id = quantized_linear(operand);
                     if (id == kNoSite) return;
                     entered[id] =
                         rows.values.slice(0, 0, kMostRows).clone(at::MemoryFormat::Contiguous);
                   }});
  const Pass quantized(points,
                       {.quantize = points.calibrated(true, true),
                        .tap =
                            [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
                              if (reference.count(id) == 0) return;
                              network[id].add(reference[id], after.contiguous());
                            },
                        .inputs =
                            [&](const Operand& operand, const Rows& rows) {
                              const SiteId id = quantized_linear(operand);
                              if (id == kNoSite || rows.grid == nullptr) return;
                              LinearSums& sums = linears[id];
                              sums.weight_bits = points.point(id)->spec.bits;
                              sums.input_bits = rows.grid->spec.bits;
                              const at::Tensor& weight = context.model.weight(id);
                              sums.add(entered[id],
                                       rows.grid->quantizer->apply(entered[id], /*in_place=*/false),
                                       weight, points.quantized_weight(id, weight));
                            }});
  std::vector<ModelInput> inputs;
  for (const Batch& batch : batches) inputs.push_back(context.model.bind(batch));
  std::vector<State> float_states(batches.size()), quantized_states(batches.size());
  int64_t done = 0;
  const int64_t total = std::ssize(inputs) * std::ssize(context.model.segments());
  context.execution->for_each_segment([&](const Segment& segment) {
    for (size_t i = 0; i < batches.size(); ++i) {
      reference.clear();
      entered.clear();
      segment.run(float_states[i], inputs[i], in_float);
      segment.run(quantized_states[i], inputs[i], quantized);
      context.log.progress("site errors", ++done, total);
    }
  });
  SiteErrors errors;
  for (const auto& [id, sums] : own) {
    errors.activations[id] = {sums.sqnr_db(), network[id].sqnr_db(), network[id].cosine()};
  }
  for (const auto& [id, sums] : linears) errors.linears[id] = sums.error();
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
