#include "transforms/thresholds/reader_weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <algorithm>

#include "framework/quant/device.h"
#include "transforms/scaling/groups.h"

namespace quell {
namespace {

const StoredPart* part_of(const Model& model, SiteId weight) {
  for (const Segment& segment : model.segments()) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.site == weight) return &tensor.stored.part;
    }
  }
  return nullptr;
}

// Of each row of the file's matrix its place among the readers' rows, one reader after another;
// undefined where they are no parts of one, or lie so in the file.
at::Tensor order_in_file(const ScaleGroup& group, const Model& model) {
  const StoredPart* first = part_of(model, group.readers.at(0)->weight_site);
  if (first == nullptr || first->of.empty() || first->groups == 1) return {};
  std::vector<int64_t> order;
  int64_t before = 0;  // rows of earlier readers
  for (const Linear* reader : group.readers) {
    const StoredPart* part = part_of(model, reader->weight_site);
    if (part == nullptr || part->of != first->of) return {};
    const int64_t rows = reader->weight.size(0), own = rows / part->groups;
    order.resize(static_cast<size_t>(part->groups * part->group_rows));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t place = row / own * part->group_rows + part->first + row % own;
      order[static_cast<size_t>(place)] = before + row;
    }
    before += rows;
  }
  return before == std::ssize(order) ? at::tensor(order, at::kLong) : at::Tensor();
}

const QuantSpec* spec_of(SiteId site, const SitePoints& points) {
  const SitePoint* point = points.point(site);
  return point == nullptr ? nullptr : &point->spec;
}

at::Tensor stacked(const std::vector<at::Tensor>& parts, const at::Tensor& order) {
  const at::Tensor all = at::cat(parts);
  return order.defined() ? all.index_select(0, order) : all;
}

}  // namespace

ReaderWeights::ReaderWeights(const ScaleGroup& group, const Model& model, const SitePoints& points,
                             LossForm form) {
  const QuantSpec* rows = spec_of(group.site, points);
  const auto part_of_matrix = [&](const at::Tensor& values, const at::Tensor& matrix,
                                  const QuantSpec* spec) {
    parts_.push_back(
        {values, spec, feature_extremes(matrix), multiplies_codes(rows, spec, values.size(1))});
  };
  std::vector<at::Tensor> weights, biases;
  for (Linear* reader : group.readers) {
    saved_.push_back({reader, reader->bias});
    const at::Tensor weight = on_host(reader->weight, "threshold searches");
    weights.push_back(weight);
    if (reader->bias.defined()) biases.push_back(reader->bias);
    if (form == LossForm::kOwn) {
      part_of_matrix(weight, weight, spec_of(reader->weight_site, points));
    }
  }
  if (form == LossForm::kOwn) return;
  const at::Tensor order = order_in_file(group, model);
  const at::Tensor matrix = stacked(weights, order);
  const bool with_biases = biases.size() == weights.size();
  const at::Tensor bias = with_biases ? stacked(biases, order) : at::Tensor();
  int64_t first = 0;
  for (const Saved& saved : saved_) {
    const int64_t outputs = saved.linear->weight.size(0);
    part_of_matrix(matrix.narrow(0, first, outputs), matrix,
                   spec_of(group.readers.at(0)->weight_site, points));
    if (with_biases) saved.linear->bias = bias.narrow(0, first, outputs);
    first += outputs;
  }
}

ReaderWeights::~ReaderWeights() {
  for (const Saved& saved : saved_) saved.linear->bias = saved.bias;
}

QuantizedWeight ReaderWeights::Part::quantized(const at::Tensor& scale, int64_t first,
                                               int64_t end) const {
  return {values.slice(0, first, end), scale, spec, features, as_codes};
}

bool ReaderWeights::Part::divides() const {
  return spec == nullptr || spec->grid != kernels::Grid::kQualcomm || !spec->symmetric;
}

}  // namespace quell
