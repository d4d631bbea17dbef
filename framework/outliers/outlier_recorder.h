// Looks at the activations of a model at several stages of a run.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/model/model.h"
#include "framework/outliers/site_statistics.h"

namespace quell {

// A norm's parameters at some stage, copied.
struct NormSummary {
  std::string name;
  SiteId output_site = kNoSite;
  at::Tensor gamma, beta;  // [features]
  bool left_alone = false;
};

struct OutlierStage {
  std::string name;                                   // "float", a transform, "quantized"
  bool quantized = false;                             // whether sites were
  std::vector<std::pair<SiteId, SiteSummary>> sites;  // in the order of execution
  std::vector<NormSummary> norms;
};

// What was seen of a run.
struct OutlierRecord {
  OutlierOptions options;
  CalibrationTokens tokens;
  std::vector<OutlierStage> stages;
};

class OutlierRecorder {
 public:
  // Throws ConfigError when a pattern matches no activation.
  OutlierRecorder(const OutlierOptions& options, const std::vector<Site>& sites);

  // Tells which tokens the batches hold; once, before record().
  void set_tokens(std::span<const Batch> batches, const Tokenizer* tokenizer);
  // Runs the batches twice, with these sites quantized: SiteStatistics sees what the network goes
  // on with, quantized values where a site quantizes. A name that was used gets "_2", ....
  void record(const std::string& name, Model& model, const SitePoints& points,
              const SiteSet& quantized, std::span<const Batch> batches, Log& log);

  const OutlierRecord& found() const { return found_; }

 private:
  using AllStatistics = std::vector<std::unique_ptr<SiteStatistics>>;  // [sites], null: not wanted
  AllStatistics new_statistics() const;
  std::string unused_name(const std::string& name) const;

  OutlierRecord found_;
  std::vector<Site> sites_;
  std::vector<bool> recorded_, raw_;  // [sites]
};

}  // namespace quell
