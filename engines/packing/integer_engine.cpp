#include "engines/packing/integer_engine.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/base/error.h"
#include "framework/kernels/dispatch.h"
#include "framework/kernels/integer_attention.h"
#include "framework/model/packed_attention.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

constexpr const char* kNoCode = "a value is NaN, which has no integer code";

// Zero points that the kernels take.
bool are_small_integers(const at::Tensor& zero_point) {
  constexpr float kMost = 256;
  const float* values = zero_point.const_data_ptr<float>();
  return std::all_of(values, values + zero_point.numel(), [](float value) {
    return value == std::floor(value) && std::abs(value) <= kMost;
  });
}

int32_t most_of(kernels::Levels levels) { return static_cast<int32_t>(levels.high - levels.low); }

// A grid with one scale, its codes counted from the lowest one.
QuantParameters from_lowest(const SitePoint& grid) {
  const QuantParameters of = grid.quantizer->parameters();
  return {of.scale, of.zero_point.sub(of.levels.low), {0, of.levels.high - of.levels.low}};
}

// Room for codes of it.
std::shared_ptr<IntegerCodes> codes_on(const SitePoint& grid, int64_t rows, int64_t features) {
  return std::make_shared<IntegerCodes>(
      IntegerCodes{at::empty({rows, features}, at::kByte), from_lowest(grid)});
}

kernels::OutputGrid output_grid(const QuantParameters& of) {
  return {of.scale.const_data_ptr<float>()[0], of.zero_point.const_data_ptr<float>()[0],
          of.levels.high};
}

// Rows whose codes and, where they are wanted, values a kernel writes.
struct Written {
  Rows rows;
  kernels::IntegerOutput output;

  // On `grid`, unless it is null. `values`: whether they are wanted; without a grid they are.
  Written(const SitePoint* grid, bool values, int64_t count, int64_t features) {
    std::shared_ptr<IntegerCodes> codes;
    if (grid != nullptr) {
      codes = codes_on(*grid, count, features);
      output.codes = codes->codes.mutable_data_ptr<uint8_t>();
      output.grid = output_grid(codes->parameters);
    }
    if (values || grid == nullptr) {
      rows = {at::empty({count, features}, at::kFloat), grid, std::move(codes)};
      output.y = rows.values.mutable_data_ptr<float>();
    } else {
      rows = rows_of_codes(grid, std::move(codes));
    }
  }
};

// The same codes counted from the lowest one, uint8.
IntegerCodes from_lowest(IntegerCodes codes) {
  QuantParameters& of = codes.parameters;
  if (of.levels.low == 0 && codes.codes.scalar_type() == at::kByte) return codes;
  codes.codes = codes.codes.to(at::kShort).sub_(static_cast<int64_t>(of.levels.low)).to(at::kByte);
  of.zero_point = of.zero_point.sub(of.levels.low);
  of.levels = {0, of.levels.high - of.levels.low};
  return codes;
}

}  // namespace

std::string IntegerEngine::problem(const QuantSpec& spec) const {
  constexpr int64_t kMostBits = 8;
  if (spec.bits > kMostBits) {
    return fmt::format("{} bits, and codes of at most {} are multiplied", spec.bits, kMostBits);
  }
  const bool by_row = spec.is_weight ? spec.granularity == Granularity::kChannel && spec.axis == 0
                                     : spec.granularity == Granularity::kToken;
  if (spec.granularity == Granularity::kTensor || by_row) return "";
  return fmt::format("a scale per {}, and sums are over all inputs", granularity_text(spec));
}

Rows IntegerEngine::quantize(const SitePoint& point, const at::Tensor& rows, bool in_place) const {
  Quantizer& quantizer = *point.quantizer;
  const QuantParameters given = quantizer.parameters();
  const bool is_dynamic = point.spec.is_dynamic();
  if (!problem(point.spec).empty() || (!is_dynamic && !are_small_integers(given.zero_point))) {
    return PackedEngine::quantize(point, rows, in_place);
  }
  const bool follows_range = quantizer.learnable().empty();
  if (is_dynamic || !follows_range || given.scale.numel() != 1) {
    auto codes = std::make_shared<IntegerCodes>(from_lowest(quantizer.codes(rows)));
    return {quantizer.apply(rows, in_place), &point, std::move(codes)};
  }
  const at::Tensor dense = rows.contiguous();
  at::Tensor values = in_place ? dense : at::empty(dense.sizes(), dense.options());
  auto codes = codes_on(point, dense.size(0), dense.size(1));
  const QuantParameters& of = codes->parameters;
  const bool complete = kernels::quantize_codes_tensor(
      kernel_device(dense), dense.const_data_ptr<float>(),
      {codes->codes.mutable_data_ptr(), kernels::CodeType::kUint8}, dense.numel(),
      of.scale.const_data_ptr<float>(), of.zero_point.const_data_ptr<float>(), of.levels,
      values.mutable_data_ptr<float>());
  if (!complete) throw DataError(kNoCode);
  return {values, &point, std::move(codes)};
}

auto IntegerEngine::packed(const Weight& weight, int32_t most) const
    -> std::shared_ptr<const PackedCodes> {
  return packed_.get(weight.stored(), weight.parameters_stamp(), most, [&] {
    auto result = std::make_shared<PackedCodes>();
    const IntegerCodes codes = weight.codes();
    const QuantParameters& of = codes.parameters;
    const int64_t outputs = codes.codes.size(0), inputs = codes.codes.size(1);
    if (!are_small_integers(of.zero_point)) {
      result->problem = "the weight has zero points that are no small integers";
    } else if (inputs > kernels::IntegerWeight::kMostInputs) {
      result->problem = fmt::format("{} inputs, and sums of {} fit into 32 bits", inputs,
                                    kernels::IntegerWeight::kMostInputs);
    }
    if (!result->problem.empty()) return std::shared_ptr<const PackedCodes>(result);
    const auto centre = static_cast<int64_t>(std::floor((of.levels.low + of.levels.high + 1) / 2));
    const at::Tensor centred = codes.codes.to(at::kShort).sub_(centre).to(at::kChar).contiguous();
    const at::Tensor scale = of.scale.expand({outputs}).contiguous();
    const at::Tensor zero_point =
        of.zero_point.sub(centre).to(at::kInt).expand({outputs}).contiguous();
    const kernels::IntegerMatrix matrix{centred.const_data_ptr<int8_t>(), outputs, inputs,
                                        scale.const_data_ptr<float>(),
                                        zero_point.const_data_ptr<int32_t>()};
    constexpr auto kStorage = kernels::CodeStorage::kFewestBits;
    if (route_) {
      result->weight.emplace(matrix, most, *route_, kStorage);
    } else {
      result->weight.emplace(matrix, most, kStorage);
    }
    return std::shared_ptr<const PackedCodes>(result);
  });
}

bool IntegerEngine::keep(const at::Tensor& weight, const at::Tensor& instead) const {
  return packed_.move(weight, instead,
                      [](const PackedCodes& made) { return made.weight.has_value(); });
}

bool IntegerEngine::keep_table(const Weight& table, const at::Tensor& instead) const {
  if (table.grid() == nullptr || !problem(table.grid()->spec).empty()) return false;
  tables_.get(instead, {}, 0,
              [&] { return std::make_shared<CodedTable>(CodedTable{table.codes()}); });
  return true;
}

at::Tensor IntegerEngine::rows_of_table(const at::Tensor& instead, const at::Tensor& ids) const {
  const std::shared_ptr<const CodedTable> table = tables_.known(instead);
  if (table == nullptr) return {};
  const QuantParameters& of = table->codes.parameters;
  const auto of_rows = [&](const at::Tensor& one) {
    return one.numel() == 1 ? one : at::index_select(one, 0, ids).unsqueeze(1);
  };
  const at::Tensor rows = at::index_select(table->codes.codes, 0, ids).to(at::kFloat);
  return rows.sub(of_rows(of.zero_point)).mul_(of_rows(of.scale));
}

std::string IntegerEngine::refusal(const Product& of) const {
  const SitePoint *rows = of.rows.grid, *weight = of.weight.grid();
  if (weight == nullptr) return "the weight is float";
  if (std::string found = problem(weight->spec); !found.empty()) return "the weight has " + found;
  if (rows == nullptr) return "its input is float";
  if (std::string found = problem(rows->spec); !found.empty()) return "its input has " + found;
  if (of.rows.codes == nullptr) return "its input has no codes any more";
  return packed(of.weight, most_of(of.rows.codes->parameters.levels))->problem;
}

std::string IntegerEngine::refusal(const AttentionSpans& spans, const Rows& query, const Rows& key,
                                   const Rows& value, const AttentionGrids& grids) const {
  const std::pair<const Rows*, const char*> operands[] = {
      {&query, "queries"}, {&key, "keys"}, {&value, "values"}};
  for (const auto& [rows, name] : operands) {
    if (rows->grid == nullptr) return fmt::format("its {} are float", name);
    if (std::string found = problem(rows->grid->spec); !found.empty()) {
      return fmt::format("its {} have {}", name, found);
    }
    if (rows->codes == nullptr) return fmt::format("its {} have no codes any more", name);
    if (rows->codes->parameters.scale.numel() != 1) {
      return fmt::format("its {} have a scale per token", name);
    }
  }
  if (grids.probs == nullptr) return "its probabilities are float";
  if (!quantizes_along(grids.probs))
    return "the zero point of its probabilities is no small integer";
  for (const int64_t keys : spans.valid_keys) {
    if (keys > kernels::IntegerWeight::kMostInputs) {
      return fmt::format("{} keys, and sums of {} fit into 32 bits", keys,
                         kernels::IntegerWeight::kMostInputs);
    }
  }
  return "";
}

void IntegerEngine::note(const std::string& name, const std::string& refusal) const {
  const std::lock_guard lock(noting_);
  if (!refusal.empty()) {
    in_float_[name] = refusal;
  } else if (!in_float_.empty()) {
    in_float_.erase(name);
  }
}

std::vector<std::string> IntegerEngine::notes() const {
  const std::lock_guard lock(noting_);
  std::map<std::string, std::string> by_reason;
  for (const auto& [name, reason] : in_float_) {
    std::string& names = by_reason[reason];
    names += (names.empty() ? "" : ", ") + name;
  }
  std::vector<std::string> notes;
  for (const auto& [reason, names] : by_reason) {
    notes.push_back(fmt::format("engine {}: in float, since {}: {}", name_, reason, names));
  }
  return notes;
}

bool IntegerEngine::quantizes_along(const SitePoint* grid) const {
  if (grid == nullptr || grid->spec.is_dynamic() || !problem(grid->spec).empty()) return false;
  const QuantParameters of = grid->quantizer->parameters();
  return grid->quantizer->learnable().empty() && of.scale.numel() == 1 &&
         are_small_integers(of.zero_point);
}

bool IntegerEngine::attends_on(const AttentionGrids& grids) const {
  const auto suits = [&](const SitePoint* grid) {
    return grid == nullptr || quantizes_along(grid);
  };
  return suits(grids.scores) && suits(grids.probs);
}

Rows IntegerEngine::in_integers(const Product& of, const kernels::IntegerWeight& weight) const {
  const IntegerCodes& codes = *of.rows.codes;
  const at::Tensor dense = codes.codes.contiguous();
  const int64_t rows = dense.size(0);
  const kernels::IntegerRows x{
      dense.const_data_ptr<uint8_t>(), rows, codes.parameters.scale.const_data_ptr<float>(),
      codes.parameters.zero_point.const_data_ptr<float>(), codes.parameters.scale.numel() > 1};
  const kernels::IntegerEpilogue epilogue{
      of.bias.defined() ? of.bias.const_data_ptr<float>() : nullptr, of.activation};
  const bool along = quantizes_along(of.grid);
  Written made(along ? of.grid : nullptr, !of.codes_suffice, rows, weight.outputs());
  kernels::integer_product(x, weight, epilogue, made.output, parallel_for);
  if (along || of.grid == nullptr) return made.rows;
  return quantize(*of.grid, made.rows.values, /*in_place=*/true);
}

Rows IntegerEngine::in_integers(const AttentionSpans& spans, const AttentionShape& shape,
                                const Rows& query, const Rows& key, const Rows& value,
                                const AttentionGrids& grids) const {
  const at::Tensor codes[] = {query.codes->codes.contiguous(), key.codes->codes.contiguous(),
                              value.codes->codes.contiguous()};
  const auto heads_of = [&](const Rows& rows, const at::Tensor& dense) {
    const kernels::OutputGrid grid = output_grid(rows.codes->parameters);
    return kernels::HeadCodes{dense.const_data_ptr<uint8_t>(), dense.size(1), grid.scale,
                              grid.zero_point};
  };
  kernels::IntegerAttentionOperands operands{
      .query = heads_of(query, codes[0]),
      .key = heads_of(key, codes[1]),
      .value = heads_of(value, codes[2]),
      .heads = shape.heads,
      .key_heads = shape.key_heads,
      .head_size = codes[0].size(1) / shape.heads,
      .factor = static_cast<float>(1 / shape.divisor),
      .slopes = shape.slopes.empty() ? nullptr : shape.slopes.data(),
      .causal = spans.causal,
      .scores = matrix_grid(grids.scores),
      .probs = output_grid(from_lowest(*grids.probs))};
  const bool along = quantizes_along(grids.context);
  Written made(along ? grids.context : nullptr, !grids.codes_suffice, codes[0].size(0),
               codes[0].size(1));
  if (!kernels::integer_attention(operands, attention_sequences(spans), made.output,
                                  parallel_for)) {
    throw DataError(kNoCode);
  }
  if (along || grids.context == nullptr) return made.rows;
  return quantize(*grids.context, made.rows.values, /*in_place=*/true);
}

Rows IntegerEngine::attention(const AttentionSpans& spans, const AttentionShape& shape,
                              const Rows& query, const Rows& key, const Rows& value,
                              const AttentionGrids& grids) const {
  const std::string reason = route_ ? "" : refusal(spans, query, key, value, grids);
  const bool any = query.grid || key.grid || value.grid || grids.probs;
  if (any && grids.site != nullptr) note(grids.site->key(), reason);
  if (reason.empty() && !route_) return in_integers(spans, shape, query, key, value, grids);
  return PackedEngine::attention(spans, shape, with_values(query), with_values(key),
                                 with_values(value), grids);
}

Rows IntegerEngine::linear(const Product& of) const {
  const std::string reason = refusal(of);
  if (of.weight.grid() != nullptr) note(of.weight.name(), reason);
  if (!reason.empty()) {
    const Rows rows = with_values(of.rows);
    return PackedEngine::linear({rows, of.weight, of.bias, of.activation, of.grid});
  }
  return in_integers(of, *packed(of.weight, most_of(of.rows.codes->parameters.levels))->weight);
}

}  // namespace quell
