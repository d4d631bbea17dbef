// The engine of integer codes against the simulation, and both against sums in double precision.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <cmath>
#include <limits>
#include <map>

#include "framework/model/weight_keeper.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

std::string rules(int weight_bits, int bits, const std::string& more = "") {
  return "{include: placements/outlier_suppression.yaml, rules: ["
         "{sites: 'weight:*', bits: " +
         std::to_string(weight_bits) +
         ", symmetric: true, granularity: channel, observer: minmax}, "
         "{sites: 'activation:*', bits: " +
         std::to_string(bits) + ", observer: avg_minmax}" + more + "]}";
}

// The tiny golden BERT, calibrated.
struct Calibrated {
  const at::NoGradGuard no_gradients;
  const std::filesystem::path folder = test_data() / "parity/outlier_suppression";
  QuantizedNetwork network;
  std::vector<Batch> batches;
  std::unique_ptr<const Engine> engine = make_engine("integer");

  explicit Calibrated(const std::string& quant) : network(folder, quant) {
    batches = read_batches(folder / "inputs.safetensors", {"b0.input_ids", "b1.input_ids"});
    network.calibrate(batches);
  }

  Pass pass(const Engine* by, Tap tap = {}, InputTap inputs = {}) {
    SitePoints& points = network.points();
    return Pass(points, {.quantize = points.calibrated(true, true),
                         .tap = std::move(tap),
                         .inputs = std::move(inputs),
                         .engine = by});
  }
  at::Tensor logits(const Engine* by, Tap tap = {}) {
    return network.model().forward(batches[0], pass(by, std::move(tap))).at("logits");
  }
};

double largest(const at::Tensor& values) { return values.abs().max().item<double>(); }

// What a linear gives, from the very same rows and weight.
struct Results {
  at::Tensor simulated, integer;  // float32
  at::Tensor exact;               // float64
  at::Tensor sizes;               // sums of |x w|, float64
};

Results compute(const Calibrated& run, SitePoints& points, const Linear& linear,
                const Rows& input) {
  const Weight weight(linear.weight, points, linear.weight_site);
  const Rows rows = run.engine->quantize(*input.grid, input.values, /*in_place=*/false);
  EXPECT_TRUE(rows.values.equal(input.values)) << "values on a grid stay";
  Results result;
  result.simulated = Engine().linear({.rows = input, .weight = weight, .bias = linear.bias}).values;
  result.integer = run.engine->linear({.rows = rows, .weight = weight, .bias = linear.bias}).values;
  const auto value = [](const IntegerCodes& of, bool by_row) {
    const auto shaped = [&](const at::Tensor& one) {
      return by_row && one.numel() > 1 ? one.to(at::kDouble).unsqueeze(1) : one.to(at::kDouble);
    };
    return of.codes.to(at::kDouble)
        .sub(shaped(of.parameters.zero_point))
        .mul(shaped(of.parameters.scale));
  };
  const at::Tensor x = value(*rows.codes, true), w = value(weight.codes(), true);
  result.exact = at::linear(x, w, linear.bias.to(at::kDouble));
  result.sizes = at::linear(x.abs(), w.abs(), linear.bias.abs().to(at::kDouble));
  return result;
}

// The integer engine rounds four times: the sum, its scale, their product, and the sum with the
// bias; each is off by half a unit in the last place of at most |y| + |bias|. The simulation also
// rounds in its sums. So where the two have different codes, the number in double precision lies
// that close to where codes change.
TEST(Integer, LinearsAreExactButForFourRoundings) {
  for (const auto& [weight_bits, bits] : {std::pair(8, 8), std::pair(6, 6), std::pair(4, 8)}) {
    Calibrated run(rules(weight_bits, bits));
    SitePoints& points = run.network.points();
    int64_t linears = 0;
    const auto compare = [&](const Operand& operand, const Rows& input) {
      const auto* linear = std::get_if<const Linear*>(&operand);
      if (linear == nullptr || input.grid == nullptr) return;
      ++linears;
      const Results of = compute(run, points, **linear, input);
      const double unit = std::ldexp(1.0, -24);
      const at::Tensor exact = of.exact.abs().add((*linear)->bias.abs());
      EXPECT_LE(largest((of.integer - of.exact) / exact), 4.01 * unit);
      // The simulation: each product once, and sums of so many terms.
      const double terms = static_cast<double>(input.values.size(1) + 6);
      EXPECT_LE(largest((of.simulated - of.exact) / of.sizes), terms * unit);
    };
    run.network.model().forward(run.batches[0], run.pass(nullptr, {}, compare));
    EXPECT_EQ(linears, 6 * 3 + 2) << "of each layer six, pooler and classifier";
  }
}

// Codes differ only where the numbers in front of them do by float32 roundings: a turned code is
// one away, and the float64 number is near the middle between the two.
TEST(Integer, CodesDifferFromTheSimulationByRoundingsAlone) {
  Calibrated run(rules(8, 8));
  std::map<SiteId, at::Tensor> simulated;
  run.logits(nullptr, [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
    simulated[id] = after.clone();
  });
  int64_t values = 0, turned = 0;
  run.logits(run.engine.get(), [&](SiteId id, const at::Tensor& before, const at::Tensor& after) {
    const SitePoint* point = run.network.points().point(id);
    if (point == nullptr || after.sizes() != simulated.at(id).sizes()) return;
    const double scale = point->quantizer->parameters().scale.item<double>();
    const at::Tensor steps = (after - simulated.at(id)).div(scale).round();
    EXPECT_LE(largest(steps), 1) << run.network.model().sites()[id].key();
    values += steps.numel();
    turned += steps.ne(0).sum().item<int64_t>();
    static_cast<void>(before);
  });
  EXPECT_GT(values, 10000);
  EXPECT_LE(turned, values / 1000) << "of " << values;
}

// Whether or not results are quantized with the product that makes them.
TEST(Integer, FusedOperationsHaveTheBitsOfSeparateOnes) {
  Calibrated run(rules(8, 8));
  SitePoints& points = run.network.points();
  int64_t linears = 0;
  const auto compare = [&](const Operand& operand, const Rows& input) {
    const auto* linear = std::get_if<const Linear*>(&operand);
    if (linear == nullptr || input.grid == nullptr) return;
    const Weight weight((*linear)->weight, points, (*linear)->weight_site);
    const Rows rows = run.engine->quantize(*input.grid, input.values, false);
    for (const auto activation : {kernels::Activation::kNone, kernels::Activation::kGelu}) {
      const Product product{
          .rows = rows, .weight = weight, .bias = (*linear)->bias, .activation = activation};
      Product quantized = product;
      quantized.grid = &run.network.point("activation:encoder.0.ffn.gelu");
      const Rows along = run.engine->linear(quantized);
      const Rows apart =
          run.engine->quantize(*quantized.grid, run.engine->linear(product).values, false);
      EXPECT_TRUE(along.values.equal(apart.values));
      EXPECT_TRUE(along.codes->codes.equal(apart.codes->codes));
    }
    ++linears;
  };
  run.network.model().forward(run.batches[0], run.pass(nullptr, {}, compare));
  EXPECT_GT(linears, 0);
}

// What attention of a layer is given, and where it writes.
struct AttentionOfLayer {
  AttentionSpans spans{{0, 1, 20, 24}, {0, 1, 20, 24}, {1, 17, 4}};
  AttentionShape shape{.heads = 4, .key_heads = 4, .divisor = 2};
  at::Tensor query = at::randn({24, 32}), key = at::randn({24, 32}), value = at::randn({24, 32});

  Rows attend(Calibrated& run, const Engine& by, bool codes_suffice = false) const {
    const auto point = [&](const char* part) -> const SitePoint& {
      return run.network.point(std::string("activation:encoder.0.attention.") + part);
    };
    const auto on_grid = [&](const at::Tensor& rows, const char* part) {
      return by.quantize(point(part), rows, /*in_place=*/false);
    };
    return by.attention(
        spans, shape, on_grid(query, "query"), on_grid(key, "key"), on_grid(value, "value"),
        {.probs = &point("probs"), .context = &point("context"), .codes_suffice = codes_suffice});
  }
};

// What the engine says behind a pass of a network of 8 bits with further rules.
std::vector<std::string> notes(const std::string& more) {
  Calibrated run(rules(8, 8, more));
  run.logits(run.engine.get());
  return run.engine->notes();
}

// By the same codes: float32 sums of products of values may turn one.
TEST(Integer, AttentionIsThatOfValuesButForRoundings) {
  Calibrated run(rules(8, 8));
  const auto packed = make_engine("packed");
  int64_t turned = 0, values = 0;
  for (int i = 0; i < 20; ++i) {
    const AttentionOfLayer layer;
    const Rows found = layer.attend(run, *run.engine), expected = layer.attend(run, *packed);
    ASSERT_NE(found.codes, nullptr);
    const float scale = found.codes->parameters.scale.item<float>();
    const at::Tensor steps = found.values.sub(expected.values).div(scale).round();
    EXPECT_LE(largest(steps), 1);
    turned += steps.count_nonzero().item<int64_t>();
    values += steps.numel();
    EXPECT_TRUE(with_values(layer.attend(run, *run.engine, true)).values.equal(found.values));
  }
  EXPECT_LE(turned, values / 1000) << "of " << values;
}

TEST(Integer, AttentionSaysWhyItIsComputedInFloat) {
  EXPECT_THAT(notes(", {sites: 'activation:encoder.0.attention.probs', quantize: false}"),
              Contains(HasSubstr("its probabilities are float: "
                                 "activation:encoder.0.attention.probs")));
  EXPECT_THAT(notes(", {sites: 'activation:encoder.0.attention.key', bits: 16}"),
              Contains(HasSubstr("its keys have 16 bits, and codes of at most 8 are multiplied: "
                                 "activation:encoder.0.attention.probs")));
  EXPECT_THAT(notes(", {sites: 'activation:encoder.0.attention.value', granularity: token}"),
              Contains(HasSubstr("its values have a scale per token")));
}

// Values are left out where codes suffice, and come back for those who want them.
TEST(Integer, LeavesOutValuesThatNothingReads) {
  Calibrated run(rules(8, 8));
  SitePoints& points = run.network.points();
  int64_t linears = 0;
  const auto compare = [&](const Operand& operand, const Rows& input) {
    const auto* linear = std::get_if<const Linear*>(&operand);
    if (linear == nullptr || input.grid == nullptr) return;
    const Weight weight((*linear)->weight, points, (*linear)->weight_site);
    const Rows rows = run.engine->quantize(*input.grid, input.values, false);
    const Product whole{.rows = rows,
                        .weight = weight,
                        .bias = (*linear)->bias,
                        .grid = &run.network.point("activation:encoder.0.ffn.gelu")};
    Product codes = whole;
    codes.codes_suffice = true;
    const Rows with = run.engine->linear(whole), without = run.engine->linear(codes);
    EXPECT_TRUE(without.values.isnan().all().item<bool>());
    EXPECT_EQ(without.values.sizes(), with.values.sizes());
    EXPECT_TRUE(without.codes->codes.equal(with.codes->codes));
    EXPECT_TRUE(with_values(without).values.equal(with.values));
    const at::Tensor last = at::tensor({with.values.size(0) - 1, int64_t{0}});
    EXPECT_TRUE(with_values(select_rows(without, last))
                    .values.equal(at::index_select(with.values, 0, last)));
    // A weight that is float takes values.
    const Weight in_float(at::randn({3, with.values.size(1)}));
    EXPECT_TRUE(run.engine->linear({.rows = without, .weight = in_float})
                    .values.equal(run.engine->linear({.rows = with, .weight = in_float}).values));
    ++linears;
  };
  run.network.model().forward(run.batches[0], run.pass(nullptr, {}, compare));
  EXPECT_GT(linears, 0);
}

TEST(Integer, NetworksAreCloseToTheSimulation) {
  for (const std::string& quant :
       {rules(8, 8), rules(6, 6), rules(8, 8, ", {sites: '*', symmetric: true}"),
        rules(8, 8, ", {sites: '*', symmetric: false}"),
        rules(8, 8, ", {sites: 'weight:*', granularity: tensor}"),
        rules(8, 8, ", {sites: 'activation:encoder.*.ffn.gelu', granularity: token}")}) {
    Calibrated run(quant);
    const at::Tensor simulated = run.logits(nullptr), found = run.logits(run.engine.get());
    // A turned code moves the logits of this network by some hundredths at most.
    EXPECT_LE(largest(found - simulated), 0.05) << quant;
    EXPECT_THAT(run.engine->notes(), IsEmpty()) << quant;
  }
}

// Rows do not depend on their company, so nor do predictions on batches.
TEST(Integer, RowsDoNotDependOnTheirCompany) {
  Calibrated run(rules(8, 8, ", {sites: 'activation:encoder.1.*', granularity: token}"));
  const Pass pass = run.pass(run.engine.get());
  std::vector<TokenSequence> all;
  for (const int64_t length : {3, 20, 1, 13}) {
    TokenSequence& one = all.emplace_back();
    for (int64_t i = 0; i < length; ++i) one.ids.push_back((7 * i + length) % 50);
    one.segment_ids.assign(one.ids.size(), 0);
  }
  const at::Tensor together = run.network.model().forward(pack(all), pass).at("logits");
  for (int64_t i = 0; i < std::ssize(all); ++i) {
    const Batch alone = pack(std::vector<TokenSequence>{all[i]});
    EXPECT_TRUE(equal_bits(run.network.model().forward(alone, pass).at("logits"),
                           together.narrow(0, i, 1).contiguous()))
        << "sequence " << i;
  }
}

TEST(Integer, SaysWhatItComputesInFloat) {
  EXPECT_THAT(notes(", {sites: 'weight:encoder.0.ffn.output', bits: 16}"),
              Contains(HasSubstr("since the weight has 16 bits, and codes of at most 8 are "
                                 "multiplied: weight:encoder.0.ffn.output")));
  EXPECT_THAT(notes(", {sites: 'activation:encoder.0.ffn.gelu', bits: 16}"),
              Contains(HasSubstr("its input has 16 bits")));
  EXPECT_THAT(notes(", {sites: 'activation:encoder.0.ffn.gelu', quantize: false}"),
              Contains(HasSubstr("its input is float: weight:encoder.0.ffn.output")));
  EXPECT_THAT(notes(", {sites: 'weight:encoder.1.ffn.output', granularity: channel, axis: 1}"),
              Contains(HasSubstr("weight:encoder.1.ffn.output")));
}

// What changes of a weight, or of its grid, changes what is computed.
TEST(Integer, SeesWhatBecomesOfAWeight) {
  Calibrated run(rules(8, 8));
  const at::Tensor before = run.logits(run.engine.get());
  const std::string name = "weight:encoder.0.ffn.output";
  SitePoints& points = run.network.points();
  const SiteId id = run.network.site(name);
  run.network.point(name).quantizer->set_parameters(
      {at::full({run.network.model().weight(id).size(0)}, 0.5f),
       at::zeros({run.network.model().weight(id).size(0)}),
       {-128, 127}});
  points.weight_changed(id);
  const at::Tensor after = run.logits(run.engine.get());
  EXPECT_GT(largest(after - before), 0);
  EXPECT_LE(largest(after - run.logits(nullptr)), 0.05);
  const int64_t bytes = run.engine->bytes();
  points.weight_changed(id);
  run.logits(run.engine.get());
  EXPECT_EQ(run.engine->bytes(), bytes) << "what belongs to an old grid is forgotten";
}

TEST(Integer, RefusesWhatHasNoCode) {
  Calibrated run(rules(8, 8));
  at::Tensor rows = at::ones({2, 4});
  rows[1][2] = NAN;
  EXPECT_THROW(
      run.engine->quantize(run.network.point("activation:encoder.0.ffn.gelu"), rows, false),
      DataError);
}

// Weights and tables that the engine holds may go: what stands for them is NaN, and nothing
// changes.
TEST(IntegerEngine, KeepsWeightsThatGo) {
  for (const int bits : {4, 6, 8}) {
    Calibrated run(rules(bits, 8));
    const auto* keeper = dynamic_cast<const WeightKeeper*>(run.engine.get());
    ASSERT_NE(keeper, nullptr);
    const at::Tensor expected = run.logits(run.engine.get());
    SitePoints& points = run.network.points();
    int linears = 0, tables = 0;
    for (const Segment& segment : run.network.model().segments()) {
      for (const ModelTensor& tensor : segment.tensors) {
        if (tensor.site == kNoSite) continue;
        const at::Tensor weight = *tensor.place;
        const at::Tensor instead =
            at::full({}, std::numeric_limits<float>::quiet_NaN()).expand(weight.sizes());
        EXPECT_FALSE(keeper->rows_of_table(weight, at::zeros({1}, at::kLong)).defined());
        const bool is_table = points.sites()[static_cast<size_t>(tensor.site)].role == "embedding";
        if (is_table ? !keeper->keep_table(Weight(weight, points, tensor.site), instead)
                     : !keeper->keep(weight, instead)) {
          continue;
        }
        *tensor.place = instead;
        if (is_table) points.weight_changed(tensor.site);
        ++(is_table ? tables : linears);
      }
    }
    EXPECT_GE(linears, 6 * 2) << "of two layers";
    EXPECT_EQ(tables, 3);
    EXPECT_TRUE(equal_bits(run.logits(run.engine.get()), expected)) << bits;
    EXPECT_FALSE(keeper->keep(at::zeros({3, 4}), at::zeros({3, 4}))) << "was never multiplied with";
  }
}

}  // namespace
}  // namespace quell
