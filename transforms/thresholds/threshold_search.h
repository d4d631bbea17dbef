// The search for the threshold of a group's channels.
#pragma once

#include <cstdint>
#include <vector>

#include "transforms/thresholds/threshold_loss.h"

namespace quell {

// Thresholds from the largest absolute value of all features down to `smallest`, in `candidates`
// equal steps, or in more, of at most half a unit. Empty where no feature exceeds `smallest`.
// As published: subtracted step by step in double precision, so that there may be one more or less.
std::vector<double> threshold_grid(const Range& features, int64_t candidates, double smallest);

struct ThresholdSearch {
  std::vector<double> thresholds;
  std::vector<double> losses;   // a lower bound where the threshold was given up
  std::vector<int64_t> rounds;  // of ThresholdLoss, that were counted
  int64_t chosen = -1;          // the first with the smallest loss; -1: none was tried
};

// Losses only grow from round to round: with `early_abandon` a threshold goes on only while it has
// the least loss, and the first that has seen all rounds is the best. Otherwise all see them all.
// Throws Error where no loss is finite.
ThresholdSearch search_thresholds(ThresholdLoss& loss, std::vector<double> thresholds,
                                  bool early_abandon);

}  // namespace quell
