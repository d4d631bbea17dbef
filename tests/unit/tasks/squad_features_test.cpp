#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "squad_goldens.h"
#include "tasks/data/squad_training.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const Tokenizer& bert() {
  static const auto tokenizer = load_tokenizer(test_data("tokenizers/bert"));
  return *tokenizer;
}

SquadExample example(const std::string& question, const std::string& context,
                     const std::string& answer, int64_t start) {
  SquadExample result;
  result.id = "q1";
  result.question = question;
  result.context = context;
  result.answers = {{answer, start}};
  return result;
}

// The features of the goldens are padded.
void expect_feature(const SquadFeature& feature, const std::vector<int64_t>& ids,
                    const std::vector<int64_t>& types, const std::vector<int64_t>& offsets) {
  ASSERT_LE(feature.sequence.ids.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool real = i < feature.sequence.ids.size();
    ASSERT_EQ(real ? feature.sequence.ids[i] : 0, ids[i]) << i;
    ASSERT_EQ(real ? feature.sequence.segment_ids[i] : 0, types[i]) << i;
    ASSERT_EQ(real ? feature.offsets[i].first : -1, offsets[2 * i]) << i;
    ASSERT_EQ(real ? feature.offsets[i].second : -1, offsets[2 * i + 1]) << i;
  }
}

TEST(SquadFeatures, AreThoseOfTheGoldens) {
  for (const auto& folder : golden_folders()) {
    const SquadGoldens goldens(folder);
    for (const WindowSetting& setting : kWindowSettings) {
      SCOPED_TRACE(folder.string() + " " + setting.name);
      const auto features = squad_features(bert(), goldens.data.examples, setting.windows);
      const auto rows = [&](const std::string& name) {
        return integer_rows(goldens.tensors.read(setting.name + ("." + name)));
      };
      const auto ids = rows("input_ids"), types = rows("token_type_ids"), offsets = rows("offsets");
      const auto examples = rows("example_index");
      const auto starts = rows("start_positions"), ends = rows("end_positions");
      ASSERT_EQ(features.size(), ids.size());
      for (size_t i = 0; i < ids.size(); ++i) {
        expect_feature(features[i], ids[i], types[i], offsets[i]);
        EXPECT_EQ(features[i].example, examples[i][0]);
        EXPECT_EQ(features[i].start_position, starts[i][0]) << i;
        EXPECT_EQ(features[i].end_position, ends[i][0]) << i;
      }
    }
  }
  if (golden_folders().size() == 1) GTEST_SKIP() << "../shared is not there: excerpt only";
}

TEST(SquadFeatures, LabelsTheLastTokenOfAWindow) {
  const auto examples = {example("who?", "it was bob", "bob", 7)};
  const auto features = squad_features(bert(), examples, {32, 4});
  ASSERT_EQ(features.size(), 1u);
  // [CLS] who ? [SEP] it was bob [SEP]
  EXPECT_EQ(features[0].start_position, 6);
  EXPECT_EQ(features[0].end_position, 6);
}

TEST(SquadFeatures, ByteLevelTokenizersWork) {
  const auto tokenizer = load_tokenizer(test_data("tokenizers/byte_level"));
  // The answer begins behind signs of two and four bytes.
  const std::string context = "caf\u00e9 \U0001F600 closes at noon";
  const auto examples = {example("  when?", context, "noon", 17)};
  const auto features = squad_features(*tokenizer, examples, {64, 8});
  ASSERT_EQ(features.size(), 1u);
  const SquadFeature& feature = features[0];
  EXPECT_EQ(feature.offsets[feature.start_position].first, 17);
  EXPECT_EQ(feature.offsets[feature.end_position].second, 21);
  EXPECT_EQ(feature.offsets.front(), std::pair(-1, -1));
  EXPECT_EQ(feature.offsets.back(), std::pair(-1, -1));
  const auto plain = {example("when?", context, "noon", 17)};
  EXPECT_EQ(squad_features(*tokenizer, plain, {64, 8})[0].sequence.ids, feature.sequence.ids);
}

TEST(SquadFeatures, AnEmptyContextHasOneWindow) {
  const auto examples = {example("who?", "", "bob", 0)};
  const auto features = squad_features(bert(), examples, {32, 4});
  ASSERT_EQ(features.size(), 1u);
  EXPECT_EQ(features[0].sequence.ids.size(), 5u);  // [CLS] who ? [SEP] [SEP]
  EXPECT_EQ(features[0].start_position, 0);
}

TEST(SquadFeatures, RefusesWhatLeavesNoRoom) {
  const std::string words = "one two three four five six seven eight nine ten";
  const auto long_question = {example(words, words, "one", 0)};
  EXPECT_THAT(
      message_of<DataError>([&] {
        squad_features(bert(), long_question, {12, 2});
      }),
      AllOf(HasSubstr("question q1"), HasSubstr("max_length 12"), HasSubstr("doc_stride 2")));
  // Room for 6 tokens of the context, of which 6 are shared.
  const auto short_question = {example("who?", words, "one", 0)};
  EXPECT_THAT(message_of<DataError>([&] {
                squad_features(bert(), short_question, {11, 6});
              }),
              AllOf(HasSubstr("question q1"), HasSubstr("lower doc_stride")));
}

TEST(SquadTraining, PacksWindowsWithTheirAnswers) {
  int reads = 0;
  SquadTrainingData training(
      [&] {
        ++reads;
        return squad_features(bert(),
                              std::vector{example("who?", "it was bob", "bob", 7),
                                          example("who?", "ann it was", "ann", 0)},
                              {32, 4});
      },
      8);
  EXPECT_EQ(reads, 0);
  EXPECT_EQ(training.examples(), 2);
  const Batch batch = training.batch(std::vector<int64_t>{1, 0});
  EXPECT_EQ(reads, 1);
  EXPECT_THAT(batch.offsets, ElementsAre(0, 8, 16));
  EXPECT_THAT(integer_rows(batch.start_positions), ElementsAre(ElementsAre(4), ElementsAre(6)));
  EXPECT_THAT(integer_rows(batch.end_positions), ElementsAre(ElementsAre(4), ElementsAre(6)));
}

}  // namespace
}  // namespace quell
