#include "framework/model/execution.h"

#include <mutex>

#include "framework/model/state_store.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

void for_each_batch(size_t batches, BatchOrder order, const std::function<void(int64_t)>& run) {
  const auto count = static_cast<int64_t>(batches);
  if (order == BatchOrder::kAtOnce) return for_each_dynamically(count, run);
  for (int64_t i = 0; i < count; ++i) run(i);
}

class Whole final : public Execution {
 public:
  explicit Whole(const Model& model) : model_(model) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count) override {
    std::mutex mutex;
    int64_t done = 0;
    for_each_batch(batches.size(), order, [&](int64_t i) {
      const auto batch = static_cast<size_t>(i);
      const Outputs outputs = model_.forward(batches[batch], *pass(batch));
      const std::lock_guard lock(mutex);
      if (sink) sink(batch, outputs);
      if (count) count(++done, std::ssize(batches));
    });
  }

  void for_each_segment(const std::function<void(const Segment&)>& work) override {
    for (const Segment& segment : model_.segments()) work(segment);
  }

  bool keeps_changes() const override { return true; }

 private:
  const Model& model_;
};

class BySegment final : public Execution {
 public:
  BySegment(const Model& model, Residency& residency, std::filesystem::path folder)
      : model_(model), residency_(residency), folder_(std::move(folder)) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count) override {
    std::vector<ModelInput> inputs;
    for (const Batch& batch : batches) inputs.push_back(model_.bind(batch));
    const auto states =
        folder_.empty() ? states_in_memory(inputs.size()) : states_on_disk(inputs.size(), folder_);
    const int64_t total = std::ssize(inputs) * std::ssize(model_.segments());
    std::mutex mutex;
    int64_t done = 0;
    for (size_t index = 0; index < model_.segments().size(); ++index) {
      const Segment& segment = model_.segments()[index];
      const Residency::Lease lease = residency_.acquire(index);
      const bool is_last = index + 1 == model_.segments().size();
      for_each_batch(inputs.size(), order, [&](int64_t i) {
        const auto batch = static_cast<size_t>(i);
        State state = states->take(batch);
        segment.run(state, inputs[batch], *pass(batch));
        const Outputs outputs = std::move(state.outputs);
        if (!is_last) states->put(batch, std::move(state));
        const std::lock_guard lock(mutex);
        if (is_last && sink) sink(batch, outputs);
        if (count) count(++done, total);
      });
    }
  }

  void for_each_segment(const std::function<void(const Segment&)>& work) override {
    for (size_t index = 0; index < model_.segments().size(); ++index) {
      const Residency::Lease lease = residency_.acquire(index);
      work(model_.segments()[index]);
    }
  }

  bool keeps_changes() const override { return false; }

 private:
  const Model& model_;
  Residency& residency_;
  std::filesystem::path folder_;
};

}  // namespace

std::unique_ptr<Execution> execute_whole(const Model& model) {
  return std::make_unique<Whole>(model);
}

std::unique_ptr<Execution> execute_by_segment(const Model& model, Residency& residency,
                                              std::filesystem::path folder) {
  return std::make_unique<BySegment>(model, residency, std::move(folder));
}

}  // namespace quell
