#include "solvers/adaround/networks.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <algorithm>
#include <numeric>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "solvers/adaround/pieces.h"

namespace quell {
namespace {

constexpr const char* kPurpose = "adaround";

at::Tensor joined(const std::vector<at::Tensor>& rows) {
  return on_host(rows.size() == 1 ? rows.front() : at::cat(rows), kPurpose);
}

// An operation with its tensors on the host; it must not be looked at any longer than this lives.
class HostOperand {
 public:
  explicit HostOperand(const Operand& operand) {
    std::visit([this](const auto* one) { take(*one); }, operand);
  }
  HostOperand(const HostOperand&) = delete;
  HostOperand& operator=(const HostOperand&) = delete;
  Operand operand() const {
    return std::visit([](const auto& one) { return Operand(&one); }, own_);
  }

 private:
  template <class One>
  void take(One one) {
    one.weight = on_host(one.weight, kPurpose);
    if constexpr (!std::is_same_v<One, EmbeddingTable>) one.bias = on_host(one.bias, kPurpose);
    own_ = std::move(one);
  }

  std::variant<Linear, EmbeddingTable, Norm> own_;
};

// Where the rows of each sequence begin.
std::vector<int64_t> begins_of(const Batch& batch, int64_t rows) {
  if (rows == batch.tokens()) return batch.offsets;
  if (rows == batch.target_tokens()) return batch.target_offsets();
  // One for each sequence, or some that were chosen, each by itself.
  std::vector<int64_t> begins(static_cast<size_t>(rows) + 1);
  std::iota(begins.begin(), begins.end(), 0);
  return begins;
}

// About as much as the states of both networks take.
int64_t state_bytes(const PipelineContext& context) {
  int64_t features = 0, rows = 0;
  for (const Batch& batch : context.calibration) {
    rows += batch.tokens() + (batch.decoder_token_ids.defined() ? batch.target_tokens() : 0);
  }
  for (size_t id = 0; id < context.model.sites().size() && features == 0; ++id) {
    if (context.model.sites()[id].kind == SiteKind::kWeight) {
      features = context.model.weight_shape(static_cast<SiteId>(id)).back();
    }
  }
  return 2 * rows * features * static_cast<int64_t>(sizeof(float));
}

}  // namespace

TwoNetworks::TwoNetworks(PipelineContext& context, bool asymmetric, bool quantize_activations,
                         RowMemory& memory)
    : context_(context),
      asymmetric_(asymmetric),
      quantized_sites_(context.points.calibrated(true, quantize_activations)),
      original_pass_(context.points),
      quantized_pass_(context.points, {.quantize = quantized_sites_}) {
  for (const Batch& batch : context.calibration) inputs_.push_back(context.model.bind(batch));
  if (!memory.take(state_bytes(context))) folder_ = memory.folder();
  original_ = new_states();
  if (asymmetric) quantized_ = new_states();
}

std::unique_ptr<StateStore> TwoNetworks::new_states() const {
  return folder_.empty() ? states_in_memory(batches()) : states_on_disk(batches(), folder_);
}

TwoNetworks::Entered TwoNetworks::entered(const Segment& segment, SiteId weight, size_t batch,
                                          bool quantized) const {
  Entered entered;
  PassOptions options{.inputs = [&](const Operand& operand, const Rows& rows) {
    if (weight_site(operand) != weight) return;
    entered.operand = operand;
    entered.rows.push_back(rows.values.clone());  // the model may overwrite them
  }};
  if (quantized) options.quantize = quantized_sites_;
  State state = quantized ? quantized_state(batch) : original_state(batch);
  segment.run(state, inputs_[batch], Pass(context_.points, std::move(options)));
  return entered;
}

void TwoNetworks::for_each_input(
    const Segment& segment, SiteId weight,
    const std::function<void(const Operand&, const OperationInputs&)>& sink) const {
  // One for each thread: their rows are in memory together.
  const auto at_once = static_cast<size_t>(at::get_num_threads());
  for (size_t first = 0; first < batches(); first += at_once) {
    const size_t count = std::min(at_once, batches() - first);
    std::vector<OperationInputs> found(count);
    std::optional<Operand> operand;
    std::vector<std::optional<Operand>> operands(count);
    for_each_piece(static_cast<int64_t>(count), [&](int64_t i) {
      const size_t batch = first + static_cast<size_t>(i);
      OperationInputs& inputs = found[static_cast<size_t>(i)];
      const Entered original = entered(segment, weight, batch, false);
      if (!original.operand) return;
      inputs.original = joined(original.rows);
      inputs.quantized =
          asymmetric_ ? joined(entered(segment, weight, batch, true).rows) : inputs.original;
      inputs.begins = begins_of(context_.calibration[batch], inputs.original.size(0));
      operands[static_cast<size_t>(i)] = original.operand;
    });
    for (size_t i = 0; i < count; ++i) {
      if (!operands[i]) {
        throw Error(fmt::format("adaround: {} computes nothing in calibration batch {}",
                                context_.model.sites()[static_cast<size_t>(weight)].key(),
                                first + i));
      }
      sink(HostOperand(*operands[i]).operand(), found[i]);
      found[i] = {};
    }
  }
}

void TwoNetworks::advance(const Segment& segment) {
  const auto step = [&](StateStore& states, const Pass& pass, size_t batch) {
    State state = states.take(batch);
    segment.run(state, inputs_[batch], pass);
    states.put(batch, std::move(state));
  };
  for_each_piece(static_cast<int64_t>(batches()), [&](int64_t i) {
    const auto batch = static_cast<size_t>(i);
    step(*original_, original_pass_, batch);
    if (asymmetric_) step(*quantized_, quantized_pass_, batch);
  });
  // Their quantized copies would come to a second model in memory.
  for (const ModelTensor& tensor : segment.tensors) {
    if (tensor.site != kNoSite && context_.points.point(tensor.site) != nullptr) {
      context_.points.weight_changed(tensor.site);
    }
  }
}

}  // namespace quell
