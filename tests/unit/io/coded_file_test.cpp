// Tensors that are stored as codes: streams of bits, and files that do not fit together.
#include "framework/io/coded_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "framework/io/manifest.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

TEST(PackBits, ComesBackForEveryWidthAndLength) {
  for (int64_t bits = 2; bits <= 16; ++bits) {
    for (const int64_t count : {1, 2, 3, 7, 8, 9, 100, 1001}) {
      const at::Tensor numbers = at::randint(int64_t{1} << bits, {count}, at::kInt);
      const at::Tensor stream = pack_bits(numbers, bits);
      EXPECT_EQ(stream.numel(), (count * bits + 7) / 8);
      EXPECT_TRUE(unpack_bits(stream, count, bits).equal(numbers)) << bits << " bits";
    }
  }
}

TEST(PackBits, PutsTheLowestBitFirst) {
  EXPECT_TRUE(pack_bits(at::tensor({1, 15, 2}, at::kInt), 4)
                  .equal(at::tensor({0xf1, 0x02}, at::kInt).to(at::kByte)));
}

CodedTensor example() {
  return {.codes = at::tensor({-2, -1, 0, 1, 1, 0}, at::kInt).view({2, 3}),
          .bits = 2,
          .lowest = -2,
          .outer = 1,
          .channels = 2,
          .scale = at::tensor({0.5f, 3.0f}),
          .zero_point = at::tensor({0.0f, 1.0f})};
}

TEST(CodedFile, GivesTheValuesOfCodes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const at::Tensor bias = at::tensor({7.0f});
  write_coded_file(path, {{"a.weight", example()}}, {{"a.bias", bias}});
  const CodedFile file(path);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a.bias", "a.weight"}));
  EXPECT_EQ(file.shape("a.weight"), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.type("a.weight"), at::kFloat);
  EXPECT_TRUE(file.read("a.bias").equal(bias));
  EXPECT_TRUE(file.read("a.weight")
                  .equal(at::tensor({-1.0f, -0.5f, 0.0f, 0.0f, 0.0f, -3.0f}).view({2, 3})));
  EXPECT_TRUE(file.read_codes("a.weight").codes.equal(example().codes));
}

// Codes of a narrow type, whose distance from the lowest one it does not hold.
TEST(CodedFile, TakesCodesOfAnyType) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const at::Tensor codes = at::tensor({-128, 0, 127}, at::kInt).to(at::kChar);
  const CodedTensor tensor{.codes = codes,
                           .bits = 8,
                           .lowest = -128,
                           .scale = at::ones({1}),
                           .zero_point = at::zeros({1})};
  write_coded_file(path, {{"w", tensor}}, {});
  EXPECT_TRUE(CodedFile(path).read("w").equal(codes.to(at::kFloat)));
}

TEST(CodedFile, RefusesWhatDoesNotFitTogether) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const auto refuses = [&](const std::string& metadata) {
    write_safetensors(path,
                      {{"w.codes", at::zeros({2}, at::kByte)},
                       {"w.scale", at::ones({2})},
                       {"w.zero_point", at::zeros({2})}},
                      {{"w", metadata}});
    EXPECT_THAT(message_of<DataError>([&] { CodedFile file(path); }), HasSubstr("w")) << metadata;
  };
  const char* fits = R"({"shape":[2,3],"bits":2,"lowest":0,"outer":1,"channels":2})";
  write_safetensors(path,
                    {{"w.codes", at::zeros({2}, at::kByte)},
                     {"w.scale", at::ones({2})},
                     {"w.zero_point", at::zeros({2})}},
                    {{"w", fits}});
  EXPECT_EQ(CodedFile(path).names().size(), 1);
  refuses("{");
  refuses(R"({"shape":[2,3],"bits":2,"lowest":0,"outer":1})");
  refuses(R"({"shape":[2,3],"bits":4,"lowest":0,"outer":1,"channels":2})");
  refuses(R"({"shape":[2,3],"bits":2,"lowest":0,"outer":1,"channels":3})");
  refuses(R"({"shape":[2,3],"bits":2,"lowest":0,"outer":0,"channels":2})");
  refuses(R"({"shape":[-2,-3],"bits":2,"lowest":0,"outer":1,"channels":2})");
  refuses(R"({"shape":[9223372036854775807,3],"bits":2,"lowest":0,"outer":1,"channels":2})");
  refuses(R"({"shape":[2,3],"bits":64,"lowest":0,"outer":1,"channels":2})");
}

TEST(Manifest, SeesWhatChanged) {
  const TemporaryFolder folder;
  folder.write("a", "one");
  folder.write("b", "two");
  EXPECT_THAT(message_of<DataError>([&] { check_manifest(folder.path()); }),
              HasSubstr("is missing"));
  write_manifest(folder.path());
  check_manifest(folder.path());
  folder.write("b", "twp");
  EXPECT_THAT(message_of<DataError>([&] { check_manifest(folder.path()); }), HasSubstr("SHA-256"));
  std::filesystem::remove(folder.path() / "b");
  EXPECT_THAT(message_of<DataError>([&] { check_manifest(folder.path()); }),
              HasSubstr("is missing"));
  folder.write(kManifest, R"({"format": "quell network", "version": 99, "sha256": {}})");
  EXPECT_THAT(message_of<DataError>([&] { check_manifest(folder.path()); }),
              HasSubstr("version 99"));
  folder.write(kManifest, R"({"format": "quell network", "version": 1, "sha256": {"../x": ""}})");
  EXPECT_THAT(message_of<DataError>([&] { check_manifest(folder.path()); }),
              HasSubstr("no name of a file"));
}

}  // namespace
}  // namespace quell
