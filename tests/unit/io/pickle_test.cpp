// Pickles that are small and ask for much. What torch.save writes is in torch_file_test.cpp.

#include "framework/io/pickle.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "framework/base/error.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

std::string repeated(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

std::string text_of(const std::string& text) {
  const size_t size = text.size();
  std::string result = "X";
  for (int shift = 0; shift < 32; shift += 8) result += static_cast<char>(size >> shift & 0xFF);
  return result + text;
}

std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

const std::string kStart = "\x80\x02";
const std::string kTwoOfThree = "(K\x02K\x03t", kStridesOfThat = "(K\x03K\x01t";

std::string storage(const std::string& key) {
  return "(" + text_of("storage") + global("torch", "FloatStorage") + text_of(key) +
         text_of("cpu") + "K\x06tQ";
}

// What torch.save writes for a tensor.
std::string tensor(const std::string& shape, const std::string& strides,
                   const std::string& key = "0") {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage(key) + std::string("K\0", 2) +
         shape + strides + "\x89" + global("collections", "OrderedDict") + ")RtR";
}

std::string state_dict(const std::string& entries) { return kStart + "}(" + entries + "u."; }

std::string refusal(const std::string& pickle) {
  return message_of<DataError>([&] { PickleReader(pickle, "pickle").read_state_dict(); });
}

TEST(Pickle, ATensor) {
  const auto found =
      PickleReader(state_dict(text_of("a") + tensor(kTwoOfThree, kStridesOfThat)), "pickle")
          .read_state_dict();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].first, "a");
  EXPECT_EQ(found[0].second.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(found[0].second.strides, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(found[0].second.storage.key, "0");
  EXPECT_EQ(found[0].second.storage.elements, 6);
}

TEST(Pickle, ShapesAreShort) {
  const auto dict = [](size_t dimensions) {
    const std::string list = "(" + repeated("K\x01", dimensions) + "t";
    return state_dict(text_of("a") + tensor(list, list));
  };
  EXPECT_EQ(PickleReader(dict(64), "pickle").read_state_dict()[0].second.shape.size(), 64u);
  EXPECT_THAT(refusal(dict(65)), HasSubstr("a shape or strides of 65 entries"));
  const std::string strides = "(" + repeated("K\x01", 65) + "t";
  EXPECT_THAT(refusal(state_dict(text_of("a") + tensor(kTwoOfThree, strides))),
              HasSubstr("a shape or strides of 65 entries"));
}

// A list of a million entries takes two bytes for each of them, and its copies would take eight
// million bytes for each use, which takes two.
TEST(Pickle, LongListsAreNotCopied) {
  constexpr size_t kEntries = 1'000'000, kUses = 20'000;
  const std::string list = "K\x01q\x01(" + repeated("h\x01", kEntries) + "tq\x02";
  EXPECT_THAT(refusal(kStart + list + repeated(tensor("h\x02", "h\x02"), kUses) + "."),
              HasSubstr("a shape or strides of 1000000 entries"));
  // As the arguments of a call.
  const std::string call = global("collections", "OrderedDict") + "h\x02R";
  EXPECT_THAT(refusal(kStart + list + repeated(call, kUses) + "."),
              HasSubstr("a call with 1000000 arguments"));
}

TEST(Pickle, LongTextsAreNotCopied) {
  const std::string text = std::string(1'000'000, 'x');
  const std::string one = tensor(kTwoOfThree, kStridesOfThat);
  EXPECT_THAT(refusal(state_dict(text_of(text) + one)),
              HasSubstr("the name of a tensor of 1000000 bytes"));
  EXPECT_THAT(refusal(state_dict(text_of("a") + tensor(kTwoOfThree, kStridesOfThat, text))),
              HasSubstr("the key of a storage of 1000000 bytes"));
  const std::string again =
      text_of("a") + "q\x03" + one + "q\x04" + repeated("h\x03h\x04", 1'000'000);
  EXPECT_THAT(refusal(state_dict(again)), HasSubstr("two tensors are named \"a\""));
  const std::string texts = kStart + "(" + text_of("a") + "q\x01" + repeated("h\x01", 1000) + "t.";
  EXPECT_THAT(message_of<DataError>([&] { PickleReader(texts, "pickle").read_texts(); }),
              HasSubstr("\"a\" is listed twice"));
}

}  // namespace
}  // namespace quell
