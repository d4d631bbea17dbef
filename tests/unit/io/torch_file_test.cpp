#include "framework/io/torch_file.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"
#include "framework/json/json.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

fs::path data(const std::string& name) { return source_folder() / "tests/data/io" / name; }

std::string python_name(at::ScalarType type) {
  const std::map<at::ScalarType, std::string> names = {
      {at::kDouble, "float64"},    {at::kFloat, "float32"}, {at::kHalf, "float16"},
      {at::kBFloat16, "bfloat16"}, {at::kLong, "int64"},    {at::kInt, "int32"},
      {at::kShort, "int16"},       {at::kChar, "int8"},     {at::kByte, "uint8"},
      {at::kBool, "bool"}};
  return names.at(type);
}

// state.json was written by PyTorch from the tensors themselves.
void expect_state(const fs::path& path) {
  const TorchFile file(path);
  const nlohmann::json expected = read_json_file(data("state.json"));
  EXPECT_EQ(file.names().size(), expected.size());
  for (const auto& [name, facts] : expected.items()) {
    ASSERT_TRUE(file.contains(name)) << name;
    const at::Tensor tensor = file.read(name);
    EXPECT_EQ(python_name(file.type(name)), facts["type"]) << name;
    EXPECT_EQ(tensor.scalar_type(), file.type(name)) << name;
    EXPECT_EQ(tensor.sizes().vec(), facts["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(file.shape(name), tensor.sizes().vec()) << name;
    EXPECT_TRUE(tensor.is_contiguous()) << name;
    const auto values = facts["values"].get<std::vector<double>>();
    const at::Tensor flat = at::tensor(values, at::kDouble);
    EXPECT_TRUE(at::equal(tensor.to(at::kDouble).flatten(), flat)) << name;
  }
}

std::string refusal(const fs::path& path) {
  return message_of<DataError>([&] { TorchFile file(path); });
}

TEST(TorchFile, ReadsWhatTorchSaveWrites) { expect_state(data("state_zip.bin")); }

TEST(TorchFile, ReadsTheOldLayout) { expect_state(data("state_old.bin")); }

TEST(TorchFile, ReadsTheAttributesOfAModuleWithoutUsingThem) {
  const TorchFile file(data("module.bin"));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_TRUE(at::equal(file.read("weight"), at::tensor({1.f, 1.f, 1.f})));
}

TEST(TorchFile, ReadsAnOldModelOfTheWild) {
  const fs::path path = source_folder() / "../shared/models/albert-rxnmapper/pytorch_model.bin";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not here";
  const TorchFile file(path);
  EXPECT_EQ(file.shape("albert.embeddings.position_embeddings.weight"),
            (std::vector<int64_t>{512, 128}));
  for (const std::string& name : file.names()) {
    EXPECT_EQ(file.read(name).sizes().vec(), file.shape(name));
  }
}

TEST(TorchFile, ExecutesNothing) {
  EXPECT_THAT(refusal(data("harmful.bin")),
              AllOf(HasSubstr("system"), HasSubstr("never executes"), HasSubstr("safetensors")));
  EXPECT_FALSE(fs::exists("executed.txt"));
}

TEST(TorchFile, NamesWhatIsNotATensor) {
  EXPECT_THAT(refusal(data("nested.bin")),
              AllOf(HasSubstr("\"state_dict\" is a dictionary"), HasSubstr("model.state_dict()")));
  EXPECT_THAT(refusal(data("single.bin")), HasSubstr("expected a dictionary of tensors"));
  EXPECT_THAT(refusal(data("expanded.bin")),
              AllOf(HasSubstr("\"expanded\""), HasSubstr("contiguous()")));
}

TEST(TorchFile, SuggestsTheNearestName) {
  const TorchFile file(data("state_zip.bin"));
  EXPECT_THAT(message_of<DataError>([&] { file.read("tied.c"); }),
              HasSubstr("did you mean \"tied"));
}

TEST(TorchFile, RefusesOtherFiles) {
  const TemporaryFolder folder;
  EXPECT_THAT(refusal(folder.write("empty.bin", "")), HasSubstr("not a file of torch.save"));
  EXPECT_THAT(refusal(folder.write("text.bin", "hello, I am no model at all")),
              HasSubstr("not a file of torch.save"));
  EXPECT_THAT(refusal(folder / "missing.bin"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("a folder"));
  EXPECT_THAT(refusal(folder.write("lfs.bin", "version https://git-lfs.github.com/spec/v1\n")),
              HasSubstr("git lfs pull"));
}

TEST(TorchFile, MessagesAreTextWhateverTheRecordsAreNamed) {
  const TemporaryFolder folder;
  std::string bytes = read_file(data("state_zip.bin"));
  for (size_t at = 0; (at = bytes.find("state_zip/", at)) != std::string::npos; ++at) {
    bytes[at + 8] = '\xFF';  // in place of the p
  }
  // Records and the zip file's directory: names are no UTF-8, and data.pkl is deflated.
  for (const auto& [header, flags, method] :
       {std::tuple("PK\x03\x04", 7, 8), std::tuple("PK\x01\x02", 9, 10)}) {
    const size_t first = bytes.find(header);
    ASSERT_NE(first, std::string::npos);
    for (size_t at = first; at != std::string::npos; at = bytes.find(header, at + 1)) {
      bytes[at + flags] = 0;
    }
    bytes[first + method] = 8;
  }
  const std::string message = refusal(folder.write("names.bin", bytes));
  EXPECT_THAT(message, HasSubstr("record \"state_zi"));
  EXPECT_EQ(find_invalid_utf8(message), std::string::npos);
}

TEST(TorchFile, NoticesAChangedByteInTheData) {
  const TemporaryFolder folder;
  std::string bytes = read_file(data("state_zip.bin"));
  // 5.5 as float32 in "transposed": the largest of its storage.
  const size_t value = bytes.find(std::string("\x00\x00\x80\x40\x00\x00\x88\x40", 8));
  ASSERT_NE(value, std::string::npos);
  bytes[value + 2] ^= 1;
  const TorchFile file(folder.write("changed.bin", bytes));
  EXPECT_THAT(message_of<DataError>([&] { file.read("transposed"); }), HasSubstr("damaged"));
}

}  // namespace
}  // namespace quell
