// Steps on a model of which one segment is in memory at a time: the same bits as with all of it,
// also where the run is stopped in between and goes on.
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <chrono>
#include <memory>

#include "framework/model/residency.h"
#include "framework/solve/stored_records.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kRules =
    "{rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 6, grid: os_plus}]}";
constexpr const char* kExperiment = "name: test\n";

struct Stopped {};

// Stops in front of a segment, as a signal would; counts those that it ran.
class Stopping final : public Execution {
 public:
  Stopping(std::shared_ptr<Execution> inner, int64_t most)
      : inner_(std::move(inner)), most_(most) {}

  void run(std::span<const Batch> batches, const PassOfBatch& pass, BatchOrder order,
           const OutputSink& sink, const CountRuns& count, const Resumable& resumable) override {
    const auto counted = [&](size_t batch) {
      if (batch == 0) enter();
      return pass(batch);
    };
    inner_->run(batches, counted, order, sink, count, resumable);
  }
  void for_each_segment(const std::function<void(const Segment&)>& work,
                        SegmentRange range) override {
    inner_->for_each_segment(
        [&](const Segment& segment) {
          enter();
          work(segment);
        },
        range);
  }
  std::unique_ptr<StateStore> first_states(size_t batches) const override {
    return inner_->first_states(batches);
  }
  int64_t entered() const { return entered_; }

 private:
  void enter() {
    if (++entered_ > most_) throw Stopped();
  }

  std::shared_ptr<Execution> inner_;
  int64_t most_, entered_ = 0;
};

constexpr int64_t kAll = 1 << 20;

// A network, with all of it in memory or with one segment.
class Network : public QuantizedNetwork {
 public:
  Network(const fs::path& folder, bool whole)
      : QuantizedNetwork(folder, kRules),
        checkpoint_(folder),
        tensors_(model().match(checkpoint_)),
        rewrites_(std::make_shared<Rewrites>(model(), points())) {
    if (whole) {
      execution_ = execute_whole(model());
      return;
    }
    residency_ = one_at_a_time(model(), tensors_, points(), *rewrites_);
    for (size_t i = 0; i < model().segments().size(); ++i) residency_->acquire(i);  // and releases
    execution_ = execute_by_segment(model(), *residency_, points(), {});
  }

  // Runs a step, which stops where it has entered so many segments; how many it entered.
  int64_t run(const std::string& step, const std::string& params, const std::vector<Batch>& batches,
              const fs::path& progress = {}, int64_t most = kAll) {
    const at::NoGradGuard no_gradients;
    Log log(Verbosity::kQuiet);
    const auto stopping = std::make_shared<Stopping>(execution_, most);
    PipelineContext context{model(), points(), batches, log, stopping, rewrites_};
    if (!progress.empty()) {
      context.progress = StepProgress(progress, kExperiment, std::chrono::milliseconds(0));
    }
    std::unique_ptr<Step> made;
    if (const auto* entry = all_plugins().transforms.find(step)) {
      made = entry->create(read_params(*entry, params).get());
    } else {
      const auto& solver = all_plugins().solvers.get(step);
      made = solver.create(read_params(solver, params).get());
    }
    made->run(context);
    records = std::move(context.records);
    return stopping->entered();
  }

  void expect_equal(Network& other) {
    int64_t compared = 0;
    for (size_t i = 0; i < model().segments().size(); ++i) {
      const auto lease = residency_ ? residency_->acquire(i) : nullptr;
      const auto other_lease = other.residency_ ? other.residency_->acquire(i) : nullptr;
      const auto &own = model().segments()[i].tensors,
                 &others = other.model().segments()[i].tensors;
      for (size_t tensor = 0; tensor < own.size(); ++tensor) {
        const at::Tensor &a = *own[tensor].place, &b = *others[tensor].place;
        ASSERT_EQ(a.defined(), b.defined()) << own[tensor].stored.name;
        if (!a.defined()) continue;
        EXPECT_TRUE(equal_bits(a, b)) << own[tensor].stored.name;
        ++compared;
      }
    }
    EXPECT_GT(compared, 10);
    for (size_t id = 0; id < model().sites().size(); ++id) {
      const SitePoint &a = *points().point(id), &b = *other.points().point(id);
      ASSERT_EQ(a.calibrated, b.calibrated) << model().sites()[id].key();
      if (!a.calibrated) continue;
      EXPECT_TRUE(equal_bits(a.range.min, b.range.min)) << model().sites()[id].key();
      EXPECT_TRUE(equal_bits(a.quantizer->parameters().scale, b.quantizer->parameters().scale));
    }
    const NamedTensors own = pack_records(records), others = pack_records(other.records);
    ASSERT_EQ(own.size(), others.size());
    for (const auto& [name, tensor] : own) EXPECT_TRUE(tensor.equal(others.at(name))) << name;
  }

  std::vector<Record> records;

 private:
  Checkpoint checkpoint_;
  MatchedTensors tensors_;
  std::shared_ptr<Rewrites> rewrites_;
  std::unique_ptr<Residency> residency_;
  std::shared_ptr<Execution> execution_;
};

struct StepOn {
  const char* name;
  const char* model;
  const char* step;
  const char* params;
  bool is_resumed = true;  // from a segment on; else it is quick
};

void PrintTo(const StepOn& step, std::ostream* out) { *out << step.name; }

const StepOn kSteps[] = {
    {"SmoothQuantLlama", "models/llama", "smooth_quant", ""},
    {"ShiftScaleLlama", "models/llama", "shift_scale", "candidates: 10"},
    {"ShiftScaleLlamaAlways", "models/llama", "shift_scale", "{shift: always, candidates: 10}"},
    {"ShiftScaleOptFloat", "models/opt", "shift_scale", "{network: float, scale: false}"},
    {"ShiftScaleTied", "language/model", "shift_scale", "candidates: 10"},
    {"GammaOpt", "models/opt", "gamma_migration", "", false},
    {"GammaPostNorm", "models/opt_post_norm", "gamma_migration", "", false},
    {"GammaBert", "parity/outlier_suppression", "gamma_migration", "", false},
    {"CalibrateGpt2", "models/gpt2", "calibrate", ""},
    {"CalibrateBert", "parity/outlier_suppression", "calibrate", ""},
    {"BlocksOfLlama", "models/llama", "by_block",
     "{steps: [shift_scale: {candidates: 10}, calibrate]}"},
    {"BlocksOfBloom", "models/bloom", "by_block",
     "{steps: [shift_scale: {candidates: 10}, calibrate]}"},
    {"BlocksOfOpt", "models/opt", "by_block",
     "{steps: [smooth_quant, shift_scale: {candidates: 10}, calibrate]}"},
    {"BlocksOfNeox", "models/gpt_neox", "by_block", "{steps: [smooth_quant, calibrate]}"},
    {"BlocksOfBert", "parity/outlier_suppression", "by_block", "{steps: [calibrate]}"}};

class StepsBySegment : public testing::TestWithParam<StepOn> {
 protected:
  fs::path folder() const { return test_data() / GetParam().model; }
  std::vector<Batch> batches() const {
    const std::string model = GetParam().model;
    if (model == "language/model") {
      std::vector<TokenSequence> sequences(2);
      sequences[0].ids = {2, 500, 17, 900, 33, 1200, 5999, 41};
      sequences[1].ids = {2, 7, 8, 3000};
      return {pack(sequences)};
    }
    const bool one = model.starts_with("models/");
    return read_batches(folder() / "inputs.safetensors",
                        one ? std::vector<std::string>{"b4.input_ids"}
                            : std::vector<std::string>{"b0.input_ids", "b1.input_ids"});
  }
  int64_t run(Network& network, const fs::path& progress = {}, int64_t most = kAll) const {
    return network.run(GetParam().step, GetParam().params, batches(), progress, most);
  }
};

TEST_P(StepsBySegment, GiveTheBitsOfTheWholeModel) {
  Network whole(folder(), true), by_segment(folder(), false);
  run(whole);
  run(by_segment);
  by_segment.expect_equal(whole);
}

// Wherever it is stopped.
TEST_P(StepsBySegment, GoOnAfterAStop) {
  Network whole(folder(), true), by_segment(folder(), false);
  run(whole);
  const int64_t all = run(by_segment), segments = std::ssize(whole.model().segments());
  const bool calibrates = GetParam().step == std::string("calibrate");
  const int64_t anew = calibrates ? segments : 0;  // ranges of weights are found again
  for (const bool in_memory : {false, true}) {
    // With the model in memory passes are quick, and start anew.
    if (in_memory && GetParam().step != std::string("by_block")) continue;
    for (int64_t most = 1; most < all; ++most) {
      SCOPED_TRACE(fmt::format("{} segments, {}", most, in_memory ? "whole" : "by segment"));
      const TemporaryFolder progress;
      const fs::path file = progress / "0-step.safetensors";
      Network stopped(folder(), in_memory), resumed(folder(), in_memory);
      EXPECT_THROW(run(stopped, file, most), Stopped);
      const int64_t left = run(resumed, file);
      if (GetParam().is_resumed && most > anew) {
        EXPECT_LT(left, all);
      }
      resumed.expect_equal(whole);
      Network again(folder(), in_memory);  // of a run that was stopped behind the step
      run(again, file);
      again.expect_equal(whole);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Steps, StepsBySegment, testing::ValuesIn(kSteps),
                         [](const auto& test) { return std::string(test.param.name); });

class StoppedBlocks : public testing::Test {
 protected:
  static constexpr const char* kSteps = "{steps: [shift_scale, calibrate]}";
  StoppedBlocks() {
    Network network(folder_, false);
    EXPECT_THROW(network.run("by_block", kSteps, batches_, file_, 2), Stopped);
  }
  std::string message() {
    Network network(folder_, false);
    return message_of<Error>([&] { network.run("by_block", kSteps, batches_, file_); });
  }

  fs::path folder_ = test_data() / "models/llama";
  std::vector<Batch> batches_ = read_batches(folder_ / "inputs.safetensors", {"b4.input_ids"});
  TemporaryFolder progress_;
  fs::path file_ = progress_ / "0-by_block.safetensors";
};

TEST_F(StoppedBlocks, MissingOrDamagedStatesAreTold) {
  const fs::path states = progress_ / "0-by_block/states-2/0.safetensors";
  ASSERT_TRUE(fs::exists(states));
  fs::resize_file(states, 100);
  EXPECT_THAT(message(), AllOf(HasSubstr("states-2/0.safetensors"), HasSubstr("truncated")));
  fs::remove(states);
  EXPECT_THAT(message(), HasSubstr("states-2/0.safetensors"));
}

TEST_F(StoppedBlocks, KeepsOneSetOfStates) {
  int64_t folders = 0;
  for (const auto& entry : fs::directory_iterator(progress_ / "0-by_block")) {
    folders += entry.is_directory();
  }
  EXPECT_EQ(folders, 1);
}

// Rows of BERT's norms are read by the next layer.
TEST(StepsOfPostNormModels, NeedMoreThanOneBlock) {
  const fs::path folder = test_data() / "parity/outlier_suppression";
  Network network(folder, true);
  for (const char* name : {"shift_scale", "smooth_quant"}) {
    const auto& entry = all_plugins().transforms.get(name);
    EXPECT_FALSE(entry.create(read_params(entry, "").get())->works_by_segment(network.model()));
    const auto& by_block = all_plugins().solvers.get("by_block");
    const auto step =
        by_block.create(read_params(by_block, fmt::format("{{steps: [{}]}}", name)).get());
    EXPECT_THAT(message_of<ConfigError>([&] { step->check(network.model(), nullptr); }),
                AllOf(HasSubstr(name), HasSubstr("outside of by_block")));
  }
}

}  // namespace
}  // namespace quell
