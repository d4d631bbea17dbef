// Everything in the registry on devices whose memory only LibTorch's operations and kernels may
// touch: an operation that mixes devices throws, a pointer that is followed ends the program, and
// results have the bits of the CPU, since it computes them. Every copy to the host is one that
// on_host() counts. Models lie on two devices, which all that works on one has to bear as well.
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "framework/io/safetensors.h"
#include "framework/model/generate.h"
#include "framework/model/placement.h"
#include "framework/model/state_store.h"
#include "framework/quant/device.h"
#include "tests/conformance/uses.h"
#include "tests/support/compare.h"
#include "tests/support/emulated_device.h"
#include "tests/support/equal_bits.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

int64_t counted_copies() {
  int64_t count = 0;
  for (const auto& [purpose, copies] : host_copies()) count += copies.count;
  return count;
}

using Devices = std::vector<at::Device>;

// What is wrong where `work` gives other bits there, or copies without counting.
Violation same_elsewhere(const std::function<at::Tensor(const Devices&)>& work,
                         size_t devices = 2) {
  Devices all = emulated_devices();
  all.resize(devices, all.front());
  const at::Tensor expected = work({at::kCPU});
  const int64_t copied = emulated_traffic().copies_to_host, counted = counted_copies();
  at::Tensor found;
  try {
    found = work(all);
  } catch (const std::exception& error) {
    return std::string(error.what()).substr(0, 300);  // without LibTorch's stack
  }
  const int64_t silent = emulated_traffic().copies_to_host - copied - (counted_copies() - counted);
  if (silent != 0) return fmt::format("{} copies to the host that nobody counts", silent);
  return equal_bits(found, expected)
             ? ""
             : fmt::format("outputs differ by {}", max_difference(found, expected));
}

constexpr const char* kEverySite =
    "{{rules: [{{sites: ['weight:*', 'activation:*'], quantize: true, bits: 6}}, "
    "{{sites: '{}', {}}}]}}";

// The outputs of a small model that is calibrated and quantized so.
at::Tensor quantized_outputs(const fs::path& folder, const std::string& quant,
                             const Devices& devices, int64_t pad_to = 0) {
  QuantizedNetwork network(folder, quant, devices);
  std::vector<Batch> batches =
      read_batches(folder / "inputs.safetensors", {"b4.input_ids"}, pad_to);
  for (Batch& batch : batches) batch.padding_unobserved = pad_to > 0;
  network.calibrate(batches);
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> values;
  for (const bool quantized : {false, true}) {
    for (const auto& [name, output] :
         network.model().forward(batches[0], network.pass(quantized, quantized))) {
      values.push_back(output.reshape({-1}));
    }
  }
  return at::cat(values);
}

// Folders with inputs.
std::vector<std::string> small_models() {
  std::vector<std::string> folders;
  for (const char* parent : {"models", "parity"}) {
    for (const auto& entry : fs::directory_iterator(test_data() / parent)) {
      if (!fs::exists(entry.path() / "inputs.safetensors") ||
          !fs::exists(entry.path() / "config.json")) {
        continue;
      }
      folders.push_back(fs::relative(entry.path(), test_data()).string());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

TEST(EveryModel, RunsElsewhere) {
  int models = 0, divided = 0;
  for (const std::string& folder : small_models()) {
    if (SafetensorsFile(test_data() / folder / "inputs.safetensors").contains("b4.input_ids")) {
      ++models;
      for (const size_t count : {1, 2}) {
        const auto outputs = [&](const Devices& devices) {
          return quantized_outputs(test_data() / folder,
                                   fmt::format(kEverySite, "weight:*", "bits: 6"), devices);
        };
        EXPECT_EQ(same_elsewhere(outputs, count), "") << folder << " on " << count;
      }
      QuantizedNetwork network(test_data() / folder, "{rules: []}");
      const std::vector<size_t> places = share_out(network.model().segments(), 2);
      if (std::count(places.begin(), places.end(), 1) > 0) ++divided;
    }
  }
  EXPECT_GE(models, 20);
  EXPECT_GE(divided, 20);
}

// Neither float nor quantized passes wait for the host or read from it, but for outputs. (BLOOM's
// slopes, MobileBERT's neighbours and the end tokens by which BART classifies are copied to it.)
TEST(EveryPass, LeavesTheHostAlone) {
  for (const char* folder :
       {"parity/outlier_suppression", "parity/outlier_suppression_roberta", "models/distilbert",
        "models/electra", "models/opt", "models/llama", "models/gpt2", "models/gpt_neox"}) {
    QuantizedNetwork network(test_data() / folder, fmt::format(kEverySite, "weight:*", "bits: 6"),
                             {emulated_devices().front()});
    const std::vector<Batch> batches =
        read_batches(test_data() / folder / "inputs.safetensors", {"b4.input_ids"});
    network.calibrate(batches);
    const at::NoGradGuard no_gradients;
    const ModelInput input = network.model().bind(batches[0]);
    for (const bool quantized : {false, true}) {
      const Pass pass = network.pass(quantized, quantized);
      const auto outputs = std::ssize(network.model().forward(input, pass));
      const EmulatedTraffic before = emulated_traffic();
      network.model().forward(input, pass);
      const EmulatedTraffic after = emulated_traffic();
      EXPECT_EQ(after.copies_to_device, before.copies_to_device) << folder << ", " << quantized;
      EXPECT_EQ(after.values_read, before.values_read) << folder << ", " << quantized;
      EXPECT_EQ(after.copies_to_host - before.copies_to_host, outputs) << folder;
    }
  }
}

TEST(PaddingThatObserversDoNotSee, RunsElsewhere) {
  constexpr int64_t kPadTo = 40;
  for (const char* folder : {"models/llama", "parity/outlier_suppression"}) {
    EXPECT_EQ(same_elsewhere([&](const Devices& devices) {
                return quantized_outputs(test_data() / folder,
                                         fmt::format(kEverySite, "weight:*", "bits: 6"), devices,
                                         kPadTo);
              }),
              "")
        << folder;
  }
}

TEST(EveryGranularity, RunsElsewhere) {
  for (const char* settings :
       {"granularity: channel", "granularity: token", "granularity: group, group_size: 8",
        "granularity: feature_groups, groups: 4", "symmetric: true, bits: 4"}) {
    const bool is_grouped = std::string(settings).find("group") != std::string::npos;
    const std::string sites = is_grouped ? "activation:*.ffn.norm" : "activation:*";
    EXPECT_EQ(same_elsewhere([&](const Devices& devices) {
                return quantized_outputs(test_data() / "models/llama",
                                         fmt::format(kEverySite, sites, settings), devices);
              }),
              "")
        << settings;
  }
}

template <class Entry>
Violation quantizes_elsewhere(const Entry& entry, const char* key, const char* sites) {
  return same_elsewhere([&](const Devices& devices) {
    return quantized_outputs(
        test_data() / "parity/outlier_suppression",
        fmt::format(kEverySite, sites, fmt::format("{}: {}", key, entry.name())), devices);
  });
}

TEST(EveryObserver, RunsElsewhere) {
  for (const std::string& name : all_plugins().observers.names()) {
    // Of a weight, too, and of few sites, since some search long.
    EXPECT_EQ(quantizes_elsewhere(all_plugins().observers.get(name), "observer", "*:*.0.ffn.norm"),
              "")
        << name;
  }
}

TEST(EveryQuantizer, RunsElsewhere) {
  for (const std::string& name : all_plugins().quantizers.names()) {
    const char* sites = name == "adaround" ? "weight:*" : "*:*";
    EXPECT_EQ(quantizes_elsewhere(all_plugins().quantizers.get(name), "quantizer", sites), "")
        << name;
  }
}

// With keys and values kept on the device.
TEST(Writing, GivesTheSameTokens) {
  for (const char* folder : {"parity/outlier_suppression_bart_gen", "models/llama"}) {
    for (const int64_t beams : {1, 3}) {
      EXPECT_EQ(same_elsewhere([&](const Devices& devices) {
                  const at::NoGradGuard no_gradients;
                  QuantizedNetwork network(test_data() / folder, "{rules: []}", devices);
                  const Batch batch = read_batches(test_data() / folder / "inputs.safetensors",
                                                   {"b4.input_ids"})[0];
                  GenerationOptions options;
                  options.num_beams = beams;
                  options.max_new_tokens = 8;
                  options.min_new_tokens = 8;
                  options.decoder_start_token_id = 2;
                  options.pad_token_id = 1;
                  options.eos_token_id = {2};
                  std::vector<int64_t> ids;
                  for (const GeneratedSequence& text :
                       generate(network.model(), batch, options, network.pass())) {
                    ids.insert(ids.end(), text.ids.begin(), text.ids.end());
                  }
                  return at::tensor(ids, at::kLong).to(at::kFloat);
                }),
                "")
          << folder << ", " << beams << " beams";
    }
  }
}

// `device: [...], ` of an experiment's model.
std::string device_keys(const Devices& devices) {
  std::vector<std::string> names;
  for (const at::Device device : devices) names.push_back(device.str());
  return fmt::format("device: [{}], ", fmt::join(names, ", "));
}

// Float stage, transform, searches, statistics of outliers, errors of sites, all stages.
TEST(WholeRun, GivesTheSame) {
  const auto logits = [](const Devices& devices) {
    std::string yaml = tokens_experiment();
    yaml.insert(yaml.find("path:"), device_keys(devices) + "engine: libtorch, ");
    yaml.replace(yaml.find("avg_minmax"), 10, "prune_minmax");
    yaml += "pipeline: [gamma_migration, token_wise_clipping]\nrecord: {outliers: {}}\n";
    const Experiment experiment(yaml);
    EXPECT_EQ(experiment.record().device, device_names(devices));
    EXPECT_FALSE(experiment.record().outliers->stages.empty());
    EXPECT_FALSE(experiment.record().linear_errors.empty());
    std::vector<at::Tensor> all;
    for (const Stage stage : {Stage::kFloat, Stage::kWeightsOnly, Stage::kQuantized}) {
      all.push_back(experiment.logits(stage));
    }
    return at::cat(all);
  };
  for (const size_t count : {1, 2}) EXPECT_EQ(same_elsewhere(logits, count), "");
}

// A layer's tensors are copied beside what computes, and states leave a device without room.
TEST(RunByLayer, GivesTheSame) {
  const auto beyond = [] { return host_copies()["states beyond device_memory"].count; };
  for (const int64_t room : {0, 1024}) {
    const auto logits = [&](const Devices& devices) {
      std::string yaml = tokens_experiment();
      yaml.insert(yaml.find("path:"),
                  fmt::format("{}engine: libtorch, by_layer: {{}}, device_memory: {}, ",
                              device_keys(devices), room));
      yaml += "pipeline: [gamma_migration, {by_block: [calibrate]}]\n";
      const Experiment experiment(yaml);
      return at::cat({experiment.logits(Stage::kFloat), experiment.logits(Stage::kQuantized)});
    };
    const EmulatedTraffic before = emulated_traffic();
    const int64_t moved = beyond();
    EXPECT_EQ(same_elsewhere(logits), "");
    const EmulatedTraffic after = emulated_traffic();
    EXPECT_GT(after.copied_aside, before.copied_aside);
    EXPECT_EQ(after.used_here - before.used_here, after.copied_aside - before.copied_aside);
    EXPECT_EQ(beyond() > moved, room == 0);
  }
}

// Of a batch that is put again the earlier state does not count.
TEST(StatesInMemory, ReplaceWhatABatchHad) {
  constexpr int64_t kRoom = 64;
  const auto beyond = [] { return host_copies()["states beyond device_memory"].count; };
  const at::Tensor rows = at::ones({4, 4}).to(emulated_devices().front());  // as much
  const auto states = states_in_memory(2, kRoom);
  const int64_t before = beyond();
  for (int i = 0; i < 3; ++i) states->put(0, {.rows = {rows}, .memory = {}, .outputs = {}});
  EXPECT_EQ(beyond(), before);
  states->put(1, {.rows = {rows}, .memory = {}, .outputs = {}});
  EXPECT_EQ(beyond(), before + 1);
  EXPECT_EQ(states->get(1).rows.values.device(), rows.device());
}

class TransformsElsewhere : public testing::TestWithParam<std::string> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransformsElsewhere);  // there may be none

TEST_P(TransformsElsewhere, GiveTheSame) {
  const TransformEntry& entry = all_plugins().transforms.get(GetParam());
  for (const Use& use : uses_of_transforms()) {
    EXPECT_EQ(
        same_elsewhere([&](const Devices& devices) {
          QuantizedNetwork network(folder_of(use), quant(use), devices);
          run_step(entry, params_for(entry, use), use, network);
          network.calibrate(batches_of(use, use.calibration));
          return at::cat({outputs(use, network, false, false), outputs(use, network, true, true)});
        }),
        "")
        << use.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, TransformsElsewhere,
                         testing::ValuesIn(all_plugins().transforms.names()),
                         [](const auto& test) { return test.param; });

class SolversElsewhere : public testing::TestWithParam<std::string> {};

TEST_P(SolversElsewhere, GiveTheSame) {
  const SolverEntry& entry = all_plugins().solvers.get(GetParam());
  for (const Use& use : uses()) {
    EXPECT_EQ(same_elsewhere([&](const Devices& devices) {
                QuantizedNetwork network(folder_of(use), quant_for(entry, use), devices);
                solve(entry, use, network);
                if (!entry.obeys("gives_parameters_to_all_sites")) {
                  network.calibrate(batches_of(use, use.calibration));
                }
                return outputs(use, network, true, true);
              }),
              "")
        << use.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, SolversElsewhere,
                         testing::ValuesIn(all_plugins().solvers.names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace quell
