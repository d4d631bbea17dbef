// What a run found: everything that its folder is written from.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/model/record.h"
#include "framework/outliers/hidden_states.h"
#include "framework/outliers/outlier_recorder.h"
#include "framework/quant/named_tensors.h"
#include "framework/quant/site.h"
#include "framework/quant/spec.h"
#include "framework/task/task.h"

namespace quell {

struct StageResult {
  std::string stage;  // "float", "quantized", ...
  Evaluation evaluation;
};

// How much a transform moved the float outputs of the calibration set.
struct TransformCheck {
  std::string name;
  double max_difference = 0;  // absolute
  double max_output = 0;      // largest absolute output before it
};

// A quantized site at the end of a run.
struct SiteRecord {
  QuantSpec spec;
  std::string observer, quantizer;
  Range range;                 // undefined where scales came from a file or follow each row
  QuantParameters parameters;  // undefined where they follow each row
  NamedTensors state = {};     // of the quantizer, beyond its parameters
};

// How far quantization moves an activation.
struct SiteError {
  // Signal-to-quantization-noise ratio in dB of the site's own quantizer, on float activations:
  // 10 log10(sum x^2 / sum (Q(x) - x)^2). Infinite when nothing changed.
  double sqnr_db = 0;
  // The same between the float network and the network with everything quantized.
  double network_sqnr_db = 0;
  // Cosine similarity between the two networks' values at the site.
  double cosine_to_float = 0;
};

// What quantization does to the product of a linear whose weight and input both lie on grids, on
// float activations, in dB. The signal-to-noise ratio of the product is the one of input and weight
// together, moved by their alignment: 1 / (1 / input + 1 / weight) * alignment, as far as their
// errors do not depend on each other. Each of the two is a term in bits, 12 (2^bits - 1)^2, times
// the concentration: mean square over squared range, which outliers lower (Federici et al. 2026).
struct LinearError {
  double input_sqnr_db = 0;
  double input_concentration_db = 0;
  double weight_concentration_db = 0;
  // inputs * sum |W x|^2 / (|W|^2 sum |x|^2): 0 dB where they have nothing to do with each other,
  // more where the weight reads what is large in the input. Rotations leave it as it is.
  double alignment_db = 0;
  double output_sqnr_db = 0;     // of W x, measured
  double predicted_sqnr_db = 0;  // the same by the formula
};

// The memory column of the third paper, in bytes.
struct ModelSize {
  double float_bytes = 0;            // everything in float32
  double quantized_bytes = 0;        // weights at their bits; biases and norms in float32
  double float_embedding_bytes = 0;  // embedding tables alone
  double quantized_embedding_bytes = 0;

  double ratio() const { return float_bytes / quantized_bytes; }
};

// A network whose weights a step changed, as a Hugging Face folder has them.
struct TrainedModel {
  std::map<std::string, at::Tensor> tensors;
  std::string config;  // of config.json; empty: as it is in the folder that the model came from
};

// How long a part of a run took.
struct PartTime {
  std::string part;
  double seconds = 0;            // by the clock
  double processor_seconds = 0;  // of all threads together
};

struct RunRecord {
  std::string name;
  std::string config;  // the experiment with every default written out, YAML

  std::vector<Site> sites;
  std::map<SiteId, SiteRecord> quantized;
  std::map<SiteId, SiteError> site_errors;      // of activations
  std::map<SiteId, double> weight_errors;       // SQNR in dB
  std::map<SiteId, LinearError> linear_errors;  // by the weight
  ModelSize size;

  std::vector<StageResult> stages;
  std::vector<TransformCheck> transforms;
  std::vector<Record> records;                    // of steps
  std::optional<OutlierRecord> outliers;          // where the experiment asks for them
  std::vector<HiddenStateSummary> hidden_states;  // where only outliers are looked at
  std::optional<TrainedModel> trained;            // where it was trained and is to be stored

  int64_t calibration_batches = 0;
  int64_t calibration_tokens = 0;
  std::vector<int64_t> calibration_indices;  // see Task::calibration_indices()

  std::filesystem::path model_folder;
  std::string device = "cpu";     // where the model ran, with the name of a GPU
  std::string model_fingerprint;  // SHA-256 of its files; empty where only outliers are looked at
  std::vector<std::string> task_files;
  std::vector<std::pair<std::string, std::string>> task_protocol;  // see Task::protocol()
  std::vector<PartTime> times;
};

}  // namespace quell
