#include "framework/model/execution.h"

#include <algorithm>
#include <mutex>

#include "framework/base/error.h"
#include "framework/model/walk_progress.h"
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
  Whole(const Model& model, int64_t device_bytes) : Execution(device_bytes), model_(model) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count, const Resumable&) override {
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

  void for_each_segment(const std::function<void(const Segment&)>& work,
                        SegmentRange range) override {
    const size_t end = std::min(range.end, model_.segments().size());
    for (size_t index = range.first; index < end; ++index) work(model_.segments()[index]);
  }

 private:
  const Model& model_;
};

class BySegment final : public Execution {
 public:
  BySegment(const Model& model, Residency& residency, const SitePoints& points,
            std::filesystem::path folder, int64_t device_bytes)
      : Execution(device_bytes),
        model_(model),
        residency_(residency),
        points_(points),
        folder_(std::move(folder)) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count, const Resumable& resumable) override {
    std::vector<ModelInput> inputs;
    for (const Batch& batch : batches) inputs.push_back(model_.bind(batch));
    const auto states = first_states(inputs.size());
    WalkProgress walk(
        resumable.progress == nullptr ? StepProgress() : resumable.progress->part(resumable.pass),
        points_, model_.device());
    walk.take_states(*states, inputs.size());
    if (walk.next() > 0 && resumable.take) resumable.take(walk.collected());
    const size_t left = model_.segments().size() - walk.next();
    const auto total = static_cast<int64_t>(inputs.size() * left);
    std::mutex mutex;
    int64_t done = 0;
    for (size_t index = walk.next(); index < model_.segments().size(); ++index) {
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
      // What the last one gives is not kept: it is run again.
      if (is_last || !walk.due()) continue;
      walk.save(index + 1, *states, inputs.size(),
                resumable.collected ? resumable.collected(index + 1) : NamedTensors());
    }
  }

  void for_each_segment(const std::function<void(const Segment&)>& work,
                        SegmentRange range) override {
    const size_t end = std::min(range.end, model_.segments().size());
    for (size_t index = range.first; index < end; ++index) {
      const Residency::Lease lease = residency_.acquire(index);
      work(model_.segments()[index]);
    }
  }

  std::unique_ptr<StateStore> first_states(size_t batches) const override {
    return folder_.empty() ? Execution::first_states(batches) : states_on_disk(batches, folder_);
  }

 private:
  const Model& model_;
  Residency& residency_;
  const SitePoints& points_;
  std::filesystem::path folder_;
};

class OneSegment final : public Execution {
 public:
  OneSegment(const Segment& segment, std::span<const ModelInput> inputs, StateStore& states)
      : segment_(segment), inputs_(inputs), states_(states) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count, const Resumable&) override {
    QUELL_ASSERT(batches.size() == inputs_.size(), "a block runs on the batches it was made for");
    std::mutex mutex;
    int64_t done = 0;
    for_each_batch(inputs_.size(), order, [&](int64_t i) {
      const auto batch = static_cast<size_t>(i);
      State state = states_.get(batch);
      segment_.run(state, inputs_[batch], *pass(batch));
      const std::lock_guard lock(mutex);
      if (sink && !state.outputs.empty()) sink(batch, state.outputs);
      if (count) count(++done, std::ssize(inputs_));
    });
  }

  void for_each_segment(const std::function<void(const Segment&)>& work, SegmentRange) override {
    work(segment_);
  }

  std::unique_ptr<StateStore> first_states(size_t batches) const override {
    auto states = states_in_memory(batches);
    for (size_t batch = 0; batch < batches; ++batch) states->put(batch, states_.get(batch));
    return states;
  }

 private:
  const Segment& segment_;
  std::span<const ModelInput> inputs_;
  StateStore& states_;
};

}  // namespace

std::unique_ptr<Execution> execute_whole(const Model& model, int64_t device_bytes) {
  return std::make_unique<Whole>(model, device_bytes);
}

std::unique_ptr<Execution> execute_segment(const Segment& segment,
                                           std::span<const ModelInput> inputs, StateStore& states) {
  return std::make_unique<OneSegment>(segment, inputs, states);
}

std::unique_ptr<Execution> execute_by_segment(const Model& model, Residency& residency,
                                              const SitePoints& points,
                                              std::filesystem::path folder, int64_t device_bytes) {
  return std::make_unique<BySegment>(model, residency, points, std::move(folder), device_bytes);
}

}  // namespace quell
