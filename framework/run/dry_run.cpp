#include "framework/run/dry_run.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <algorithm>
#include <chrono>
#include <mutex>

#include "framework/run/model_size.h"

namespace quell {
namespace {

// Multiply-add operations per second of a product of the size that a layer has.
double measured_flops() {
  constexpr int64_t kRows = 512, kInner = 384, kColumns = 1536;
  constexpr int kRepeats = 10;
  const at::Tensor left = at::ones({kRows, kInner}), right = at::ones({kInner, kColumns});
  at::mm(left, right);  // the first call sets up the library
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRepeats; ++i) at::mm(left, right);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return 2.0 * kRows * kInner * kColumns * kRepeats / elapsed.count();
}

// Elements of the linears' weights (each is used once per token), and of their widest output.
struct LinearSize {
  double elements = 0;
  double widest = 0;
};

LinearSize linear_size(const Model& model) {
  LinearSize size;
  for (size_t id = 0; id < model.sites().size(); ++id) {
    const Site& site = model.sites()[id];
    if (site.kind != SiteKind::kWeight || site.role == "embedding" || site.layer < 0) continue;
    const auto& shape = model.weight_shape(static_cast<SiteId>(id));
    if (shape.size() != 2) continue;
    size.elements += static_cast<double>(shape[0]) * static_cast<double>(shape[1]);
    size.widest = std::max(size.widest, static_cast<double>(shape[0]));
  }
  return size;
}

}  // namespace

DryRun dry_run(const Bench& bench) {
  // Query, key, value, attention output, two norms and sums are alive beside the widest rows.
  constexpr double kRowsAlive = 3.0, kFloatBytes = 4.0, kFlopsPerWeight = 2.0;
  DryRun result;
  int64_t largest_batch = 0;
  const auto count = [&](const Batch& batch, int64_t& tokens) {
    tokens += batch.tokens();
    largest_batch = std::max(largest_batch, batch.tokens());
  };
  std::mutex counting;
  const auto count_evaluation = [&](const Batch& batch) {
    const std::lock_guard<std::mutex> lock(counting);
    count(batch, result.evaluation_tokens);
    result.evaluation_sequences += batch.sequences();
  };
  Predictor predictor{[&](const Batch& batch) -> Outputs {
    count_evaluation(batch);
    return bench.model->zero_outputs(batch);
  }};
  // Texts of full length: what writing costs at most.
  predictor.generate = [&](const Batch& batch, const GenerationOptions& options) {
    count_evaluation(batch);
    const int64_t token = std::max<int64_t>(options.decoder_start_token_id, 0);
    const GeneratedSequence longest{std::vector<int64_t>(options.max_length, token), 0};
    return std::vector<GeneratedSequence>(batch.sequences() * options.num_return_sequences,
                                          longest);
  };
  bench.task->evaluate(predictor, [](int64_t, int64_t) {});
  const ExperimentSpec& spec = bench.spec;
  if (!spec.pipeline.empty()) {
    for (const Batch& batch : bench.task->calibration(spec.calibration, spec.seed)) {
      count(batch, result.calibration_tokens);
      ++result.calibration_batches;
    }
  }
  const LinearSize linear = linear_size(*bench.model);
  const auto passes = static_cast<double>(spec.stages.size());
  const double tokens = passes * static_cast<double>(result.evaluation_tokens) +
                        static_cast<double>(result.calibration_tokens);
  result.forward_flops = kFlopsPerWeight * linear.elements * tokens;
  result.seconds = result.forward_flops / measured_flops();
  const ModelSize size = model_size(*bench.model, bench.plan);
  result.memory_bytes = 2 * size.float_bytes + kRowsAlive * kFloatBytes * linear.widest *
                                                   static_cast<double>(largest_batch);
  return result;
}

}  // namespace quell
