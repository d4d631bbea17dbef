// The loss of searches: how far the quantized network's outputs are from those of the float network
// that the pipeline started with.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Evaluates one setting after another of the parameters of some activation sites, each at no more
// cost than it needs: a setting seen before costs nothing, one that cannot win any more is given
// up, and work resumes from the first segment whose parameters changed. None of this moves a bit of
// a whole loss. Everything else of the network must stay as it is meanwhile.
//
// The network runs on parts of a batch, a few sequences each, where its outputs belong to sequences
// and not to tokens: so a setting is given up within a batch, too.
class OutputLoss {
 public:
  struct Result {
    // Mean squared errors, summed over outputs and, in their order, batches. Of a setting that was
    // given up a lower bound.
    float loss = 0;
    int64_t batches = 0;  // that were counted whole, fewer than all when given up
  };
  struct Effort {
    int64_t repeated = 0;          // evaluations of what was known already
    int64_t sequences = 0;         // runs of the network on one sequence
    int64_t segments = 0;          // runs of one segment on one part
    int64_t resumed_segments = 0;  // those that were left out because their state was known
  };

  struct Options {
    int64_t cache_bytes = 0;  // for states between segments
    // Of a part. Few, so that settings are given up early; but products of few rows are slow.
    int64_t sequences = 8;
  };

  // `targets` are the float outputs of every calibration batch. `varied` are the sites whose
  // parameters differ between settings. `replay` is what losses() of a stopped search gave: the
  // same calls take their losses from it.
  OutputLoss(PipelineContext& context, std::vector<Outputs> targets,
             const std::vector<SiteId>& varied, const Options& options,
             std::vector<float> replay = {});

  // The loss of the network as it is set now; both kinds of quantization are switched by the
  // caller. Given up when what was counted reaches `limit`: losses are not negative, so that the
  // whole sum would, too. What had the largest losses so far comes first. A setting that was given
  // up goes on from there.
  Result evaluate(float limit);

  // What each counted part adds to the loss of its batch, in the order of counting, and behind the
  // last of several parts the loss of the batch.
  const std::vector<float>& losses() const { return losses_; }

  Effort effort() const { return {repeated_, sequences_, segments_, resumed_}; }

 private:
  // What the varied sites of each segment quantize with.
  using Setting = std::vector<std::vector<float>>;
  // The states in which one part last entered each segment, where they were kept.
  struct Trail {
    std::shared_ptr<const Setting> setting;
    std::vector<std::optional<State>> states;
  };
  // What the network runs on at once.
  struct Part {
    size_t of = 0;  // the batch
    Batch batch;
    Outputs targets;
    double weight = 1;  // of its mean squared error in that of the batch
    Trail trail = {};
    // What it added to settings so far.
    struct {
      float sum = 0;
      int64_t count = 0;
    } added = {};
  };
  // What is known of one setting. What is counted does not depend on threads.
  struct Known {
    std::shared_ptr<const Setting> setting;
    std::vector<std::optional<float>> shares;  // by part: of the loss of its batch
    std::vector<Outputs> outputs;              // by part, until its batch is whole
    std::vector<bool> counted;                 // by part
    std::vector<int64_t> missing;              // by batch, parts that are not counted yet
    std::vector<float> losses;                 // by batch, of whole ones
    Result result;                             // of those counted
  };

  void split(size_t index, int64_t sequences);
  Setting current_setting() const;
  Known& known_of(const Setting& setting);
  std::vector<size_t> order_of_rest(const Known& known) const;
  void replay(Known& known, const std::vector<size_t>& order, float limit);
  void count(Known& known, const std::vector<size_t>& order, float limit);
  float batch_loss(Known& known, size_t batch);
  float sum_of(const Known& known) const;
  Outputs run(Part& part, const std::shared_ptr<const Setting>& setting);
  void keep(std::optional<State>& place, const State& state);

  PipelineContext& context_;
  std::vector<Outputs> targets_;
  std::vector<std::vector<SiteId>> varied_;  // by segment
  std::vector<Part> parts_;                  // batch by batch
  std::vector<size_t> first_part_;           // [batches + 1]
  std::atomic<int64_t> cache_bytes_;         // still free
  std::map<Setting, Known> known_;
  std::vector<float> losses_, replay_;
  std::atomic<int64_t> sequences_ = 0, segments_ = 0, resumed_ = 0;
  int64_t repeated_ = 0;
};

}  // namespace quell
