// An iteration of AdaRound against the two products of its linear.
//
//   taskset -c 0 build/tests/adaround_benchmark
//
// 4 bits, 16 sequences of 128 tokens in each iteration of `loss: batches`, one thread. The products
// are what no implementation on batches can do without: outputs, and the gradient by the weight.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <cstdio>

#include "framework/base/draw.h"
#include "framework/base/instruction_sets.h"
#include "framework/model/activation_function.h"
#include "solvers/adaround/rounding_optimizer.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"

namespace quell {
namespace {

constexpr int64_t kSequences = 16, kTokens = 128, kRows = kSequences * kTokens;

struct Load {
  const char* name;
  RoundingLoss loss;
  bool gelu;
};

void measure(int64_t inputs, int64_t outputs, const Load& load) {
  at::manual_seed(1);
  Linear linear{at::randn({outputs, inputs}).mul_(0.05), at::randn({outputs})};
  if (load.gelu) {
    linear.nonlinearity = ActivationFunction{kernels::Activation::kGelu,
                                             [](at::Tensor rows) { return at::gelu(rows); }};
  }
  QuantSpec spec;
  spec.bits = 4;
  spec.symmetric = true;
  spec.is_weight = true;
  AdaRoundOptions options;
  options.loss = load.loss;
  options.warmup = 0;  // the regularizer takes part from the first iteration
  RowMemory memory(int64_t{1} << 30, std::filesystem::temp_directory_path());
  const auto reconstruction = make_reconstruction(
      &linear, options,
      [](int64_t iteration) {
        return draw_without_replacement(2 * kSequences, kSequences,
                                        static_cast<uint64_t>(iteration));
      },
      memory);
  for (int part = 0; part < 2; ++part) {
    OperationInputs rows;
    rows.original = at::randn({kRows, inputs});
    rows.quantized = rows.original.add(at::randn({kRows, inputs}), 0.05);
    for (int64_t i = 0; i <= kSequences; ++i) rows.begins.push_back(i * kTokens);
    reconstruction->add(rows);
  }
  SoftWeight weight(linear.weight, parameters_from_range(min_max(linear.weight, spec), spec), spec,
                    options.relaxation, options.beta_start);
  RoundingOptimizer optimizer(options, *reconstruction, weight);
  const at::Tensor x = at::randn({kRows, inputs}), errors = at::randn({kRows, outputs});
  at::Tensor y = at::empty({kRows, outputs}), gradient = at::empty({outputs, inputs});
  const benchmarks::PairedRatio pair =
      benchmarks::measure([&] { optimizer.step(); },
                          [&] {
                            at::mm_out(y, x, linear.weight.t());
                            at::mm_out(gradient, errors.t(), x);
                          },
                          {.least_rounds = 15, .most_rounds = 61, .seconds = 2});
  fmt::print("{:>6} {:>7}  {:<14} {:>10.1f} {:>10.1f}   {:.2f} ({:.2f} to {:.2f})\n", inputs,
             outputs, load.name, 1e3 * pair.own_s, 1e3 * pair.baseline_s, 1 / pair.ratio,
             1 / pair.high, 1 / pair.low);
  std::fflush(stdout);
}

int run() {
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  fmt::print("load average {:.2f}\n{:>6} {:>7}  {:<14} {:>10} {:>10}   {}\n",
             benchmarks::load_average(), "inputs", "outputs", "loss", "own [ms]", "products",
             "own / products (95 % interval)");
  for (const auto& [inputs, outputs] : {std::pair<int64_t, int64_t>{384, 1536}, {1536, 384}}) {
    for (const Load& load : {Load{"moments", RoundingLoss::kMoments, false},
                             Load{"batches", RoundingLoss::kBatches, false},
                             Load{"batches, GELU", RoundingLoss::kBatches, true}}) {
      measure(inputs, outputs, load);
    }
  }
  return 0;
}

}  // namespace
}  // namespace quell

int main() {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([] { return quell::run(); });
}
