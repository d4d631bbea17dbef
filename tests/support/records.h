// Records of steps as values.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/model/record.h"

namespace quell {

struct SearchCandidate {
  double value = 0;
  double loss = 0;
  int64_t batches = 0;
};

struct SearchRecord {
  std::vector<SearchCandidate> candidates;
  int64_t chosen = -1;
  std::string sites;  // empty: all
};

struct LearningRecord {
  std::vector<double> loss, learning_rate;
};

// All records of their kind, in order.
std::vector<SearchRecord> searches(const std::vector<Record>& records);
std::vector<LearningRecord> learning(const std::vector<Record>& records);

}  // namespace quell
