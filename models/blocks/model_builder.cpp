#include "models/blocks/model_builder.h"

#include <fmt/format.h>

namespace quell {
namespace {

// What a shift makes of a module without bias. Hugging Face would not read a "bias" there, so that
// a checkpoint which has one is another model.
constexpr const char* kAddedBias = ".added_bias";

}  // namespace

SiteId ModelBuilder::declare(SiteKind kind, RowsOf rows, const std::string& name,
                             const std::string& role, const std::string& alias, int64_t heads,
                             RowsOf columns) {
  Site site;
  site.kind = kind;
  site.role = role;
  site.layer = scope_.layer;
  site.heads = heads;
  site.rows = rows;
  site.columns = columns;
  const bool in_layer = scope_.layer >= 0;
  site.name = in_layer ? fmt::format("{}.{}.{}", scope_.stack, scope_.layer, name) : name;
  site.alias =
      in_layer && scope_.layer == scope_.layers - 1 ? scope_.stack + ".last." + name : alias;
  return add_(std::move(site));
}

SiteId ModelBuilder::activation(const std::string& name, const std::string& role,
                                const std::string& alias) {
  return activation_of(scope_.rows, name, role, alias);
}

SiteId ModelBuilder::activation_of(RowsOf rows, const std::string& name, const std::string& role,
                                   const std::string& alias) {
  return declare(SiteKind::kActivation, rows, name, role, alias);
}

SiteId ModelBuilder::attention_matrix(const std::string& name, const std::string& role,
                                      int64_t heads, RowsOf keys) {
  return declare(SiteKind::kActivation, scope_.rows, name, role, "", heads, keys);
}

SiteId ModelBuilder::weight(at::Tensor& place, const std::string& name, const std::string& role,
                            ExpectedTensor stored) {
  const SiteId id = declare(SiteKind::kWeight, scope_.rows, name, role, "");
  scope_.segment->tensors.push_back({std::move(stored), &place, id});
  return id;
}

void ModelBuilder::tensor(at::Tensor& place, ExpectedTensor stored) {
  scope_.segment->tensors.push_back({std::move(stored), &place});
}

void ModelBuilder::unread(Linear& linear, const std::string& module,
                          std::vector<int64_t> weight_shape) {
  const std::vector<int64_t> bias_shape = {weight_shape.at(0)};
  tensor(linear.weight, {module + ".weight", std::move(weight_shape), /*optional=*/true});
  tensor(linear.bias, {module + ".bias", bias_shape, /*optional=*/true});
}

void ModelBuilder::linear(Linear& linear, const std::string& name, const std::string& role,
                          const StoredLinear& stored, int64_t outputs, int64_t inputs,
                          bool has_bias, const std::string& tied_to) {
  const auto expected = [&](const std::string& ending, std::vector<int64_t> shape) {
    ExpectedTensor result{stored.module + ending, std::move(shape)};
    result.part = stored.part;
    if (!stored.part.of.empty()) result.part.of += ending;
    return result;
  };
  ExpectedTensor matrix = expected(".weight", {outputs, inputs});
  matrix.tied_to = tied_to;
  linear.weight_site = weight(linear.weight, name, role, std::move(matrix));
  ExpectedTensor bias = expected(has_bias ? ".bias" : kAddedBias, {outputs});
  bias.part.transposed = false;
  bias.optional = !has_bias;
  tensor(linear.bias, std::move(bias));
}

void ModelBuilder::table(EmbeddingTable& table, const std::string& name, ExpectedTensor stored) {
  table.weight_site = weight(table.weight, name, "embedding", std::move(stored));
}

void ModelBuilder::norm(Norm& norm, const std::string& name, const std::string& module,
                        int64_t features) {
  norm.weight_site = weight(norm.weight, name, "norm", {module + ".weight", {features}});
  const bool has_bias = norm.kind != NormKind::kRms;
  tensor(norm.bias, {module + (has_bias ? ".bias" : kAddedBias), {features}, !has_bias});
  norm.output_site = activation(name, "norm");
}

}  // namespace quell
