// The loss of searches: how far the quantized network's outputs are from those of the float network
// that the pipeline started with.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "framework/model/pipeline.h"
#include "framework/solve/resumable_pass.h"

namespace quell {

// Evaluates one setting after another of the parameters of some activation sites, each at no more
// cost than it needs: a setting seen before costs nothing, one that cannot win any more is given
// up, and work resumes from the first segment whose parameters changed. None of this moves a bit of
// a whole loss. Everything else of the network must stay as it is meanwhile.
//
// The network runs on a few sequences at once, from whatever batch, where its outputs belong to
// sequences and not to tokens: so a setting is given up within a batch, too.
class OutputLoss {
 public:
  struct Result {
    // Mean squared errors, summed over outputs and, in their order, batches. Of a setting that was
    // given up a lower bound.
    float loss = 0;
    int64_t batches = 0;  // that were counted whole, fewer than all when given up
  };
  struct Effort : ResumablePass::Effort {
    int64_t repeated = 0;  // evaluations of what was known already
  };

  struct Options {
    int64_t cache_bytes = 0;  // for states between segments
    // At once. Few, so that settings are given up early; but products of few rows are slow.
    int64_t sequences = 8;
  };

  // What is quantized is said by `pass`. `targets` are the float outputs of every calibration
  // batch. `varied` are the sites whose parameters differ between settings. `replay` is what
  // losses() of a stopped search gave: the same calls take their losses from it.
  OutputLoss(PipelineContext& context, const Pass& pass, std::vector<Outputs> targets,
             const std::vector<SiteId>& varied, const Options& options,
             std::vector<float> replay = {});

  // The loss of the network as it is set now. Given up when what was counted reaches `limit`:
  // losses are not negative, so that the whole sum would, too. What added the most to losses so far
  // comes first. A setting that was given up goes on from there.
  Result evaluate(float limit);

  // What each counted sequence adds to the loss of its batch, in the order of counting, and behind
  // the last ones the loss of the batch.
  const std::vector<float>& losses() const { return losses_; }

  Effort effort() const { return {network_.effort(), repeated_}; }

 private:
  using Setting = ResumablePass::Setting;
  using Group = ResumablePass::Group;
  // What a unit of the pass added to settings so far.
  struct Added {
    float sum = 0;
    int64_t count = 0;
  };
  // The ledger's page of one setting. What is counted does not depend on threads.
  struct Known {
    const Setting* setting = nullptr;  // its key in known_
    std::vector<bool> counted;         // by unit
    std::vector<float> shares;         // by unit: of the loss of its batch; of those counted
    std::vector<Outputs> outputs;      // by unit, until its batch is whole
    std::vector<int64_t> missing;      // by batch, units that are not counted yet
    std::vector<float> losses;         // by batch, of whole ones
    Result result;                     // of those counted
  };
  // Of the units of a group.
  struct Shares {
    std::vector<float> shares;
    std::vector<Outputs> outputs;  // empty: the shares were replayed
  };

  void add_units(size_t batch);
  Known& known_of(const Setting& setting);
  std::vector<size_t> order_of_rest(const Known& known) const;
  std::vector<Group> groups_of(const std::vector<size_t>& order) const;
  void count(Known& known, Group group, Shares shares);
  float batch_loss(Known& known, size_t batch);
  float sum_of(const Known& known) const;
  Shares replayed(Group group);
  Shares shares_of(Group group, const Setting& setting);

  PipelineContext& context_;
  Options options_;
  ResumablePass network_;
  std::vector<Outputs> targets_;
  std::vector<Added> added_;        // by unit, batch by batch
  std::vector<size_t> first_unit_;  // [batches + 1]
  std::map<Setting, Known> known_;
  std::vector<float> losses_, replay_;
  int64_t repeated_ = 0;
};

}  // namespace quell
