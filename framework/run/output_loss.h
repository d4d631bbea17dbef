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
// up, and each batch resumes from the first segment whose parameters changed. None of this moves a
// bit of a whole loss. Everything else of the network must stay as it is meanwhile.
class OutputLoss {
 public:
  struct Result {
    float loss = 0;       // mean squared errors, summed over outputs and, in their order, batches
    int64_t batches = 0;  // that were counted, fewer than all when given up
  };
  struct Effort {
    int64_t repeated = 0;          // evaluations of what was known already
    int64_t batches = 0;           // runs of the network on one batch
    int64_t segments = 0;          // runs of one segment on one batch
    int64_t resumed_segments = 0;  // those that were left out because their state was known
  };

  // `targets` are the float outputs of every calibration batch. `varied` are the sites whose
  // parameters differ between settings. States between segments are kept in up to `cache_bytes`.
  // `replay` is what losses() of a stopped search gave: the same calls take their losses from it.
  OutputLoss(PipelineContext& context, std::vector<Outputs> targets,
             const std::vector<SiteId>& varied, int64_t cache_bytes,
             std::vector<float> replay = {});

  // The loss of the network as it is set now; both kinds of quantization are switched by the
  // caller. Given up when the sum over some batches reaches `limit`: losses are not negative, so
  // that the whole sum would, too. The batches with the largest losses so far come first. A setting
  // that was given up goes on from there.
  Result evaluate(float limit);

  // Of all batches that were counted, in the order of counting.
  const std::vector<float>& losses() const { return losses_; }

  Effort effort() const { return {repeated_, batches_, segments_, resumed_}; }

 private:
  // What the varied sites of each segment quantize with.
  using Setting = std::vector<std::vector<float>>;
  // The states in which one batch last entered each segment, where they were kept.
  struct Trail {
    std::shared_ptr<const Setting> setting;
    std::vector<std::optional<State>> states;
  };

  // What is known of one setting, by batch. What is counted does not depend on threads.
  struct Known {
    std::vector<std::optional<float>> losses;
    std::vector<bool> counted;
    Result result;  // of those counted
  };
  // What one batch gave so far.
  struct Expected {
    float sum = 0;
    int64_t count = 0;
  };

  Setting current_setting() const;
  std::vector<size_t> order_of_rest(const Known& known) const;
  void replay(Known& known, const std::vector<size_t>& order, float limit);
  void count(Known& known, const std::vector<size_t>& order, float limit);
  float run_batch(size_t index, const std::shared_ptr<const Setting>& setting);
  void keep(std::optional<State>& place, const State& state);

  PipelineContext& context_;
  std::vector<Outputs> targets_;
  std::vector<std::vector<SiteId>> varied_;  // by segment
  std::vector<Trail> trails_;                // by batch
  std::atomic<int64_t> cache_bytes_;         // still free
  std::map<Setting, Known> known_;
  std::vector<Expected> expected_;  // by batch
  std::vector<float> losses_, replay_;
  std::atomic<int64_t> batches_ = 0, segments_ = 0, resumed_ = 0;
  int64_t repeated_ = 0;
};

}  // namespace quell
