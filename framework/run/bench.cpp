#include "framework/run/bench.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/model/decoding.h"
#include "framework/model/make_step.h"
#include "framework/run/generation_defaults.h"
#include "framework/run/threads.h"
#include "framework/run/timed.h"

namespace quell {
namespace {

std::unique_ptr<Model> make_model(const ModelOptions& options, const Checkpoint& checkpoint,
                                  const Plugins& plugins) {
  std::string type = options.type;
  if (type.empty()) {
    const auto found = checkpoint.config().find("model_type");
    if (found == checkpoint.config().end() || !found->is_string()) {
      throw DataError(fmt::format("{}: no \"model_type\"; name the model with model.type",
                                  (checkpoint.folder() / "config.json").string()));
    }
    type = found->get<std::string>();
  }
  return ModelChoice(plugins.models, type).create(checkpoint);
}

std::unique_ptr<const Engine> make_engine(const ExperimentSpec& spec, const Plugins& plugins) {
  const auto& chosen = spec.model.engine;
  return chosen ? chosen->create() : EngineChoice(plugins.engines, engine_of(spec)).create();
}

std::unique_ptr<Tokenizer> find_tokenizer(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "vocab.txt", "vocab.json"}) {
    if (std::filesystem::exists(folder / name)) return load_tokenizer(folder);
  }
  return nullptr;
}

std::unique_ptr<const Checkpoint> open_checkpoint(const ExperimentSpec& spec) {
  auto checkpoint = std::make_unique<Checkpoint>(spec.model.path, WeightFiles::kOptional);
  if (spec.model.head == ModelHead::kQuestionAnswering) {
    checkpoint->start_head({"ForQuestionAnswering", "qa_outputs.", spec.seed});
  }
  return checkpoint;
}

TaskContext task_context(const Bench& bench) {
  const Model& model = *bench.model;
  TaskContext context;
  context.tokenizer = bench.tokenizer.get();
  context.model_config = &bench.checkpoint->config();
  context.pad_id = model.pad_id();
  context.max_positions = model.max_positions();
  context.vocabulary_size = model.vocabulary_size();
  context.is_language_model = is_decoder(model);
  if (!model.writes_text()) return context;
  const bool needs_start = !context.is_language_model;
  try {
    context.generation = generation_defaults(*bench.checkpoint, model.max_positions(), needs_start);
  } catch (const DataError& error) {
    // Most tasks of a decoder write nothing: only one that does has to mind.
    if (needs_start) throw;
    bench.checkpoint->note(fmt::format("this model cannot write texts: {}", error.what()));
  }
  return context;
}

}  // namespace

Bench load_bench(const ExperimentSpec& spec, const Plugins& plugins, Log& log) {
  at::set_num_threads(static_cast<int>(spec.threads > 0 ? spec.threads : all_threads()));
  Bench bench{.spec = spec};
  bench.loading = timed("load", [&] {
    bench.checkpoint = open_checkpoint(spec);
    bench.model = make_model(spec.model, *bench.checkpoint, plugins);
    bench.engine = make_engine(spec, plugins);
    if (bench.checkpoint->has_weights()) bench.tensors = bench.model->match(*bench.checkpoint);
    bench.tokenizer = find_tokenizer(spec.model.path);
    const TaskContext context = task_context(bench);
    for (const std::string& note : bench.checkpoint->notes()) log.info(note);
    bench.task = spec.task.create(context);
  });
  if (bench.tokenizer) {
    for (const std::string& note : bench.tokenizer->notes()) log.info(note);
  }
  log_notes(bench, log);
  Problems problems;
  bench.plan = plan_sites(bench.model->sites(), spec.quant.rules, plugins, problems);
  problems.throw_if_any();
  for (const StepChoice& step : spec.pipeline) {
    make_step(step)->check(*bench.model, bench.task->training());
  }
  if (spec.record.outliers) {  // its patterns should match something
    static_cast<void>(OutlierRecorder(*spec.record.outliers, bench.model->sites()));
  }
  return bench;
}

void log_notes(Bench& bench, Log& log) {
  const std::vector<std::string> notes = bench.task->notes();
  for (; bench.notes_logged < notes.size(); ++bench.notes_logged) {
    log.info(notes[bench.notes_logged]);
  }
}

}  // namespace quell
