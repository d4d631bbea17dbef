#include "framework/model/model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "framework/base/error.h"
#include "framework/model/decoding.h"
#include "framework/model/placement.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

// `in_front`: Batch::context_length() of a sequence.
void check_lengths(const std::vector<int64_t>& offsets, const char* side, const Model& model,
                   const std::function<int64_t(int64_t)>& in_front) {
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const int64_t length = in_front(static_cast<int64_t>(i)) + offsets[i + 1] - offsets[i];
    if (length <= model.max_positions()) continue;
    throw DataError(
        fmt::format("sequence {} of a batch has {} {}tokens, but the model has {} positions; lower "
                    "the maximum lengths of the task",
                    i, length, side, model.max_positions()));
  }
}

// `least` is 0, or -1 where that stands for no token.
void check_ids(const at::Tensor& ids, const Model& model, int64_t least = 0) {
  const int64_t* values = ids.const_data_ptr<int64_t>();
  const auto [smallest, largest] = std::minmax_element(values, values + ids.numel());
  if (*smallest >= least && *largest < model.vocabulary_size()) return;
  throw DataError(
      fmt::format("token id {} is outside of the model's vocabulary of {} entries; "
                  "the tokenizer or the file of token ids belongs to another model",
                  *smallest < least ? *smallest : *largest, model.vocabulary_size()));
}

// Buffers that models have no use for, and what earlier releases of Hugging Face transformers
// stored.
const std::vector<std::string> kIgnoredSuffixes = {"position_ids",           ".attn.bias",
                                                   ".attn.masked_bias",      ".attention.bias",
                                                   ".attention.masked_bias", "rotary_emb.inv_freq"};

// Nothing may be multiplied into a table that several tensors are: it has other readers. `table_of`
// is equal for those; "" where a tensor is absent.
void drop_groups_of_shared_tables(Graph& graph, const std::deque<Segment>& segments,
                                  const std::function<std::string(const ModelTensor&)>& table_of) {
  std::map<std::string, int> users;
  std::map<const at::Tensor*, std::string> tables;
  for (const Segment& segment : segments) {
    for (const ModelTensor& tensor : segment.tensors) {
      const std::string table = table_of(tensor);
      if (table.empty()) continue;
      ++users[table];
      tables[tensor.place] = table;
    }
  }
  std::erase_if(graph.groups, [&](const ScaleGroup& group) {
    return std::any_of(group.readers.begin(), group.readers.end(),
                       [&](const Linear* reader) { return users[tables[&reader->weight]] > 1; });
  });
}

// Whether a checkpoint has a tensor under its own name, with or without the base model's prefix.
bool has_own(const Checkpoint& checkpoint, const std::string& name, const std::string& prefix) {
  const std::vector<std::string> names = checkpoint.names();
  return std::any_of(names.begin(), names.end(), [&](const std::string& stored) {
    return stored == name || stored == prefix + name || prefix + stored == name;
  });
}

}  // namespace

void Model::check(const Batch& batch) const {
  check_lengths(batch.offsets, "", *this, [&](int64_t i) { return batch.context_length(i); });
  check_ids(batch.token_ids, *this);
  if (batch.scored_ids.defined()) {
    QUELL_ASSERT(batch.scored_ids.numel() == batch.target_tokens(), "an id for every target token");
    check_ids(batch.scored_ids, *this, /*least=*/-1);
  }
  if (!batch.decoder_token_ids.defined()) return;
  check_lengths(batch.decoder_offsets, "decoder ", *this, [](int64_t) { return int64_t{0}; });
  check_ids(batch.decoder_token_ids, *this);
}

void Model::write(GraphWriter& /*writer*/) const { refuse_graph("this model"); }

ModelInput Model::bind(const Batch& batch) const {
  check(batch);
  ModelInput input{batch};
  const std::vector<int64_t> first_tokens(batch.offsets.begin(), batch.offsets.end() - 1);
  input.first_rows = at::tensor(first_tokens, at::kLong);
  input.token_ids = batch.token_ids;
  input.segment_ids = batch.segment_ids;
  input.scored_ids = batch.scored_ids;
  complete(input);
  return on_devices(std::move(input));
}

ModelInput Model::bind_next(const Batch& batch, std::span<const int64_t> sources,
                            std::span<const int64_t> tokens, int64_t position) const {
  const auto hypotheses = static_cast<int64_t>(sources.size());
  const int64_t each = std::ssize(tokens) / hypotheses;
  AttentionSpans own;
  for (int64_t i = 0; i <= hypotheses; ++i) {
    own.queries.push_back(i * each);
    own.keys.push_back(i * (position + each));
  }
  own.valid_keys.assign(sources.size(), position + each);
  own.causal = true;
  const at::Tensor ids = at::tensor(at::ArrayRef<int64_t>(tokens.data(), tokens.size()));
  const at::Tensor positions = at::arange(position, position + each, at::kLong).repeat(hypotheses);
  ModelInput input{batch};
  if (is_decoder(*this)) {
    // The tokens are a batch themselves; scaled rotary positions ask for whole lengths.
    input.batch = {.token_ids = ids,
                   .segment_ids = at::zeros_like(ids),
                   .position_ids = positions,
                   .offsets = own.queries,
                   .valid_lengths = own.valid_keys};
    complete(input);
  } else {
    // All hypotheses of a sequence are queries to its rows.
    AttentionSpans cross{{0}, batch.offsets, batch.valid_lengths, /*causal=*/false, batch.pad_to};
    for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
      const auto count = std::count(sources.begin(), sources.end(), sequence);
      cross.queries.push_back(cross.queries.back() + count * each);
    }
    input.cross_attention = std::make_shared<AttentionSpans>(std::move(cross));
  }
  input.target_ids = ids;
  input.target_position_ids = positions;
  input.target_attention = std::make_shared<AttentionSpans>(std::move(own));
  return on_devices(std::move(input));
}

ModelInput Model::on_devices(ModelInput input) const {
  std::vector<std::pair<at::Device, std::shared_ptr<const ModelInput>>> elsewhere;
  for (size_t i = 1; i < devices_.size(); ++i) {
    auto there = std::make_shared<ModelInput>(input);
    move_to(devices_[i], *there);
    elsewhere.emplace_back(devices_[i], std::move(there));
  }
  move_to(devices_.front(), input);
  input.elsewhere = std::move(elsewhere);
  return input;
}

void Model::set_devices(std::vector<at::Device> devices) {
  QUELL_ASSERT(!devices.empty(), "a device");
  devices_ = std::move(devices);
  place_segments(devices_, segments_, graph_);
}

Outputs Model::forward(const ModelInput& input, const Pass& pass) const {
  State state;
  for (const Segment& segment : segments_) segment.run(state, input, pass);
  return std::move(state.outputs);
}

SiteId Model::add_site(Site site) {
  sites_.push_back(std::move(site));
  return static_cast<SiteId>(sites_.size() - 1);
}

SiteRange Model::sites_of(const Segment& segment) const {
  SiteRange range{segment.first_site, static_cast<SiteId>(sites_.size())};
  for (size_t i = 0; i + 1 < segments_.size(); ++i) {
    if (&segments_[i] == &segment) range.end = segments_[i + 1].first_site;
  }
  return range;
}

Segment& Model::add_segment(std::string name) {
  return segments_.emplace_back(
      Segment{std::move(name), static_cast<SiteId>(sites_.size()), {}, {}});
}

const ModelTensor& Model::tensor_of(SiteId id) const {
  auto segment = std::find_if(segments_.rbegin(), segments_.rend(),
                              [&](const Segment& one) { return one.first_site <= id; });
  QUELL_ASSERT(segment != segments_.rend(), "a site of no segment");
  const auto found = std::find_if(segment->tensors.begin(), segment->tensors.end(),
                                  [&](const ModelTensor& tensor) { return tensor.site == id; });
  QUELL_ASSERT(found != segment->tensors.end(), "a site that is no weight");
  return *found;
}

// Before tensors are loaded, those that a checkpoint may leave out count as tied.
std::string Model::identity(const ModelTensor& tensor) {
  if (tensor.place->defined()) return fmt::format("{}", tensor.place->const_data_ptr());
  return tensor.stored.tied_to.empty() ? tensor.stored.name : tensor.stored.tied_to;
}

std::vector<ExpectedTensor> Model::expected_tensors() const {
  std::vector<ExpectedTensor> expected;
  for (const Segment& segment : segments_) {
    for (const ModelTensor& tensor : segment.tensors) expected.push_back(tensor.stored);
  }
  return expected;
}

MatchedTensors Model::match(const Checkpoint& checkpoint) {
  MatchedTensors tensors =
      checkpoint.match(expected_tensors(), kIgnoredSuffixes, checkpoint_prefix());
  for (Segment& segment : segments_) {
    for (ModelTensor& tensor : segment.tensors) {
      tensor.is_stored = tensors.contains(tensor.stored.name);
    }
  }
  drop_groups_of_shared_tables(graph_, segments_, [&](const ModelTensor& tensor) {
    const auto& [name, tied_to] = std::tie(tensor.stored.name, tensor.stored.tied_to);
    if (!tensor.is_stored) return std::string();
    const bool tied = !tied_to.empty() && !(has_own(checkpoint, name, checkpoint_prefix()) &&
                                            has_own(checkpoint, tied_to, checkpoint_prefix()));
    return tied ? tied_to : name;
  });
  return tensors;
}

void Model::load(const Checkpoint& checkpoint) {
  const auto found = checkpoint.load(expected_tensors(), kIgnoredSuffixes, checkpoint_prefix());
  std::map<const void*, at::Tensor> moved;  // tied ones once
  for (Segment& segment : segments_) {
    for (ModelTensor& tensor : segment.tensors) {
      const auto one = found.find(tensor.stored.name);
      tensor.is_stored = one != found.end();
      if (!tensor.is_stored) continue;
      at::Tensor& there = moved[one->second.const_data_ptr()];
      if (!there.defined()) there = one->second.to(segment.device);
      *tensor.place = there;
    }
  }
  drop_tied_groups();
}

void Model::drop_tied_groups() {
  drop_groups_of_shared_tables(graph_, segments_, [](const ModelTensor& tensor) {
    return tensor.place->defined() ? identity(tensor) : std::string();
  });
}

std::vector<const ModelTensor*> Model::loaded_tensors() const {
  std::vector<const ModelTensor*> result;
  std::set<std::string> seen;
  for (const Segment& segment : segments_) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (!tensor.place->defined() || !seen.insert(identity(tensor)).second) continue;
      result.push_back(&tensor);
    }
  }
  return result;
}

std::map<std::string, at::Tensor> Model::parameters() const {
  std::map<std::string, at::Tensor> parameters;
  for (const ModelTensor* tensor : loaded_tensors()) {
    parameters[tensor->stored.name] = *tensor->place;
  }
  return parameters;
}

std::map<std::string, at::Tensor> Model::stored_parameters() const {
  std::map<std::string, at::Tensor> parameters;
  for (const ModelTensor* tensor : loaded_tensors()) {
    const ExpectedTensor& stored = tensor->stored;
    put_part(stored.part, on_host(tensor->place->detach(), "parameters that are stored"),
             parameters[stored.stored_name()]);
  }
  return parameters;
}

int64_t Model::other_parameters() const {
  std::set<std::string> seen;
  for (const Segment& segment : segments_) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.site != kNoSite) seen.insert(identity(tensor));
    }
  }
  int64_t total = 0;
  for (const Segment& segment : segments_) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.stored.optional && !tensor.is_stored) continue;
      if (seen.insert(identity(tensor)).second)
        total += c10::multiply_integers(tensor.stored.shape);
    }
  }
  return total;
}

}  // namespace quell
