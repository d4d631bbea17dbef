#include "tasks/data/choice_items.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "support.h"
#include "tasks/data/prompt_template.h"
#include "tasks/data/wikitext.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ChoiceItems : public testing::Test {
 protected:
  ChoiceData read(const std::string& name, const std::vector<json>& rows,
                  const ChoiceTemplates& templates = {}) {
    std::string text;
    for (const json& row : rows) text += row.dump() + "\n";
    return read_choices(folder_.write("items.jsonl", text), {name, templates, {}, ""});
  }
  std::string error(const std::string& name, const json& row,
                    const ChoiceTemplates& templates = {}) {
    return message_of<DataError>([&] { read(name, {row}, templates); });
  }
  TemporaryFolder folder_;
};

TEST_F(ChoiceItems, HellaSwagIsCleanedInTheOrderOfTheHarness) {
  const auto item = read("hellaswag", {{{"activity_label", "Garden"},
                                        {"ctx_a", " [header] Trees [title] Dig [step] a  hole."},
                                        {"ctx_b", "\u00e9VA Digs"},
                                        {"endings", {" one [x]  two", "[a\nb] three", "four]"}},
                                        {"label", "2"}}})
                        .items.at(0);
  // " [title]" becomes a full stop before brackets go; each pair of blanks becomes one, so that two
  // are left of three.
  EXPECT_EQ(item.contexts.at(0), "Garden:  Trees. Dig a hole. \u00c9va digs");
  EXPECT_THAT(item.choices, ElementsAre("one  two", "[a\nb] three", "four]"));
  EXPECT_EQ(item.continuations.at(0), " one  two");
  EXPECT_EQ(item.gold, 2);
}

TEST_F(ChoiceItems, LabelsOfArcAreLettersOrNumbers) {
  const auto row = [](const json& labels, const char* key) {
    return json{{"question", "q"},
                {"choices", {{"text", {"x", "y"}}, {"label", labels}}},
                {"answerKey", key},
                {"id", "a"}};
  };
  const auto data = read("arc_easy", {row({"A", "B"}, "B"), row({"1", "2"}, "1")});
  EXPECT_EQ(data.items[0].gold, 1);
  EXPECT_EQ(data.items[0].id, "a");
  EXPECT_EQ(data.items[1].gold, 0);
  EXPECT_EQ(data.items[0].contexts[1], "Question: q\nAnswer:");
  EXPECT_THAT(error("arc_easy", row({"A", "B"}, "C")),
              AllOf(HasSubstr("items.jsonl:1"), HasSubstr("\"C\""), HasSubstr("one of A, B")));
}

TEST_F(ChoiceItems, WinograndeScoresWhatFollowsEitherOption) {
  const auto item =
      read("winogrande",
           {{{"sentence", "So _  won ."}, {"option1", "Ann"}, {"option2", "Bob"}, {"answer", "2"}}})
          .items.at(0);
  EXPECT_THAT(item.contexts, ElementsAre("So Ann", "So Bob"));
  EXPECT_THAT(item.continuations, ElementsAre(" won .", " won ."));
  EXPECT_EQ(item.gold, 1);
}

TEST_F(ChoiceItems, TemplatesNameFieldsAndLists) {
  const ChoiceTemplates templates{
      .context = {"Q: {q.text} {{x}}\nA:"}, .choices = {"{c}"}, .label = "{right}"};
  const json row = {{"q", {{"text", "why"}}}, {"c", {"a", "b", "c"}}, {"right", "b"}};
  const auto item = read("other", {row}, templates).items.at(0);
  EXPECT_EQ(item.contexts.at(0), "Q: why {x}\nA:");
  EXPECT_THAT(item.continuations, ElementsAre(" a", " b", " c"));
  EXPECT_EQ(item.gold, 1);
  // Several contexts, one continuation.
  const ChoiceTemplates partial{.context = {"{a} is", "{b} is"}, .choices = {"{rest}"}};
  const auto other =
      read("other", {{{"a", "x"}, {"b", "y"}, {"rest", "big"}, {"label", 1}}}, partial).items.at(0);
  EXPECT_THAT(other.contexts, ElementsAre("x is", "y is"));
  EXPECT_THAT(other.continuations, ElementsAre(" big", " big"));
}

TEST_F(ChoiceItems, SayWhatIsWrongAndWhere) {
  const json piqa = {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", 0}};
  const auto with = [&](const char* key, const json& value) {
    json row = piqa;
    row[key] = value;
    return row;
  };
  json without = piqa;
  without.erase("sol2");
  EXPECT_THAT(error("piqa", without),
              AllOf(HasSubstr("items.jsonl:1"), HasSubstr("no \"sol2\""), HasSubstr("goal")));
  EXPECT_THAT(error("piqa", with("label", 2)), HasSubstr("a number from 0 to 1"));
  EXPECT_THAT(error("piqa", with("goal", 3)), HasSubstr("must be a text, found number"));
  EXPECT_THAT(error("piqa", with("sol1", "")), HasSubstr("choice 0 is empty"));
  const ChoiceTemplates list{.context = {}, .choices = {"{c}"}, .label = ""};
  EXPECT_THAT(error("other", {{"c", json::array()}}, list), HasSubstr("no choices of the item"));
  EXPECT_THAT(error("other", {{"c", {"a"}}}, list), HasSubstr("one choice of the item"));
  EXPECT_THAT(error("winogrande",
                    {{"sentence", "none"}, {"option1", "a"}, {"option2", "b"}, {"answer", "1"}}),
              HasSubstr("no _"));
  EXPECT_THAT(error("lambada", {{"text", "word"}}), HasSubstr("a single word"));
  EXPECT_THAT(message_of<DataError>([&] { read("piqa", {}); }), HasSubstr("holds no items"));
  EXPECT_THAT(message_of<ConfigError>([] { PromptTemplate("{a", "task.context"); }),
              AllOf(HasSubstr("task.context"), HasSubstr("a brace alone")));
}

TEST_F(ChoiceItems, HiddenLabelsAreNoted) {
  const json hidden = {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}, {"label", -1}};
  const ChoiceData data = read("piqa", {hidden});
  EXPECT_FALSE(data.items.at(0).gold);
  EXPECT_THAT(data.notes, ElementsAre(HasSubstr("1 of 1 items have no label")));
}

TEST(Wikitext, PagesBeginAtTitlesOfTheFirstLevel) {
  const std::string text =
      " \n = One = \n \n text \n = = Part = = \n = 5 = 6 \n = Two = \n more \n";
  EXPECT_THAT(wikitext_pages(text), ElementsAre(" = One = \n \n text \n = = Part = = \n = 5 = 6 \n",
                                                " = Two = \n more \n"));
}

// What the function of lm-evaluation-harness 0.4.13 gives; tests/parity has whole pages.
TEST(Wikitext, DetokenizerRepeatsTheHarness) {
  const std::pair<const char*, const char*> cases[] = {
      {"the boys ' 3 @.@ 5 kg , \" well @-@ known \" ( or so ) : it 's 5 \u00b0 N . \n = = A = = "
       "\n x",
       "the boys'3.5 kg, \"well-known\" (or so): it's 5\u00b0N.\n== A ==\nx"},
      {"a ' b ' [ c ] { d } ( e \u00a0) 1 @,@ 000 ; N ! ? \n = = = B = = =",
       "a 'b' [c] {d} (e) 1,000; N!?\n=== B ==="},
      {"/' x ( open", "/' x ( open"},
      {"= = = = = ( a ( b ) c ) \" \"", "===== (a ( b) c ) \"\""}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(detokenize_wikitext(text), expected);
  EXPECT_EQ(count_words(" a  b\n"), 4);  // with an empty piece at either end
  EXPECT_EQ(count_words(""), 1);
}

}  // namespace
}  // namespace quell
