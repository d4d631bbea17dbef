// The search for shares of tokens, and what it keeps for resuming.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"
#include "framework/solve/output_loss.h"

namespace quell {

// What a search tried.
struct RatioCandidate {
  double ratio = 0;
  double loss = 0;      // over all batches; a lower bound where the candidate was given up
  int64_t batches = 0;  // that were counted whole
};

struct RatioSearchResult {
  std::vector<RatioCandidate> candidates;
  int64_t chosen = -1;  // index of the best candidate; -1: what was there before was better
};

// Sites that share one ratio.
struct RatioGroup {
  std::string name;  // empty: all of them
  std::vector<SiteId> sites;
};

// Tries ratios at activation sites whose observers clip tokens and have observed, in passes like
// the one that is given. The sites are left at the best ratios found.
class RatioSearch {
 public:
  struct Options {
    bool early_abandon = true;
    int64_t cache_bytes = 0;
  };

  RatioSearch(PipelineContext& context, const Pass& pass, std::vector<Outputs> targets,
              const std::vector<SiteId>& sites, std::vector<double> candidates,
              const Options& options);

  // The candidate with the smallest loss for the sites of one group, the others as they are; the
  // first of equal ones. After the first call a candidate must be better than what is there.
  // Throws Error when no candidate has a finite loss.
  //
  // Sums of losses only grow: the candidate that has the least of all, and has seen all batches, is
  // the best. So with early_abandon each goes on only while it leads.
  RatioSearchResult search(const RatioGroup& group);

  float best_loss() const { return best_loss_; }
  OutputLoss::Effort effort() const { return loss_.effort(); }
  // What effort() has of them when one search saves nothing.
  int64_t sequences() const;

 private:
  // The candidate that wins, if one is better than best_loss_.
  std::optional<size_t> race(const RatioGroup& group, std::vector<OutputLoss::Result>& results);
  OutputLoss::Result evaluate(const RatioGroup& group, double ratio, float limit);
  void set_ratio(const RatioGroup& group, double ratio);

  PipelineContext& context_;
  std::vector<double> candidates_;
  bool early_abandon_;
  OutputLoss loss_;
  float best_loss_;
  std::map<SiteId, double> ratios_;  // that the sites have
};

// For the results file; `group` is empty for all sites.
Record search_record(const RatioSearchResult& result, const std::string& group);

// The observer of an activation site where it clips tokens, else null.
class TokenRangeObserver;
TokenRangeObserver* token_observer(const PipelineContext& context, SiteId id);

}  // namespace quell
