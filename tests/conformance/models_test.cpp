// The laws of models, on everything in the registry. A new model needs a line in kSmallModels.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <set>

#include "framework/io/safetensors.h"
#include "tests/conformance/laws.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using Entry = ModelRegistry::Entry;

// A small checkpoint with golden logits: inputs.safetensors has b4.input_ids, and
// logits.safetensors has those of the Hugging Face implementation: fp.logits [batches, sequences,
// labels], or, of a model with outputs per token, fp.token_logits [tokens, vocabulary] of b4.
struct SmallModel {
  const char* name;
  const char* folder;
};
constexpr SmallModel kSmallModels[] = {{"bert", "parity/outlier_suppression"},
                                       {"roberta", "parity/outlier_suppression_roberta"},
                                       {"bart", "parity/outlier_suppression_bart_cls"},
                                       {"distilbert", "models/distilbert"},
                                       {"electra", "models/electra"},
                                       {"electra", "models/electra_small"},
                                       {"mobilebert", "models/mobilebert"},
                                       {"llama", "models/llama"},
                                       {"opt", "models/opt"},
                                       {"gpt2", "models/gpt2"},
                                       {"bloom", "models/bloom"},
                                       {"gpt_neox", "models/gpt_neox"}};

constexpr const char* kEverySite =
    "{rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 8}]}";

Batch batch_of(const std::filesystem::path& folder) {
  return read_batches(folder / "inputs.safetensors", {"b4.input_ids"})[0];
}

Violation golden_logits(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  const at::Tensor found = network.logits(batch_of(folder), false, false);
  const SafetensorsFile goldens(folder / "logits.safetensors");
  const bool per_token = network.model().output_rows() == RowsOf::kTargets;
  const at::Tensor golden =
      per_token ? goldens.read("fp.token_logits") : goldens.read("fp.logits")[4];
  const double difference = max_difference(found, golden);
  return difference <= float_tolerance(golden) ? ""
                                               : fmt::format("logits differ by {}", difference);
}

// With every site ready to quantize, and all of them switched off.
Violation nothing_on_is_float(const fs::path& folder) {
  const Batch batch = batch_of(folder);
  QuantizedNetwork plain(folder, "{rules: []}"), ready(folder, kEverySite);
  ready.calibrate({&batch, 1});
  return equal_bits(ready.logits(batch, false, false), plain.logits(batch, false, false))
             ? ""
             : "logits differ although nothing is switched on";
}

Violation sites_are_named_once(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  std::vector<std::string> names;
  for (const Site& site : network.model().sites()) {
    names.push_back(site.key());
    for (const auto& [source, name] : site.published_names) names.push_back(source + " " + name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? "" : *twice + " names two sites";
}

// A site that is quantized alone, coarsely, must show in the logits: weights at the tensors that
// the model really uses, activations at the rows that it really passes on.
Violation every_site_matters(const fs::path& folder) {
  const Batch batch = batch_of(folder);
  QuantizedNetwork reference(folder, "{rules: []}");
  const at::Tensor plain = reference.logits(batch, false, false);
  return first_violation(reference.model().sites(), [&](const Site& site) -> Violation {
    QuantizedNetwork network(
        folder, fmt::format("{{rules: [{{sites: '{}', quantize: true, bits: 2}}]}}", site.key()));
    network.calibrate({&batch, 1});
    return equal_bits(network.logits(batch, true, true), plain)
               ? site.key() + " can be quantized without any effect"
               : "";
  });
}

Violation every_activation_is_reached_once(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  std::vector<int> reached(network.model().sites().size(), 0);
  network.logits(
      batch_of(folder), false, false,
      [&](SiteId id, const at::Tensor&, const at::Tensor&) { ++reached[static_cast<size_t>(id)]; });
  for (size_t id = 0; id < reached.size(); ++id) {
    const Site& site = network.model().sites()[id];
    const int expected = site.kind == SiteKind::kActivation ? 1 : 0;
    if (reached[id] != expected)
      return fmt::format("{} is reached {} times", site.key(), reached[id]);
  }
  return "";
}

Violation sequences_are_independent(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  const Batch together = batch_of(folder);
  const bool per_token = network.model().output_rows() == RowsOf::kTargets;
  const at::Tensor expected = network.logits(together, false, false);
  for (int64_t i = 0; i < together.sequences(); ++i) {
    const int64_t* ids = together.token_ids.const_data_ptr<int64_t>();
    const int64_t* types = together.segment_ids.const_data_ptr<int64_t>();
    const int64_t begin = together.offsets[i], end = together.offsets[i + 1];
    const TokenSequence alone{{ids + begin, ids + end}, {types + begin, types + end}};
    const at::Tensor found = network.logits(pack({&alone, 1}), false, false);
    const at::Tensor row = per_token ? expected.slice(0, begin, end) : expected.slice(0, i, i + 1);
    if (max_difference(found, row) > float_tolerance(row)) {
      return fmt::format("sequence {} alone gives other logits", i);
    }
  }
  return "";
}

// Each site belongs to the segment that runs it, and a segment leaves the state that it is given
// as it was: searches resume from states that they kept.
Violation segments_run_their_sites(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  const auto& segments = network.model().segments();
  if (segments.empty() || segments[0].first_site != 0) return "site 0 belongs to no segment";
  const ModelInput input = network.model().bind(batch_of(folder));
  const at::NoGradGuard no_gradients;
  State state;
  for (size_t i = 0; i < segments.size(); ++i) {
    const SiteId end = i + 1 < segments.size()
                           ? segments[i + 1].first_site
                           : static_cast<SiteId>(network.model().sites().size());
    std::string outside;
    const Pass pass =
        network.pass(false, false, [&](SiteId id, const at::Tensor&, const at::Tensor&) {
          if (id < segments[i].first_site || id >= end) outside = network.model().sites()[id].key();
        });
    const at::Tensor rows = state.rows.values;
    const at::Tensor before = rows.defined() ? rows.clone() : rows;
    segments[i].run(state, input, pass);
    if (!outside.empty()) return segments[i].name + " runs " + outside + ", which is not its own";
    if (rows.defined() && !equal_bits(rows, before)) {
      return segments[i].name + " writes into the rows that it is given";
    }
  }
  return "";
}

// A factor that leaves what makes rows has to be undone by what the graph says reads them.
Violation scale_groups_are_complete(const fs::path& folder) {
  QuantizedNetwork reference(folder, "{rules: []}");
  const at::Tensor plain = reference.logits(batch_of(folder), false, false);
  for (size_t i = 0; i < reference.model().graph().groups.size(); ++i) {
    QuantizedNetwork network(folder, "{rules: []}");
    ScaleGroup& group = network.model().graph().groups[i];
    std::vector<at::Tensor> makers;
    if (group.norm != nullptr) makers = {group.norm->weight, group.norm->bias};
    for (Linear* producer : group.producers) {
      makers.insert(makers.end(), {producer->weight, producer->bias});
    }
    for (at::Tensor& maker : makers) {
      if (maker.defined()) maker.mul_(2);
    }
    for (Linear* reader : group.readers) reader->weight.mul_(0.5);
    for (Shortcut* shortcut : group.shortcuts) {
      shortcut->scale = at::full({group.readers.at(0)->weight.size(1)}, 0.5);
    }
    const double moved = max_difference(network.logits(batch_of(folder), false, false), plain);
    if (moved > float_tolerance(plain)) {
      return fmt::format("a factor between {} and its readers moves logits by {}",
                         network.model().sites()[static_cast<size_t>(group.site)].name, moved);
    }
  }
  return "";
}

// What a search may compare is what the network has: a group's local output, from the rows of its
// site, is that of the last site that it runs, and so is what its readers' outputs are combined to.
Violation local_outputs_are_the_networks(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  Model& model = network.model();
  const ModelInput input = model.bind(batch_of(folder));
  const at::NoGradGuard no_gradients;
  std::map<SiteId, at::Tensor> rows;
  const Pass pass = network.pass(
      false, false,
      [&](SiteId id, const at::Tensor& before, const at::Tensor&) { rows[id] = before.clone(); });
  State state;
  std::vector<State> states;  // in front of each segment
  for (const Segment& segment : model.segments()) {
    states.push_back(state);
    segment.run(state, input, pass);
  }
  const auto check = [&](const ScaleGroup& group, const LocalOutput& output) -> Violation {
    size_t index = states.size() - 1;  // of the segment that reads the rows
    while (model.segments()[index].first_site > group.readers.at(0)->weight_site) --index;
    SiteId last = kNoSite;
    const Pass local = network.pass(
        false, false, [&](SiteId id, const at::Tensor&, const at::Tensor&) { last = id; });
    const at::Tensor found = output({rows.at(group.site)}, states[index], input, local).values;
    const std::string& name = model.sites()[static_cast<size_t>(group.site)].name;
    if (last == kNoSite) return "the local output of " + name + " runs no site";
    if (max_difference(found, rows.at(last)) <= float_tolerance(rows.at(last))) return "";
    return fmt::format("the local output of {} is not what {} has", name,
                       model.sites()[static_cast<size_t>(last)].name);
  };
  bool found_one = false;
  for (const ScaleGroup& group : model.graph().groups) {
    if (!group.local) continue;
    found_one = true;
    if (Violation violation = check(group, group.local); !violation.empty()) return violation;
    if (!group.combined) continue;
    if (Violation violation = check(group, group.combined); !violation.empty()) return violation;
  }
  return found_one ? "" : "no group has a local output";
}

Violation size_counts_every_parameter(const fs::path& folder) {
  QuantizedNetwork network(folder, "{rules: []}");
  const SafetensorsFile file(folder / "model.safetensors");
  int64_t stored = 0, counted = network.model().other_parameters();
  for (const std::string& name : file.names()) stored += file.read(name).numel();
  std::set<const void*> seen;  // several sites may share a tied table
  for (size_t id = 0; id < network.model().sites().size(); ++id) {
    if (network.model().sites()[id].kind != SiteKind::kWeight) continue;
    const at::Tensor& weight = network.model().weight(static_cast<SiteId>(id));
    if (seen.insert(weight.const_data_ptr()).second) counted += weight.numel();
  }
  return counted == stored ? "" : fmt::format("{} parameters, the file has {}", counted, stored);
}

class ModelLaws : public testing::TestWithParam<SmallModel> {};

TEST_P(ModelLaws, Hold) {
  const fs::path folder = test_data() / GetParam().folder;
  const auto on_folder = [&](Violation (*law)(const fs::path&)) {
    return [=](const Entry&) { return law(folder); };
  };
  expect_laws<Entry>(
      all_plugins().models.get(GetParam().name),
      {{"golden_logits", on_folder(golden_logits)},
       {"nothing_on_is_float", on_folder(nothing_on_is_float)},
       {"sites_are_named_once", on_folder(sites_are_named_once)},
       {"every_site_matters", on_folder(every_site_matters)},
       {"every_activation_is_reached_once", on_folder(every_activation_is_reached_once)},
       {"sequences_are_independent", on_folder(sequences_are_independent)},
       {"segments_run_their_sites", on_folder(segments_run_their_sites)},
       {"scale_groups_are_complete", on_folder(scale_groups_are_complete)},
       {"local_outputs_are_the_networks", on_folder(local_outputs_are_the_networks)},
       {"size_counts_every_parameter", on_folder(size_counts_every_parameter)}});
}

INSTANTIATE_TEST_SUITE_P(Small, ModelLaws, testing::ValuesIn(kSmallModels), [](const auto& test) {
  return fs::path(test.param.folder).filename().string();
});

TEST(SmallModels, CoverTheRegistry) {
  for (const std::string& name : all_plugins().models.names()) {
    EXPECT_TRUE(std::any_of(std::begin(kSmallModels), std::end(kSmallModels),
                            [&](const SmallModel& model) { return name == model.name; }))
        << "model " << name << " has no small checkpoint in kSmallModels";
  }
}

}  // namespace
}  // namespace quell
