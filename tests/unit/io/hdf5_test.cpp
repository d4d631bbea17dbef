#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cstdlib>
#include <thread>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/hdf5_reader.h"
#include "framework/io/hdf5_writer.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

void write_everything(const std::filesystem::path& path) {
  Hdf5Writer file(path);
  file.set_attribute("/", "layout_version", int64_t{1});
  const at::Tensor numbers = at::arange(-3, 3).reshape({2, 3});
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kChar}) {
    file.write(std::string("types/") + at::toString(type), numbers.to(type));
  }
  file.write("types/Byte", at::tensor({0, 7, 255}, at::kByte));
  file.write("types/Bool", at::tensor({1, 0, 1}).to(at::kBool));
  file.write("sites/layer.10/scale", at::scalar_tensor(0.1f, at::kFloat));
  file.write("sites/layer.2/scale", at::tensor({0.25f, 0.5f}));
  file.write("empty", at::empty({0, 4}));
  file.write("large", at::zeros({1000, 700}), {.gzip_level = 4});
  file.write("name", std::string("größe → 尺寸"));
  file.write("names", Texts{"a", "", "ü"});
  file.write("no_names", Texts{});
  file.create_group("alone/deep");
  file.set_attribute("sites/layer.2/scale", "unit", std::string("1"));
  file.set_attribute("sites/layer.2/scale", "axes", Texts{"channel"});
  file.set_attribute("sites", "numbers", std::vector<double>{0.5, -1});
  file.set_attribute("sites", "counts", std::vector<int64_t>{3, 4});
  file.set_attribute("sites", "ratio", 0.1);
  file.set_attribute("sites", "none", Texts{});
  file.commit();
}

TEST(Hdf5, ReadsBackWhatItWrites) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const Hdf5Reader file(folder / "a.h5");
  const at::Tensor numbers = at::arange(-3, 3).reshape({2, 3});
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kChar}) {
    const at::Tensor read = file.read_tensor(std::string("types/") + at::toString(type));
    EXPECT_EQ(read.scalar_type(), type);
    EXPECT_TRUE(at::equal(read, numbers.to(type)));
  }
  EXPECT_TRUE(at::equal(file.read_tensor("types/Byte"), at::tensor({0, 7, 255}, at::kByte)));
  EXPECT_TRUE(at::equal(file.read_tensor("types/Bool"), at::tensor({1, 0, 1}).to(at::kBool)));
  EXPECT_EQ(file.read_tensor("sites/layer.10/scale").dim(), 0);
  EXPECT_EQ(file.read_tensor("sites/layer.10/scale").item<float>(), 0.1f);
  EXPECT_EQ(file.read_tensor("empty").sizes().vec(), (std::vector<int64_t>{0, 4}));
  EXPECT_TRUE(at::equal(file.read_tensor("large"), at::zeros({1000, 700})));
  EXPECT_EQ(file.read_text("name"), "größe → 尺寸");
  EXPECT_THAT(file.read_texts("names"), ElementsAre("a", "", "ü"));
  EXPECT_THAT(file.read_texts("no_names"), ElementsAre());
}

TEST(Hdf5, ReadsAttributesBack) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const Hdf5Reader file(folder / "a.h5");
  EXPECT_EQ(std::get<int64_t>(file.read_attribute("/", "layout_version")), 1);
  EXPECT_EQ(std::get<std::string>(file.read_attribute("sites/layer.2/scale", "unit")), "1");
  EXPECT_EQ(std::get<Texts>(file.read_attribute("sites/layer.2/scale", "axes")), Texts{"channel"});
  EXPECT_EQ(std::get<double>(file.read_attribute("sites", "ratio")), 0.1);
  EXPECT_THAT(std::get<std::vector<double>>(file.read_attribute("sites", "numbers")),
              ElementsAre(0.5, -1));
  EXPECT_THAT(std::get<std::vector<int64_t>>(file.read_attribute("sites", "counts")),
              ElementsAre(3, 4));
  EXPECT_THAT(file.attribute_names("sites"), ElementsAre("counts", "none", "numbers", "ratio"));
  EXPECT_FALSE(file.has_attribute("sites", "unit"));
  EXPECT_THAT(message_of<DataError>([&] { file.read_attribute("sites", "unit"); }),
              HasSubstr("sites@unit"));
}

TEST(Hdf5, ListsChildrenInOrderOfCreation) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const Hdf5Reader file(folder / "a.h5");
  EXPECT_THAT(file.children("/"), ElementsAre("types", "sites", "empty", "large", "name", "names",
                                              "no_names", "alone"));
  EXPECT_THAT(file.children("sites"), ElementsAre("layer.10", "layer.2"));
  EXPECT_TRUE(file.is_group("alone/deep"));
  EXPECT_TRUE(file.exists("sites/layer.2/scale"));
  EXPECT_TRUE(file.exists("/"));
  EXPECT_FALSE(file.exists("sites/layer.3/scale"));
  EXPECT_FALSE(file.exists("names/below"));
  EXPECT_FALSE(file.exists(""));
}

TEST(Hdf5, EqualContentGivesEqualBytes) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  // HDF5's clock has seconds: a time in the file would differ.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  write_everything(folder / "b.h5");
  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
}

TEST(Hdf5, CompressesLargeDatasets) {
  const TemporaryFolder folder;
  Hdf5Writer file(folder / "a.h5");
  file.write("zeros", at::zeros({1000, 1000}), {.gzip_level = 4});
  file.commit();
  EXPECT_LT(std::filesystem::file_size(folder / "a.h5"), 50'000u);  // 4 MB without
}

TEST(Hdf5, ReplacesAttributes) {
  const TemporaryFolder folder;
  Hdf5Writer file(folder / "a.h5");
  file.set_attribute("/", "state", "running");
  file.set_attribute("/", "state", int64_t{3});
  file.commit();
  EXPECT_EQ(std::get<int64_t>(Hdf5Reader(folder / "a.h5").read_attribute("/", "state")), 3);
}

TEST(Hdf5, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  {
    Hdf5Writer file(folder / "a.h5");
    file.write("x", at::ones({3}));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Hdf5, KeepsTheOldFileUntilCommit) {
  const TemporaryFolder folder;
  const auto path = folder.write("a.h5", "old");
  Hdf5Writer file(path);
  file.write("x", at::ones({3}));
  EXPECT_EQ(read_file(path), "old");
  file.commit();
  EXPECT_TRUE(at::equal(Hdf5Reader(path).read_tensor("x"), at::ones({3})));
}

TEST(Hdf5, WriterNamesFileAndObject) {
  const TemporaryFolder folder;
  Hdf5Writer file(folder / "a.h5");
  file.write("x", at::ones({3}));
  const auto refusal = [](const auto& action) { return message_of<Error>(action); };
  EXPECT_THAT(refusal([&] { file.write("x", at::ones({3})); }),
              AllOf(HasSubstr("a.h5"), HasSubstr("\"x\""), HasSubstr("exists")));
  EXPECT_THAT(refusal([&] { file.write("x/below", at::ones({3})); }), HasSubstr("x/below"));
  EXPECT_THAT(refusal([&] { file.write("half", at::ones({3}, at::kHalf)); }), HasSubstr("Half"));
  EXPECT_THAT(refusal([&] { file.write("none", at::Tensor()); }), HasSubstr("undefined"));
  EXPECT_THAT(refusal([&] { file.write("t", std::string("a\0b", 3)); }), HasSubstr("zero byte"));
  EXPECT_THAT(refusal([&] { file.write("t", Texts{"\xff"}); }), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal([&] { file.set_attribute("y", "unit", "1"); }), HasSubstr("y@unit"));
  const std::vector<double> too_large(10'000);  // 80 kB, HDF5 takes 64 KiB
  EXPECT_THAT(refusal([&] { file.set_attribute("x", "big", too_large); }), HasSubstr("x@big"));
}

TEST(Hdf5, WriterNamesAnUnwritableFolder) {
  const TemporaryFolder folder;
  folder.write("file", "");
  Hdf5Writer file(folder / "file/a.h5");
  EXPECT_THAT(message_of<Error>([&] { file.commit(); }), HasSubstr("is not a folder"));
}

TEST(Hdf5, ReaderNamesFileAndObject) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const Hdf5Reader file(folder / "a.h5");
  const auto refusal = [](const auto& action) { return message_of<DataError>(action); };
  EXPECT_THAT(refusal([&] { file.read_tensor("nothing"); }),
              AllOf(HasSubstr("a.h5"), HasSubstr("\"nothing\"")));
  EXPECT_THAT(refusal([&] { file.read_tensor("sites"); }), HasSubstr("expected a dataset"));
  EXPECT_THAT(refusal([&] { file.read_tensor("names"); }), HasSubstr("holds no numbers"));
  EXPECT_THAT(refusal([&] { file.read_texts("large"); }), HasSubstr("holds no text"));
  EXPECT_THAT(refusal([&] { file.read_text("names"); }), HasSubstr("3 texts"));
  EXPECT_THAT(refusal([&] { file.children("large"); }), HasSubstr("expected a group"));
}

TEST(Hdf5, RefusesOtherAndTruncatedFiles) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const std::string bytes = read_file(folder / "a.h5");
  const auto refusal = [&](const std::string& content) {
    const auto path = folder.write("bad.h5", content);
    return message_of<DataError>([&] { Hdf5Reader file(path); });
  };
  EXPECT_THAT(refusal("hello"), HasSubstr("not an HDF5 file"));
  EXPECT_THAT(refusal(""), HasSubstr("not an HDF5 file"));
  EXPECT_THAT(refusal(bytes.substr(0, bytes.size() / 2)), HasSubstr("truncated"));
  EXPECT_THAT(message_of<DataError>([&] { Hdf5Reader file(folder / "missing.h5"); }),
              HasSubstr("No such file"));
}

// h5py is what users open results with.
constexpr const char* kReadWithH5py = R"python(
import sys, h5py, numpy
f = h5py.File(sys.argv[1])
assert f.attrs["layout_version"] == 1
assert list(f["sites"]) == ["layer.10", "layer.2"], list(f["sites"])
d = f["sites/layer.2/scale"]
assert d.dtype == numpy.float32 and d[()].tolist() == [0.25, 0.5]
assert d.attrs["unit"] == "1" and isinstance(d.attrs["unit"], str)
assert list(d.attrs["axes"]) == ["channel"] and isinstance(d.attrs["axes"][0], str)
assert f["sites"].attrs["ratio"] == 0.1
assert list(f["sites"].attrs["numbers"]) == [0.5, -1.0]
assert f["sites/layer.10/scale"].shape == ()
assert f["types/Bool"].dtype == bool and f["types/Bool"][()].tolist() == [True, False, True]
kinds = {"Float": "f4", "Double": "f8", "Long": "i8", "Int": "i4", "Char": "i1"}
for name, kind in kinds.items():
    assert f["types/" + name].dtype == numpy.dtype(kind), name
    assert f["types/" + name][()].tolist() == [[-3, -2, -1], [0, 1, 2]]
assert f["types/Byte"][()].tolist() == [0, 7, 255]
assert f["name"].asstr()[()] == "gr\u00f6\u00dfe \u2192 \u5c3a\u5bf8"
assert f["names"].asstr()[()].tolist() == ["a", "", "\u00fc"]
assert f["empty"].shape == (0, 4) and f["large"].compression == "gzip"
assert f["large"][()].sum() == 0
)python";

constexpr const char* kWriteWithH5py = R"python(
import sys, h5py, numpy
with h5py.File(sys.argv[1], "w") as f:
    f["half"] = numpy.array([0.5, 2], "f2")
    f["unsigned"] = numpy.array([70000], "u4")
    f["big_endian"] = numpy.array([1.5], ">f4")
    f["flag"] = True
    f["fixed"] = numpy.array([b"ab", b"c"], "S4")
    f["text"] = "h\u00e9"
    f["pair"] = numpy.zeros(1, [("a", "f4")])
    f.attrs["fixed"] = numpy.bytes_(b"xy")
    f.create_dataset("vast", (10**12,), chunks=(1000,))
)python";

constexpr const char* kPython = "/usr/bin/python3";

bool have_h5py() {
  return std::system((std::string(kPython) + " -c 'import h5py' 2> /dev/null").c_str()) == 0;
}

int run_python(const std::filesystem::path& script, const std::filesystem::path& argument) {
  return std::system(
      (std::string(kPython) + " -E " + script.string() + " " + argument.string()).c_str());
}

TEST(Hdf5, OpensInH5py) {
  if (!have_h5py()) GTEST_SKIP() << kPython << " has no h5py (apt: python3-h5py)";
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  EXPECT_EQ(run_python(folder.write("read.py", kReadWithH5py), folder / "a.h5"), 0);
}

// More datasets than one scale can list; the others keep their labels.
TEST(Hdf5, AxesHaveLabelsAndScales) {
  if (!have_h5py()) GTEST_SKIP() << kPython << " has no h5py (apt: python3-h5py)";
  const TemporaryFolder folder;
  Hdf5Writer file(folder / "a.h5");
  file.write("sigma", at::tensor({4.0, 6.0}));
  for (int i = 0; i < 5000; ++i) {
    const std::string name = "counts/" + std::to_string(i);
    file.write(name, at::zeros({2, 3}, at::kLong));
    file.set_axes(name, {{"sigma", "sigma"}, {"channel"}});
  }
  file.commit();
  const auto script = folder.write("read.py", R"python(
import sys, h5py
f = h5py.File(sys.argv[1])
for number in (0, 4999):
    dims = f[f"counts/{number}"].dims
    assert [d.label for d in dims] == ["sigma", "channel"]
    assert list(f[f"counts/{number}"].attrs["axes"]) == ["sigma", "channel"]
    assert len(dims[1]) == 0 and len(dims[0]) == (number == 0)
assert f["counts/0"].dims[0][0][()].tolist() == [4, 6]
)python");
  EXPECT_EQ(run_python(script, folder / "a.h5"), 0);
}

TEST(Hdf5, ReadsWhatH5pyWrites) {
  if (!have_h5py()) GTEST_SKIP() << kPython << " has no h5py (apt: python3-h5py)";
  const TemporaryFolder folder;
  ASSERT_EQ(run_python(folder.write("write.py", kWriteWithH5py), folder / "a.h5"), 0);
  const Hdf5Reader file(folder / "a.h5");
  EXPECT_TRUE(at::equal(file.read_tensor("half"), at::tensor({0.5f, 2.f})));
  EXPECT_TRUE(at::equal(file.read_tensor("unsigned"), at::tensor({70000}, at::kLong)));
  EXPECT_TRUE(at::equal(file.read_tensor("big_endian"), at::tensor({1.5f})));
  EXPECT_TRUE(file.read_tensor("flag").item<bool>());
  EXPECT_THAT(file.read_texts("fixed"), ElementsAre("ab", "c"));
  EXPECT_EQ(file.read_text("text"), "hé");
  EXPECT_EQ(std::get<std::string>(file.read_attribute("/", "fixed")), "xy");
  EXPECT_THAT(message_of<DataError>([&] { file.read_tensor("pair"); }), HasSubstr("no numbers"));
  EXPECT_THAT(message_of<DataError>([&] { file.read_tensor("vast"); }),
              HasSubstr("more elements than the file can hold"));
}

}  // namespace
}  // namespace quell
