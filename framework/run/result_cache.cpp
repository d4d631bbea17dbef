#include "framework/run/result_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/safetensors.h"
#include "framework/io/sha256.h"

namespace quell {

namespace fs = std::filesystem;
using nlohmann::json;

// Texts need not be UTF-8.
static json bytes_of(const std::string& text) { return json::binary({text.begin(), text.end()}); }

static std::string text_from(const json& bytes) {
  const auto& binary = bytes.get_binary();
  return {binary.begin(), binary.end()};
}

// CBOR holds every number as it is, NaN and infinity too.
static void to_json(json& node, const Prediction& prediction) {
  node = {{"set", prediction.set},
          {"index", prediction.index},
          {"id", prediction.id},
          {"outputs", prediction.outputs},
          {"hashes", prediction.hashes}};
  if (prediction.label) node["label"] = *prediction.label;
  if (prediction.text) node["text"] = bytes_of(*prediction.text);
  for (const std::string& text : prediction.more_texts) node["more"].push_back(bytes_of(text));
  for (const RankedText& one : prediction.nbest) {
    node["nbest"].push_back({{"text", bytes_of(one.text)}, {"numbers", one.numbers}});
  }
}

static void from_json(const json& node, Prediction& prediction) {
  node.at("set").get_to(prediction.set);
  node.at("index").get_to(prediction.index);
  node.at("id").get_to(prediction.id);
  node.at("outputs").get_to(prediction.outputs);
  node.at("hashes").get_to(prediction.hashes);
  if (node.contains("label")) prediction.label = node.at("label").get<double>();
  if (node.contains("text")) prediction.text = text_from(node.at("text"));
  for (const json& text : node.value("more", json::array())) {
    prediction.more_texts.push_back(text_from(text));
  }
  for (const json& one : node.value("nbest", json::array())) {
    prediction.nbest.push_back(
        {text_from(one.at("text")), one.at("numbers").get<std::map<std::string, float>>()});
  }
}

static void to_json(json& node, const GeneratedSequence& sequence) {
  node = {{"ids", sequence.ids}, {"score", sequence.score}};
}

static void from_json(const json& node, GeneratedSequence& sequence) {
  node.at("ids").get_to(sequence.ids);
  node.at("score").get_to(sequence.score);
}

namespace {

void write(const fs::path& file, const json& value) {
  fs::create_directories(file.parent_path());
  const std::vector<uint8_t> bytes = json::to_cbor(value);
  write_file(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

template <class Value>
std::optional<Value> read(const fs::path& file, const std::function<Value(const json&)>& convert) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    return convert(json::from_cbor(read_file(file)));
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: a damaged entry of the cache ({}); delete the file",
                                file.string(), error.what()));
  }
}

// What the network is given, with the order of the sequences.
std::string text_of(const Batch& batch) {
  const at::Tensor ids = batch.token_ids.contiguous();
  return fmt::format(
      "lengths {} padded {} ids {}", fmt::join(batch.offsets, ","), batch.pad_to,
      fmt::join(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel(), ","));
}

}  // namespace

fs::path ResultCache::entry(const std::string& origin, const char* ending) const {
  return folder_ / (sha256_of_text(origin) + ending);
}

std::optional<Evaluation> ResultCache::evaluation(const std::string& origin) const {
  if (!enabled()) return std::nullopt;
  return read<Evaluation>(entry(origin, ".evaluation"), [](const json& node) {
    return Evaluation{node.at("metrics").get<Metrics>(),
                      node.at("predictions").get<std::vector<Prediction>>()};
  });
}

void ResultCache::keep(const std::string& origin, const Evaluation& evaluation) const {
  if (!enabled()) return;
  write(entry(origin, ".evaluation"),
        {{"metrics", evaluation.metrics}, {"predictions", evaluation.predictions}});
}

Generate ResultCache::cached(const std::string& origin, Generate generate) const {
  if (!enabled() || generate == nullptr) return generate;
  using Sequences = std::vector<GeneratedSequence>;
  return [this, origin, generate = std::move(generate)](
             const Batch& batch, const GenerationOptions& options) -> Sequences {
    const fs::path file = entry(origin + text_of(batch), ".sequences");
    auto known = read<Sequences>(file, [](const json& node) { return node.get<Sequences>(); });
    if (known) return std::move(*known);
    Sequences sequences = generate(batch, options);
    write(file, sequences);
    return sequences;
  };
}

std::optional<NamedTensors> ResultCache::tensors(const std::string& origin) const {
  const fs::path file = entry(origin, ".safetensors");
  if (!enabled() || !fs::exists(file)) return std::nullopt;
  const SafetensorsFile stored(file);
  NamedTensors tensors;
  for (const std::string& name : stored.names()) tensors[name] = stored.read(name);
  return tensors;
}

void ResultCache::keep(const std::string& origin, const NamedTensors& tensors) const {
  if (!enabled()) return;
  fs::create_directories(folder_);
  write_safetensors(entry(origin, ".safetensors"), {tensors.begin(), tensors.end()});
}

void ResultCache::fetch_progress(const std::string& origin, const fs::path& file) const {
  const fs::path stored = entry(origin, ".progress");
  if (!enabled() || !fs::exists(stored)) return;
  fs::create_directories(file.parent_path());
  copy_atomically(stored, file);
}

void ResultCache::keep_progress(const std::string& origin, const fs::path& file) const {
  const fs::path stored = entry(origin, ".progress");
  if (!enabled() || !fs::exists(file) || fs::exists(stored)) return;
  fs::create_directories(folder_);
  copy_atomically(file, stored);
}

}  // namespace quell
