#include "transforms/thresholds/reader_weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <algorithm>

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

at::Tensor stacked(const std::vector<at::Tensor>& parts, const at::Tensor& order) {
  const at::Tensor all = at::cat(parts);
  return order.defined() ? all.index_select(0, order) : all;
}

}  // namespace

ReaderWeights::ReaderWeights(const ScaleGroup& group, const Model& model, const SitePoints& points,
                             LossForm form)
    : stacked_(form == LossForm::kPublished) {
  const auto spec_of = [&](const Linear* reader) {
    const SitePoint* point = points.point(reader->weight_site);
    return point == nullptr ? nullptr : &point->spec;
  };
  std::vector<at::Tensor> weights, biases;
  for (Linear* reader : group.readers) {
    saved_.push_back({reader, reader->weight, reader->bias});
    weights.push_back(reader->weight);
    if (reader->bias.defined()) biases.push_back(reader->bias);
    if (!stacked_) matrices_.push_back({reader->weight, spec_of(reader)});
  }
  if (!stacked_) return;
  const at::Tensor order = order_in_file(group, model);
  matrices_ = {{stacked(weights, order), spec_of(group.readers.at(0))}};
  if (biases.size() != weights.size()) return;
  const at::Tensor bias = stacked(biases, order);
  int64_t first = 0;
  for (const Saved& saved : saved_) {
    const int64_t rows = saved.weight.size(0);
    saved.linear->bias = bias.narrow(0, first, rows);
    first += rows;
  }
}

ReaderWeights::~ReaderWeights() {
  for (const Saved& saved : saved_) {
    saved.linear->weight = saved.weight;
    saved.linear->bias = saved.bias;
  }
}

void ReaderWeights::use(const std::vector<at::Tensor>& values) {
  int64_t first = 0;
  for (size_t i = 0; i < saved_.size(); ++i) {
    const int64_t rows = saved_[i].weight.size(0);
    saved_[i].linear->weight = stacked_ ? values[0].narrow(0, first, rows) : values[i];
    first += rows;
  }
}

}  // namespace quell
