#include "framework/text/tokenizer_class.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/text/tokenizer_files.h"

namespace quell {
namespace {

using enum TokenizerBuild;

struct ClassEntry {
  std::string_view name;  // without "Fast" at its end
  TokenizerBuild build;
  bool has_types;
};

constexpr std::array kClasses = {
    ClassEntry{"BertTokenizer", kBert, true},
    ClassEntry{"ElectraTokenizer", kBert, true},
    ClassEntry{"MobileBertTokenizer", kBert, true},
    ClassEntry{"ConvBertTokenizer", kBert, true},
    ClassEntry{"LxmertTokenizer", kBert, true},
    ClassEntry{"LayoutLMTokenizer", kBert, true},
    ClassEntry{"SqueezeBertTokenizer", kBert, true},
    ClassEntry{"DistilBertTokenizer", kBert, false},
    ClassEntry{"RobertaTokenizer", kRoberta, false},
    ClassEntry{"BartTokenizer", kRoberta, false},
    ClassEntry{"LongformerTokenizer", kRoberta, false},
    ClassEntry{"LEDTokenizer", kRoberta, false},
    ClassEntry{"MvpTokenizer", kRoberta, false},
    ClassEntry{"GPT2Tokenizer", kGpt2, false},
    ClassEntry{"LlamaTokenizer", kLlama, false},
};

// What AutoTokenizer takes for a model when no file names a class. "": as stored.
struct ModelEntry {
  std::string_view model_type, tokenizer_class;
};

constexpr std::array kModels = {
    ModelEntry{"bert", "BertTokenizer"},
    ModelEntry{"distilbert", "BertTokenizer"},
    ModelEntry{"electra", "BertTokenizer"},
    ModelEntry{"convbert", "BertTokenizer"},
    ModelEntry{"squeezebert", "BertTokenizer"},
    ModelEntry{"layoutlm", "BertTokenizer"},
    ModelEntry{"mobilebert", "BertTokenizer"},
    ModelEntry{"megatron-bert", "BertTokenizer"},
    ModelEntry{"roberta", "RobertaTokenizer"},
    ModelEntry{"bart", "RobertaTokenizer"},
    ModelEntry{"longformer", "RobertaTokenizer"},
    ModelEntry{"gpt2", "GPT2Tokenizer"},
    ModelEntry{"gpt_neo", "GPT2Tokenizer"},
    ModelEntry{"gptj", "GPT2Tokenizer"},
    ModelEntry{"opt", "GPT2Tokenizer"},
    ModelEntry{"bloom", ""},
    ModelEntry{"llama", ""},
};

// Models for which AutoTokenizer takes tokenizer.json as it is, whatever the files say.
constexpr std::array<std::string_view, 4> kAlwaysAsStored = {"mistral", "mixtral", "phi3",
                                                             "modernbert"};

// Classes of transformers 5.24 that build in ways of their own.
constexpr std::array<std::string_view, 87> kOtherBuilds = {"AlbertTokenizer",
                                                           "BarthezTokenizer",
                                                           "BartphoTokenizer",
                                                           "BertGenerationTokenizer",
                                                           "BertJapaneseTokenizer",
                                                           "BertTokenizerLegacy",
                                                           "BertweetTokenizer",
                                                           "BigBirdTokenizer",
                                                           "BioGptTokenizer",
                                                           "BlenderbotSmallTokenizer",
                                                           "BlenderbotTokenizer",
                                                           "ByT5Tokenizer",
                                                           "CLIPTokenizer",
                                                           "CTRLTokenizer",
                                                           "CamembertTokenizer",
                                                           "CanineTokenizer",
                                                           "ClvpTokenizer",
                                                           "CodeGenTokenizer",
                                                           "CodeLlamaTokenizer",
                                                           "CohereTokenizer",
                                                           "CpmAntTokenizer",
                                                           "CpmTokenizer",
                                                           "DPRContextEncoderTokenizer",
                                                           "DPRQuestionEncoderTokenizer",
                                                           "DPRReaderTokenizer",
                                                           "DebertaTokenizer",
                                                           "DebertaV2Tokenizer",
                                                           "DiaTokenizer",
                                                           "EsmTokenizer",
                                                           "EsmcTokenizer",
                                                           "FNetTokenizer",
                                                           "FSMTTokenizer",
                                                           "FastSpeech2ConformerTokenizer",
                                                           "FlaubertTokenizer",
                                                           "FunnelTokenizer",
                                                           "GPTNeoXJapaneseTokenizer",
                                                           "GPTNeoXTokenizer",
                                                           "GPTSw3Tokenizer",
                                                           "GemmaTokenizer",
                                                           "HerbertTokenizer",
                                                           "LasrTokenizer",
                                                           "LayoutLMv2Tokenizer",
                                                           "LayoutLMv3Tokenizer",
                                                           "LayoutXLMTokenizer",
                                                           "LukeTokenizer",
                                                           "M2M100Tokenizer",
                                                           "MBart50Tokenizer",
                                                           "MBartTokenizer",
                                                           "MLukeTokenizer",
                                                           "MPNetTokenizer",
                                                           "MarianTokenizer",
                                                           "MarkupLMTokenizer",
                                                           "MgpstrTokenizer",
                                                           "MistralCommonBackend",
                                                           "MyT5Tokenizer",
                                                           "NllbTokenizer",
                                                           "NougatTokenizer",
                                                           "OpenAIGPTTokenizer",
                                                           "PLBartTokenizer",
                                                           "PegasusTokenizer",
                                                           "PerceiverTokenizer",
                                                           "PhobertTokenizer",
                                                           "Pop2PianoTokenizer",
                                                           "ProphetNetTokenizer",
                                                           "Qwen2Tokenizer",
                                                           "Qwen3_5Tokenizer",
                                                           "ReformerTokenizer",
                                                           "RemBertTokenizer",
                                                           "RoCBertTokenizer",
                                                           "RoFormerTokenizer",
                                                           "SeamlessM4TTokenizer",
                                                           "Siglip2Tokenizer",
                                                           "SiglipTokenizer",
                                                           "Speech2TextTokenizer",
                                                           "SpeechT5Tokenizer",
                                                           "SplinterTokenizer",
                                                           "T5Tokenizer",
                                                           "TapasTokenizer",
                                                           "UdopTokenizer",
                                                           "VitsTokenizer",
                                                           "Wav2Vec2CTCTokenizer",
                                                           "Wav2Vec2PhonemeCTCTokenizer",
                                                           "WhisperTokenizer",
                                                           "XGLMTokenizer",
                                                           "XLMRobertaTokenizer",
                                                           "XLMTokenizer",
                                                           "XLNetTokenizer"};

std::string_view without_fast(std::string_view name) {
  if (name != "PreTrainedTokenizerFast" && name.ends_with("Fast")) name.remove_suffix(4);
  return name;
}

const ClassEntry* find_class(std::string_view name) {
  const auto found = std::find_if(kClasses.begin(), kClasses.end(),
                                  [&](const ClassEntry& entry) { return entry.name == name; });
  return found == kClasses.end() ? nullptr : &*found;
}

// LLaMA 3 names LLaMA's class, but is spelled in bytes. And where tokenizer.model of SentencePiece
// stands beside tokenizer.json, the model was trained with these two, which agree; what release 5
// of transformers makes of the class differs from them in texts that begin with a blank.
bool is_llama_as_stored(const TokenizerSettings& settings) {
  const auto file = settings.folder() / "tokenizer.json";
  return file_exists(file) && (file_exists(settings.folder() / "tokenizer.model") ||
                               read_file(file).find("\"ByteLevel\"") != std::string::npos);
}

// What transformers takes for a model without a class in the files.
std::optional<std::string> class_of_model(const TokenizerSettings& settings) {
  const auto type = settings.model_type();
  if (!type) return std::nullopt;
  const auto found = std::find_if(kModels.begin(), kModels.end(), [&](const ModelEntry& entry) {
    return entry.model_type == *type;
  });
  if (found == kModels.end()) return std::nullopt;
  return std::string(found->tokenizer_class);
}

}  // namespace

TokenizerClass choose_tokenizer_class(const TokenizerSettings& settings) {
  const auto type = settings.model_type();
  if (type &&
      std::find(kAlwaysAsStored.begin(), kAlwaysAsStored.end(), *type) != kAlwaysAsStored.end()) {
    return {"TokenizersBackend", kAsStored, false};
  }
  const auto stated = settings.tokenizer_class();
  const auto name = stated ? stated : class_of_model(settings);
  if (!name) return {"", kAsStored, !type};  // a model that transformers does not know has no types
  const std::string_view plain = without_fast(*name);
  if (const ClassEntry* entry = find_class(plain)) {
    if (entry->build == kLlama && is_llama_as_stored(settings)) return {*name, kAsStored, false};
    return {*name, entry->build, entry->has_types};
  }
  if (std::find(kOtherBuilds.begin(), kOtherBuilds.end(), plain) != kOtherBuilds.end()) {
    throw DataError(fmt::format(
        "{}: tokenizer_class: \"{}\" is not supported: transformers builds it in a way of its own; "
        "where tokenizer.json says everything, set tokenizer_class to PreTrainedTokenizerFast",
        (settings.folder() / "tokenizer_config.json").string(), *name));
  }
  return {name->empty() ? "TokenizersBackend" : *name, kAsStored, false};
}

}  // namespace quell
