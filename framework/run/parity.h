// One quantized network by two engines: where their codes part, what that does to results, and how
// long each takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/run/run.h"

namespace quell {

struct ParityOptions {
  std::vector<std::string> engines = {"libtorch", "integer"};  // the reference, and the other
  int64_t batches = 4;  // of the evaluation, on which sites are compared
  int64_t rounds = 3;   // of all engines in turn, for times; 0: none are measured
};

// A quantized activation on the compared batches.
struct SiteParity {
  std::string site;
  int64_t values = 0;
  int64_t different = 0;        // values with another code
  double largest_in_codes = 0;  // 0 where scales follow each row
  // Where a linear or one of attention's products is in front of the site, and the site has one
  // scale: values with another code when both engines are given the same rows, those of them whose
  // number in float64 lies as close to where codes change as float32 sums may be off, and the
  // largest difference, of so many values.
  int64_t own_different = 0, own_explained = 0;
  double own_largest_in_codes = 0;
  int64_t own_values = 0;  // 0: nothing was compared
};

struct EngineTimes {
  std::string engine;             // "float": the network without quantization, by `packed`
  std::vector<double> single_ms;  // one sequence of each of kSingleTokens tokens; the median
  double tokens_per_second = 0;   // over all batches of the evaluation; the best round
  int64_t bytes = 0;              // that the engine holds beside the model's tensors
};

inline constexpr int64_t kSingleTokens[] = {16, 64, 128};

struct Parity {
  std::vector<SiteParity> sites;  // in the order of execution
  double largest_logit_difference = 0, logit_rms = 0;
  int64_t predictions = 0, different_predictions = 0;
  std::vector<Metrics> metrics;  // of each engine
  std::vector<EngineTimes> times;
  std::vector<std::string> notes;  // of the engines
  int64_t peak_bytes = 0;          // of the whole process
};

// Throws ConfigError for an engine that does not exist.
Parity compare_engines(const CalibratedNetwork& network, const ParityOptions& options,
                       const Plugins& plugins, Log& log);

}  // namespace quell
