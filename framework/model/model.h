// A transformer as quell runs it: sites, weights, and segments executed on packed token rows.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/io/checkpoint.h"
#include "framework/model/batch.h"
#include "framework/model/graph.h"
#include "framework/model/graph_writer.h"
#include "framework/model/model_input.h"
#include "framework/model/pass.h"
#include "framework/quant/dropout.h"
#include "framework/quant/site.h"

namespace quell {

// A tensor that a model has a place for.
struct ModelTensor {
  ExpectedTensor stored;        // how it is found in a checkpoint
  at::Tensor* place = nullptr;  // undefined until it is loaded, or where it is optional and absent
  SiteId site = kNoSite;        // of a weight
  bool is_stored = false;       // the checkpoint has it
};

// A part of a model that runs on its own: the embeddings, one layer, the head. Searches resume from
// the first segment whose parameters changed, so run() replaces the tensors of the state it is
// given and never writes into them.
struct Segment {
  std::string name;
  SiteId first_site = 0;            // its sites follow one another, up to those of the next segment
  std::deque<ModelTensor> tensors;  // its own; nothing else needs them
  std::function<void(State&, const ModelInput&, const Pass&)> run;
  bool is_encoder = false;       // in front of the decoder of an encoder-decoder
  at::Device device = at::kCPU;  // where its tensors are and its rows are computed
};

// A plug-in of models/, named after the `model_type` of config.json. Built as
// Class(const Params&, const Checkpoint&), from config.json alone: no tensor is read before load().
class Model {
 public:
  virtual ~Model() = default;

  // Every tensor that one of the papers quantizes, in the order of execution.
  const std::vector<Site>& sites() const { return sites_; }
  const std::deque<Segment>& segments() const { return segments_; }
  SiteRange sites_of(const Segment& segment) const;
  // What transforms may rewrite. Rewriting a weight site calls for SitePoints::weight_changed().
  Graph& graph() { return graph_; }

  // Finds all tensors in a checkpoint, or reads them, too. Throws DataError naming everything that
  // does not fit.
  MatchedTensors match(const Checkpoint& checkpoint);
  void load(const Checkpoint& checkpoint);
  // Where tensors are loaded to, and where passes run; the CPU unless it is said before load().
  // Several devices take neighbouring segments each, about equal bytes of tensors; a segment that
  // shares a tensor with an earlier one goes where that is. To be called once.
  void set_devices(std::vector<at::Device> devices);
  const std::vector<at::Device>& devices() const { return devices_; }
  // Of the first segment.
  at::Device device() const { return devices_.front(); }
  // The float tensor of a weight site, and its shape, which is known before it is loaded.
  const at::Tensor& weight(SiteId id) const { return *tensor_of(id).place; }
  const std::vector<int64_t>& weight_shape(SiteId id) const { return tensor_of(id).stored.shape; }
  // Equal for sites that read the same tied tensor.
  std::string weight_identity(SiteId id) const { return identity(tensor_of(id)); }
  // Every tensor that the outputs depend on, by its name in a Hugging Face folder: the very ones
  // that the model uses, so that they can be trained in place and stored; a tied one once. What
  // transforms add, which Hugging Face does not know, is called "...shortcut.scale" and
  // "...shortcut.shift", and "....added_bias" where a linear or a norm had no bias.
  std::map<std::string, at::Tensor> parameters() const;
  // The same as a Hugging Face folder has them: parts of a tensor put together again.
  std::map<std::string, at::Tensor> stored_parameters() const;
  // Those of the checkpoint that are no site (biases, norms), for the memory column: their number
  // of elements.
  int64_t other_parameters() const;

  // How the model was, or is to be, trained, from its config.json.
  virtual DropoutRates dropout_rates() const { return {}; }
  // Longest sequence and smallest vocabulary that the embeddings allow.
  virtual int64_t max_positions() const = 0;
  virtual int64_t vocabulary_size() const = 0;
  virtual int64_t pad_id() const = 0;
  // What the rows of the outputs are, all of which have as many.
  virtual RowsOf output_rows() const = 0;
  // Outputs of the shapes that forward() gives, all zero: what a dry run hands to a task.
  virtual Outputs zero_outputs(const Batch& batch) const = 0;
  // Whether the outputs are "logits" of the next token.
  virtual bool writes_text() const { return false; }
  // Writes down what forward() computes. Throws ConfigError where other runtimes have no operations
  // for it, or quell none yet; whether the tensors are loaded makes no difference.
  virtual void write(GraphWriter& writer) const;

  // Throws DataError when the batch does not fit the model.
  ModelInput bind(const Batch& batch) const;
  // The next tokens of each hypothesis, equally many, from position `position` of its sequence on.
  // `sources` [hypotheses], rising: the sequence of the batch that each is written for.
  ModelInput bind_next(const Batch& batch, std::span<const int64_t> sources,
                       std::span<const int64_t> tokens, int64_t position) const;

  // Runs all segments.
  Outputs forward(const ModelInput& input, const Pass& pass) const;
  Outputs forward(const Batch& batch, const Pass& pass) const { return forward(bind(batch), pass); }

 protected:
  // Positions and the like; everything that does not depend on the model is there. Throws
  // DataError.
  virtual void complete(ModelInput& input) const = 0;

  SiteId add_site(Site site);
  Segment& add_segment(std::string name);
  void add_group(ScaleGroup group) { graph_.groups.push_back(std::move(group)); }
  std::span<Site> mutable_sites() { return sites_; }
  // What old or other checkpoints may lack in front of names: "bert.".
  virtual std::string checkpoint_prefix() const { return ""; }

 private:
  static std::string identity(const ModelTensor& tensor);
  // Those that are loaded, a tied one once.
  std::vector<const ModelTensor*> loaded_tensors() const;
  const ModelTensor& tensor_of(SiteId id) const;
  void check(const Batch& batch) const;
  std::vector<ExpectedTensor> expected_tensors() const;
  void drop_tied_groups();
  ModelInput on_devices(ModelInput input) const;

  std::vector<at::Device> devices_ = {at::kCPU};
  Graph graph_;
  std::vector<Site> sites_;
  std::deque<Segment> segments_;  // whose tensors are pointed to
};

}  // namespace quell
