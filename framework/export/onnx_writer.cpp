#include "framework/export/onnx_writer.h"

#include <ATen/ops/round.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

struct TypeOfCodes {
  OnnxType type;
  int64_t bits;
  float low, high;
};
// From narrow to wide.
constexpr TypeOfCodes kTypesOfCodes[] = {
    {OnnxType::kInt4, 4, -8, 7},           {OnnxType::kUint4, 4, 0, 15},
    {OnnxType::kInt8, 8, -128, 127},       {OnnxType::kUint8, 8, 0, 255},
    {OnnxType::kInt16, 16, -32768, 32767}, {OnnxType::kUint16, 16, 0, 65535}};
constexpr int64_t kByte = 8;

// The narrowest type that holds the codes, of at least `least` bits.
const TypeOfCodes& type_of(kernels::Levels levels, int64_t least) {
  const auto* found = std::find_if(
      std::begin(kTypesOfCodes), std::end(kTypesOfCodes), [&](const TypeOfCodes& type) {
        return type.bits >= least && type.low <= levels.low && levels.high <= type.high &&
               (levels.low < 0) == (type.low < 0);
      });
  QUELL_ASSERT(found != std::end(kTypesOfCodes), "codes of at most 16 bits");
  return *found;
}

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Integers, as that type stores them.
std::string packed(const at::Tensor& integers, int64_t bits) {
  const at::Tensor all = integers.to(at::kInt).contiguous().view({-1});
  const int32_t* values = all.const_data_ptr<int32_t>();
  std::string bytes;
  for (int64_t i = 0; i < all.numel(); ++i) {
    if (bits == 2 * kByte) {
      append(bytes, static_cast<int16_t>(values[i]));
    } else if (bits == kByte) {
      bytes += static_cast<char>(values[i]);
    } else if (i % 2 == 0) {
      bytes += static_cast<char>(values[i] & 0xf);
    } else {
      bytes.back() = static_cast<char>(bytes.back() | (values[i] & 0xf) << 4);
    }
  }
  return bytes;
}

std::string bytes_of(const at::Tensor& floats) {
  const at::Tensor all = floats.detach().to(at::kFloat).contiguous();
  return {reinterpret_cast<const char*>(all.const_data_ptr()), all.nbytes()};
}

}  // namespace

GraphWriter::Value OnnxWriter::input(const std::string& name) {
  model_.add_input(name, OnnxType::kInt64, {"sequences", "tokens"});
  return name;
}

void OnnxWriter::output(const std::string& name, const Value& value,
                        const std::vector<std::string>& axes) {
  model_.add_operation("Identity", {value}, name, {});
  model_.add_output(name, OnnxType::kFloat, axes);
}

GraphWriter::Value OnnxWriter::constant_of(OnnxType type, const std::vector<int64_t>& shape,
                                           std::string_view bytes) {
  std::string key = fmt::format("{} ", fmt::join(shape, ","));
  key += bytes;
  const auto [entry, is_new] = constants_.try_emplace({type, std::move(key)});
  if (is_new) {
    entry->second = fmt::format("constant_{}", constants_.size());
    model_.add_constant(entry->second, type, shape, bytes);
  }
  return entry->second;
}

GraphWriter::Value OnnxWriter::named(SiteId site, const char* part, OnnxType type,
                                     const std::vector<int64_t>& shape, std::string_view bytes) {
  Value name = label(site) + part;
  model_.add_constant(name, type, shape, bytes);
  return name;
}

std::string OnnxWriter::label(SiteId id) const {
  const Site& site = points_.sites()[static_cast<size_t>(id)];
  return site.kind == SiteKind::kWeight ? site.name + ".weight" : site.name;
}

GraphWriter::Value OnnxWriter::constant(float value) {
  std::string bytes;
  append(bytes, value);
  return constant_of(OnnxType::kFloat, {}, bytes);
}

GraphWriter::Value OnnxWriter::integer(int64_t value) {
  std::string bytes;
  append(bytes, value);
  return constant_of(OnnxType::kInt64, {}, bytes);
}

GraphWriter::Value OnnxWriter::integers(const std::vector<int64_t>& values) {
  std::string bytes;
  for (const int64_t value : values) append(bytes, value);
  Value result = constant_of(OnnxType::kInt64, {std::ssize(values)}, bytes);
  features_[result] = values.back();  // where it is a shape
  return result;
}

GraphWriter::Value OnnxWriter::tensor(const at::Tensor& values) {
  if (!has_tensors_) return "";
  return constant_of(OnnxType::kFloat, values.sizes().vec(), bytes_of(values));
}

GraphWriter::Value OnnxWriter::operation(const std::string& name, const std::vector<Value>& inputs,
                                         const std::vector<Attribute>& attributes) {
  return operation_named(fmt::format("{}_{}", name, ++values_), name, inputs, attributes);
}

GraphWriter::Value OnnxWriter::operation_named(const Value& result, const std::string& name,
                                               const std::vector<Value>& inputs,
                                               const std::vector<Attribute>& attributes) {
  model_.add_operation(name, inputs, result, attributes);
  const auto known = features_.find(inputs[name == "Reshape" ? 1 : 0]);
  if (known != features_.end() && name != "MatMul" && name != "Transpose") {
    features_[result] = known->second;
  }
  return result;
}

const SitePoint* OnnxWriter::quantizing(SiteId site) {
  const SitePoint* point = site == kNoSite ? nullptr : points_.point(site);
  if (point == nullptr) return nullptr;
  written_.insert(site);
  const std::string& key = points_.sites()[static_cast<size_t>(site)].key();
  if (point->spec.is_dynamic() || point->spec.granularity == Granularity::kGroup) {
    throw ConfigError(
        fmt::format("{}: granularity {}: ONNX's QuantizeLinear has one scale, or one for each "
                    "feature; use tensor, channel or feature_groups, or `--format quell`",
                    key, granularity_text(point->spec)));
  }
  return point;
}

OnnxWriter::StoredGrid OnnxWriter::grid(SiteId site, const QuantParameters& parameters,
                                        const at::Tensor& scale, const at::Tensor& zero_point,
                                        bool may_be_narrow) {
  const TypeOfCodes& type = type_of(parameters.levels, may_be_narrow ? kByte / 2 : kByte);
  const at::Tensor whole = at::round(zero_point);
  if (!whole.equal(zero_point) || whole.lt(type.low).any().item<bool>() ||
      whole.gt(type.high).any().item<bool>()) {
    throw Error(fmt::format(
        "{}: its quantizer ({}) has a zero point of {}, and ONNX's are integers from "
        "{:g} to {:g}; use another quantizer for it, or `--format quell`",
        points_.sites()[static_cast<size_t>(site)].key(), points_.point(site)->quantizer_name,
        zero_point.select(0, 0).item<double>(), type.low, type.high));
  }
  needs_narrow_types_ = needs_narrow_types_ || type.bits != kByte;
  std::vector<int64_t> shape;
  if (scale.numel() > 1) shape = {scale.numel()};
  return {named(site, ".scale", OnnxType::kFloat, shape, bytes_of(scale)),
          named(site, ".zero_point", type.type, shape, packed(whole, type.bits)), type.type,
          type.bits};
}

OnnxWriter::StoredCodes OnnxWriter::codes(SiteId site, const at::Tensor& values, bool transposed) {
  const SitePoint& point = *points_.point(site);
  const IntegerCodes found = point.quantizer->codes(values.detach());
  const ScaleMap map =
      ScaleMap::of_parameters(point.spec, values.sizes(), found.parameters.scale.numel());
  const at::Tensor scale = map.expand(found.parameters.scale);
  StoredCodes result{.grid = grid(site, found.parameters, scale,
                                  map.expand(found.parameters.zero_point), /*may_be_narrow=*/true),
                     .axis = -1};
  if (map.channels() > 1) result.axis = (map.outer() == 1) == transposed ? 1 : 0;
  const at::Tensor stored = transposed ? found.codes.t() : found.codes;
  result.codes =
      constant_of(result.grid.type, stored.sizes().vec(), packed(stored, result.grid.bits));
  return result;
}

GraphWriter::Value OnnxWriter::dequantized(const Value& codes, const StoredGrid& grid,
                                           int64_t axis) {
  std::vector<Attribute> attributes;
  if (axis >= 0) attributes.push_back({"axis", axis});
  return operation("DequantizeLinear", {codes, grid.scale, grid.zero_point}, attributes);
}

GraphWriter::Value OnnxWriter::weight(SiteId site, const at::Tensor& values, bool transposed) {
  const bool quantizes = quantizing(site) != nullptr;
  if (!has_tensors_) return "";
  if (!quantizes) return tensor(transposed ? values.t() : values);
  const StoredCodes stored = codes(site, values, transposed);
  return dequantized(stored.codes, stored.grid, stored.axis);
}

// A single scale allows codes to be gathered, and only what is read to be multiplied.
GraphWriter::Value OnnxWriter::embedding(const EmbeddingTable& table, const Value& ids) {
  const bool quantizes = quantizing(table.weight_site) != nullptr;
  if (!has_tensors_) return "";
  Value result;
  if (quantizes) {
    const StoredCodes stored = codes(table.weight_site, table.weight, /*transposed=*/false);
    result = stored.axis < 0
                 ? dequantized(operation("Gather", {stored.codes, ids}), stored.grid, stored.axis)
                 : operation("Gather", {dequantized(stored.codes, stored.grid, stored.axis), ids});
  } else {
    result = operation("Gather", {tensor(table.weight), ids});
  }
  features_[result] = table.weight.size(1);
  return result;
}

GraphWriter::Value OnnxWriter::linear(const Linear& linear, const Value& rows) {
  const Value product =
      operation("MatMul", {rows, weight(linear.weight_site, linear.weight, /*transposed=*/true)});
  if (has_tensors_) features_[product] = linear.weight.size(0);
  return linear.bias.defined() ? operation("Add", {product, tensor(linear.bias)}) : product;
}

GraphWriter::Value OnnxWriter::norm(const Norm& norm, const Value& rows) {
  const Value gamma = weight(norm.weight_site, norm.weight, /*transposed=*/false);
  Value result;
  if (norm.kind == NormKind::kLayer) {
    std::vector<Value> inputs = {rows, gamma};
    if (norm.bias.defined()) inputs.push_back(tensor(norm.bias));
    result =
        operation("LayerNormalization", inputs, {{"axis", int64_t{-1}}, {"epsilon", norm.epsilon}});
  } else if (norm.kind == NormKind::kNone) {
    result = operation("Mul", {rows, gamma});
    if (norm.bias.defined()) result = operation("Add", {result, tensor(norm.bias)});
  } else {
    refuse_graph("a norm by the mean of squares");
  }
  return activation(norm.output_site, result);
}

GraphWriter::Value OnnxWriter::activation(SiteId site, const Value& rows) {
  const SitePoint* point = quantizing(site);
  if (point == nullptr || !has_tensors_) return rows;
  const QuantParameters parameters = point->quantizer->parameters();
  return parameters.scale.numel() == 1 ? on_grid(site, parameters, rows)
                                       : on_grids_of_features(site, parameters, rows);
}

// Codes of other widths than those of types are cut off in front, at the values of the outermost
// codes, which a division brings back to those codes.
GraphWriter::Value OnnxWriter::on_grid(SiteId site, const QuantParameters& parameters,
                                       const Value& rows) {
  const StoredGrid stored =
      grid(site, parameters, parameters.scale, parameters.zero_point, /*may_be_narrow=*/false);
  const auto outermost = [&](float code) {
    return tensor(parameters.zero_point.neg().add(code).mul(parameters.scale).squeeze());
  };
  const TypeOfCodes& type = type_of(parameters.levels, kByte);
  Value cut = rows;
  if (type.low < parameters.levels.low) {
    cut = operation("Max", {cut, outermost(parameters.levels.low)});
  }
  if (parameters.levels.high < type.high) {
    cut = operation("Min", {cut, outermost(parameters.levels.high)});
  }
  const Value codes = operation_named(label(site) + ".codes", "QuantizeLinear",
                                      {cut, stored.scale, stored.zero_point}, {});
  return operation_named(label(site), "DequantizeLinear", {codes, stored.scale, stored.zero_point},
                         {});
}

// With scales per feature, which ONNX has but runtimes cannot multiply: float operations.
GraphWriter::Value OnnxWriter::on_grids_of_features(SiteId site, const QuantParameters& parameters,
                                                    const Value& rows) {
  const ScaleMap map = ScaleMap::of_parameters(points_.point(site)->spec, {1, features_.at(rows)},
                                               parameters.scale.numel());
  const auto per_feature = [&](const at::Tensor& values) {
    return tensor(map.expand(values).repeat_interleave(map.inner()));
  };
  const Value scale = per_feature(parameters.scale),
              zero_point = per_feature(parameters.zero_point);
  Value codes = operation("Round", {operation("Div", {rows, scale})});
  codes = operation("Add", {codes, zero_point});
  codes = operation("Max", {codes, constant(parameters.levels.low)});
  codes = operation("Min", {codes, constant(parameters.levels.high)});
  return operation_named(label(site), "Mul", {operation("Sub", {codes, zero_point}), scale}, {});
}

std::string OnnxWriter::bytes() const {
  constexpr int64_t kOpset = 20, kOpsetOfNarrowTypes = 21;
  for (size_t id = 0; id < points_.sites().size(); ++id) {
    const auto site = static_cast<SiteId>(id);
    if (points_.point(site) == nullptr || written_.contains(site)) continue;
    throw Error(
        fmt::format("{}: quantizes, and has no place in the graph", points_.sites()[id].key()));
  }
  return model_.bytes(needs_narrow_types_ ? kOpsetOfNarrowTypes : kOpset, "quell");
}

}  // namespace quell
