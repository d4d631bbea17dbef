#include "framework/io/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string with_header(const std::string& header, const std::string& data = "") {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

std::string refusal_of_bytes(const std::string& bytes) {
  const TemporaryFolder folder;
  const auto path = folder.write("model.safetensors", bytes);
  return message_of<DataError>([&] { SafetensorsFile file(path); });
}

std::string refusal(const std::string& header, const std::string& data = "") {
  return refusal_of_bytes(with_header(header, data));
}

// The format written by hand, so that the reader is not tested against our writer only.
TEST(Safetensors, ReadsAFileWrittenByHand) {
  const TemporaryFolder folder;
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},)"
                             R"("a":{"shape":[],"dtype":"F32","data_offsets":[0,4]}}   )";
  const std::string data("\x00\x00\x80\x3f\x01\x00\xfe\xff", 8);
  const SafetensorsFile file(folder.write("x.safetensors", with_header(header, data)));
  EXPECT_THAT(file.names(), ElementsAre("a", "b"));  // in the order of the data
  EXPECT_EQ(file.read("a").item<float>(), 1.0f);
  EXPECT_EQ(file.read("a").dim(), 0);
  EXPECT_TRUE(at::equal(file.read("b"), at::tensor({1, -2}, at::kShort)));
  EXPECT_EQ(file.type("b"), at::kShort);
  EXPECT_EQ(file.shape("b"), std::vector<int64_t>{2});
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, WritesAndReadsAllTypes) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                    at::kInt, at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors.emplace_back(at::toString(type), at::arange(6).reshape({2, 3}).to(type));
  }
  tensors.emplace_back("transposed", at::arange(6).reshape({2, 3}).t());
  tensors.emplace_back("empty", at::empty({0, 3}));
  tensors.emplace_back("größe", at::ones({}));
  write_safetensors(folder / "x.safetensors", tensors, {{"who", "quell"}});
  const SafetensorsFile file(folder / "x.safetensors");
  ASSERT_EQ(file.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file.read(name).scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(file.read(name), tensor)) << name;
  }
  EXPECT_EQ(file.metadata().at("who"), "quell");
}

TEST(Safetensors, WritesAnEmptyFile) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x.safetensors", {});
  EXPECT_THAT(SafetensorsFile(folder / "x.safetensors").names(), ElementsAre());
}

TEST(Safetensors, BytesOtherThanZeroAreTrue) {
  const TemporaryFolder folder;
  const std::string header = R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})";
  const SafetensorsFile file(
      folder.write("x", with_header(header, std::string("\x00\xff\x02", 3))));
  EXPECT_EQ(file.read("a").sum().item<int64_t>(), 2);
}

TEST(Safetensors, RefusesFilesThatAreNone) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFile file(folder / "no"); }),
              HasSubstr("No such file"));
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFile file(folder.path()); }),
              HasSubstr("a folder"));
  EXPECT_THAT(message_of<DataError>([&] { SafetensorsFile file("/dev/zero"); }),
              HasSubstr("not a file"));
  EXPECT_THAT(refusal_of_bytes(""), HasSubstr("0 bytes, at least 8"));
  EXPECT_THAT(refusal_of_bytes(std::string(7, '\0')), HasSubstr("7 bytes, at least 8"));
  EXPECT_THAT(refusal_of_bytes(std::string(20, '\xff')), HasSubstr("at most 100000000"));
  EXPECT_THAT(refusal_of_bytes(with_header("{}").substr(0, 9)), HasSubstr("truncated"));
  EXPECT_THAT(refusal_of_bytes("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
              HasSubstr("git lfs pull"));
}

TEST(Safetensors, RefusesWrongHeaders) {
  EXPECT_THAT(refusal(""), HasSubstr("header:1:1: not valid JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{\"a\": \xff}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{\"\xff\": 1}"), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("nested deeper than 3"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(1'000'000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal(R"({"a":1})"), HasSubstr("tensor \"a\": its header entry is not an object"));
  EXPECT_THAT(refusal(R"({"__metadata__":[]})"), HasSubstr("is not an object"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":1}})"), HasSubstr("\"a\" is not a string"));
  const std::string entry = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(refusal(fmt::format("{{{0},{0}}}", entry), "x"), HasSubstr("\"a\" appears twice"));
}

std::string entry(const char* dtype, const char* shape, const char* offsets) {
  return fmt::format(R"({{"a":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

TEST(Safetensors, RefusesWrongEntries) {
  const std::string data(16, '\0');
  EXPECT_THAT(refusal(entry("\"F8_E4M3\"", "[16]", "[0,16]"), data),
              AllOf(HasSubstr("tensor \"a\""), HasSubstr("F8_E4M3"), HasSubstr("convert")));
  EXPECT_THAT(refusal(entry("7", "[16]", "[0,16]"), data), HasSubstr("dtype 7"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[5]", "[0,16]"), data), HasSubstr("needs 20 bytes"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[-4]", "[0,16]"), data), HasSubstr("shape holds -4"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[4.0]", "[0,16]"), data), HasSubstr("shape holds 4.0"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[[4]]", "[0,16]"), data), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal(entry("\"F32\"", "{}", "[0,16]"), data), HasSubstr("shape is not a list"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[4]", "[0]"), data), HasSubstr("not two numbers"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[4]", "[16,0]"), data), HasSubstr("not inside"));
  EXPECT_THAT(refusal(entry("\"F32\"", "[4]", "[4,20]"), data), HasSubstr("not inside the 16"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[16]}})", data), HasSubstr("data_offsets"));
  // 2^62 * 4 * 4 bytes is 0 modulo 2^64; so is 2^32 * 2^32.
  EXPECT_THAT(refusal(entry("\"F32\"", "[4611686018427387904,4]", "[0,0]")),
              HasSubstr("too many dimensions or elements"));
  EXPECT_THAT(refusal(entry("\"U8\"", "[4294967296,4294967296]", "[0,0]")),
              HasSubstr("too many dimensions or elements"));
  EXPECT_THAT(refusal(entry("\"U8\"", "[0,4611686018427387904,4]", "[0,0]")),
              HasSubstr("too many dimensions or elements"));
  EXPECT_THAT(refusal(entry("\"U8\"", "[18446744073709551615]", "[0,0]")), HasSubstr("2^63 - 1"));
  EXPECT_THAT(refusal(entry("\"U8\"", "[1e400]", "[0,0]")), HasSubstr("not valid JSON"));
}

// As the reference implementation does.
TEST(Safetensors, LeavesOtherKeysOfAnEntryAside) {
  const TemporaryFolder folder;
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"strides":[1],"by":{"x":1}}})";
  const SafetensorsFile file(folder.write("x", with_header(header, "ab")));
  EXPECT_TRUE(at::equal(file.read("a"), at::tensor({97, 98}, at::kByte)));
}

std::string two(int a_begin, int a_end, int b_begin, int b_end) {
  const auto one = [](const char* name, int begin, int end) {
    return fmt::format(R"("{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", name,
                       end - begin, begin, end);
  };
  return fmt::format("{{{},{}}}", one("a", a_begin, a_end), one("b", b_begin, b_end));
}

TEST(Safetensors, RefusesOverlapsAndHoles) {
  const std::string data(10, '\0');
  EXPECT_THAT(refusal(two(0, 6, 4, 10), data), HasSubstr("\"b\": its data starts at byte 4"));
  EXPECT_THAT(refusal(two(0, 6, 4, 10), data), HasSubstr("overlaps"));
  EXPECT_THAT(refusal(two(0, 4, 6, 10), data), HasSubstr("a hole"));
  EXPECT_THAT(refusal(two(1, 5, 5, 10), data), HasSubstr("a hole"));
  EXPECT_THAT(refusal(two(0, 4, 4, 8), data), HasSubstr("take 8 bytes, but 10"));
  EXPECT_THAT(refusal(two(0, 4, 4, 10), data.substr(1)), HasSubstr("not inside the 9 bytes"));
}

TEST(Safetensors, SuggestsTheNearestName) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x", {{"pooler.weight", at::ones({2})}, {"bias", at::ones({2})}});
  const SafetensorsFile file(folder / "x");
  EXPECT_THAT(message_of<DataError>([&] { file.read("poler.weight"); }),
              AllOf(HasSubstr("no tensor \"poler.weight\" among its 2"),
                    HasSubstr("did you mean \"pooler.weight\"?")));
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& name, const at::Tensor& tensor) {
    return message_of<Error>([&] { write_safetensors(folder / "x", {{name, tensor}}); });
  };
  EXPECT_THAT(refused("a", at::ones({1}, at::kComplexFloat)), HasSubstr("\"a\" has a type"));
  EXPECT_THAT(refused("a", at::Tensor()), HasSubstr("\"a\" has a type"));
  EXPECT_THAT(refused("\xff", at::ones({1})), HasSubstr("UTF-8"));
  EXPECT_THAT(refused("__metadata__", at::ones({1})), HasSubstr("reserved"));
  const at::Tensor one = at::ones({1});
  EXPECT_THAT(message_of<Error>([&] {
                write_safetensors(folder / "x", {{"a", one}, {"a", one}});
              }),
              HasSubstr("appears twice"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Safetensors, NoticesThatTheFileWasCutAfterOpening) {
  const TemporaryFolder folder;
  write_safetensors(folder / "x", {{"a", at::ones({1000})}});
  const SafetensorsFile file(folder / "x");
  std::filesystem::resize_file(folder / "x", 100);
  EXPECT_THAT(message_of<DataError>([&] { file.read("a"); }), HasSubstr("truncated"));
}

}  // namespace
}  // namespace quell
