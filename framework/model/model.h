// A transformer as quell runs it: sites, weights, and segments executed on packed token rows.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/model/batch.h"
#include "framework/model/decoding.h"
#include "framework/model/graph.h"
#include "framework/quant/context.h"
#include "framework/quant/dropout.h"
#include "framework/quant/site.h"

namespace quell {

// Named output tensors: "logits" [sequences, labels].
using Outputs = std::map<std::string, at::Tensor>;

// What one segment hands to the next.
struct State {
  at::Tensor rows;          // [tokens, hidden]; in a decoder [target tokens, hidden]
  at::Tensor encoder_rows;  // [tokens, hidden], what a decoder reads; undefined elsewhere
  Outputs outputs;          // filled by the last segment
};

// A part of a model that runs on its own: the embeddings, one layer, the head. Searches resume from
// the first segment whose parameters changed, so run() replaces the tensors of the state it is
// given and never writes into them.
struct Segment {
  std::string name;
  SiteId first_site = 0;  // its sites follow one another, up to the first of the next segment
  std::function<void(State&, const Batch&, QuantContext&)> run;
};

// A plug-in of models/, named after the `model_type` of config.json. Built as
// Class(const Params&, const Checkpoint&).
class Model {
 public:
  virtual ~Model() = default;

  // Every tensor that one of the papers quantizes, in the order of execution.
  const std::vector<Site>& sites() const { return sites_; }
  // The float tensor of a weight site.
  virtual const at::Tensor& weight(SiteId id) const = 0;
  virtual std::span<const Segment> segments() const = 0;
  // What transforms may rewrite. Rewriting a weight site calls for QuantContext::weight_changed().
  Graph& graph() { return graph_; }
  // Every tensor that the outputs depend on, by its name in a Hugging Face folder: the very ones
  // that the model uses, so that they can be trained in place and stored. The scales that shortcuts
  // have after gamma migration, which Hugging Face does not know, are called "...shortcut.scale".
  virtual std::map<std::string, at::Tensor> parameters() const = 0;
  // How the model was, or is to be, trained, from its config.json.
  virtual DropoutRates dropout_rates() const { return {}; }
  // Those that are no site (biases, norms), for the memory column: their number of elements.
  virtual int64_t other_parameters() const = 0;
  // Longest sequence and smallest vocabulary that the embeddings allow.
  virtual int64_t max_positions() const = 0;
  virtual int64_t vocabulary_size() const = 0;
  virtual int64_t pad_id() const = 0;
  // Outputs of the shapes that forward() gives, all zero: what a dry run hands to a task.
  virtual Outputs zero_outputs(const Batch& batch) const = 0;

  // Whether start_decoding() works.
  virtual bool writes_text() const { return false; }
  // Runs the encoder over the batch, whose decoder side is not looked at. The result needs model,
  // batch and context as long as it lives.
  virtual std::unique_ptr<Decoding> start_decoding(const Batch& batch, QuantContext& context) const;

  // Runs all segments. `batch` must fit max_positions() and vocabulary_size(), else DataError.
  Outputs forward(const Batch& batch, QuantContext& context) const;

 protected:
  SiteId add_site(Site site);
  // Throws DataError when the batch does not fit max_positions() and vocabulary_size().
  void check(const Batch& batch) const;
  SiteId next_site() const { return static_cast<SiteId>(sites_.size()); }
  void add_norm_group(NormGroup group) { graph_.norms.push_back(std::move(group)); }

 private:
  Graph graph_;
  std::vector<Site> sites_;
};

}  // namespace quell
