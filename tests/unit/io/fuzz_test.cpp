// Damaged files, made from good ones with a fixed seed: every reader must give a DataError or a
// result, never crash, hang or read outside the file. Most telling under address sanitizer.
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"
#include "framework/io/safetensors.h"
#include "framework/io/torch_file.h"
#include "framework/json/json.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using Random = std::mt19937_64;

size_t below(Random& random, size_t limit) { return limit == 0 ? 0 : random() % limit; }

// One of several kinds of damage to bytes [begin, end).
void damage(std::string& bytes, size_t begin, size_t end, Random& random) {
  end = std::min(end, bytes.size());
  if (begin >= end) return;
  const size_t at = begin + below(random, end - begin);
  switch (below(random, 7)) {
    case 0:  // one bit
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
      break;
    case 1:  // any byte
      bytes[at] = static_cast<char>(random());
      break;
    case 2:  // cut
      bytes.resize(at);
      break;
    case 3:  // remove a piece
      bytes.erase(at, 1 + below(random, 16));
      break;
    case 4:  // repeat a piece
      bytes.insert(at, bytes.substr(begin + below(random, end - begin), 1 + below(random, 64)));
      break;
    case 5: {  // a number that is easily mishandled
      constexpr uint64_t kNumbers[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, ~0ull, 1ull << 63};
      const uint64_t number = kNumbers[below(random, std::size(kNumbers))];
      const size_t size = size_t{1} << below(random, 4);
      for (size_t i = 0; i < size && at + i < bytes.size(); ++i) {
        bytes[at + i] = static_cast<char>(number >> (8 * i));
      }
      break;
    }
    default:  // swap two bytes
      std::swap(bytes[at], bytes[begin + below(random, end - begin)]);
  }
}

// A file that never reaches a disk: tens of thousands of them would take minutes there.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("quell_test", MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw std::runtime_error("memfd_create failed");
  }
  ~MemoryFile() { ::close(descriptor_); }
  std::filesystem::path write(const std::string& bytes) const {
    const auto size = static_cast<ssize_t>(bytes.size());
    if (::ftruncate(descriptor_, size) != 0 ||
        ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) != size) {
      throw std::runtime_error("cannot write a memory file");
    }
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

struct Counts {
  int refused = 0;
  int read = 0;
};

// Opens the file and reads all of it.
template <class File>
void open_and_read(const std::filesystem::path& path, Counts& counts) {
  try {
    const File file(path);
    for (const std::string& name : file.names()) {
      const at::Tensor tensor = file.read(name);
      ASSERT_EQ(tensor.sizes().vec(), file.shape(name));
    }
    ++counts.read;
  } catch (const DataError& error) {
    ++counts.refused;
    // Messages go to terminals and JSON: text from the file must not break them.
    EXPECT_EQ(find_invalid_utf8(error.what()), std::string::npos);
    EXPECT_LT(std::string(error.what()).size(), 5000u);
  }
}

template <class File>
Counts fuzz(const std::string& good, size_t begin, size_t end, int rounds, uint64_t seed) {
  const MemoryFile file;
  Random random(seed);
  Counts counts;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = good;
    const size_t count = 1 + below(random, 3);
    for (size_t i = 0; i < count; ++i) damage(bytes, begin, end, random);
    open_and_read<File>(file.write(bytes), counts);
  }
  EXPECT_EQ(counts.read + counts.refused, rounds);
  return counts;
}

std::string good_safetensors() {
  const TemporaryFolder folder;
  write_safetensors(folder / "x",
                    {{"a.weight", at::arange(12).reshape({3, 4}).to(at::kFloat)},
                     {"a.bias", at::ones({3}, at::kHalf)},
                     {"mask", at::ones({2, 2}, at::kBool)},
                     {"ids", at::arange(5)}},
                    {{"format", "pt"}});
  return read_file(folder / "x");
}

TEST(Fuzz, SafetensorsHeader) {
  const std::string good = good_safetensors();
  const size_t header_end = good.find('}', good.find("\"ids\"")) + 1;
  const Counts counts = fuzz<SafetensorsFile>(good, 8, header_end, 6000, 1);
  EXPECT_GT(counts.refused, 3000);
}

TEST(Fuzz, SafetensorsLengthAndWholeFile) {
  const std::string good = good_safetensors();
  EXPECT_GT(fuzz<SafetensorsFile>(good, 0, 8, 1000, 2).refused, 500);
  fuzz<SafetensorsFile>(good, 0, good.size(), 2000, 3);
}

TEST(Fuzz, SafetensorsTruncatedEverywhere) {
  const MemoryFile file;
  const std::string good = good_safetensors();
  Counts counts;
  for (size_t size = 0; size < good.size(); ++size) {
    open_and_read<SafetensorsFile>(file.write(good.substr(0, size)), counts);
  }
  EXPECT_EQ(counts.read, 0);
}

// Numbers of the header exchanged: offsets out of order, overlapping, beyond the end.
TEST(Fuzz, SafetensorsOffsets) {
  const MemoryFile file;
  Random random(4);
  Counts counts;
  constexpr int64_t kNumbers[] = {0,  1,  3,  4,  6,  10,        48,        54,
                                  58, 98, 99, -1, 64, 1ll << 40, 1ll << 62, 9223372036854775807};
  const auto number = [&] { return kNumbers[below(random, std::size(kNumbers))]; };
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> entries;
    for (const char* name : {"a", "b", "c"}) {
      entries.push_back(
          fmt::format(R"("{}":{{"dtype":"U8","shape":[{},{}],"data_offsets":[{},{}]}})", name,
                      number(), number(), number(), number()));
    }
    const std::string header = fmt::format("{{{}}}", fmt::join(entries, ","));
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    bytes[1] = static_cast<char>(header.size() >> 8);
    open_and_read<SafetensorsFile>(file.write(bytes + header + std::string(98, 'x')), counts);
  }
  EXPECT_EQ(counts.refused + counts.read, 4000);
}

std::string data(const std::string& name) {
  return read_file(source_folder() / "tests/data/io" / name);
}

TEST(Fuzz, TorchZip) {
  const std::string good = data("state_zip.bin");
  fuzz<TorchFile>(good, 0, good.size(), 3000, 5);
  // The directory of a zip file is at its end.
  fuzz<TorchFile>(good, good.size() - 1400, good.size(), 3000, 6);
}

TEST(Fuzz, TorchOldLayout) {
  const std::string good = data("state_old.bin");
  // The pickles, without the magic number that decides that it is this layout.
  fuzz<TorchFile>(good, 15, good.size(), 6000, 7);
}

TEST(Fuzz, TorchTruncatedEverywhere) {
  const MemoryFile file;
  for (const char* name : {"state_zip.bin", "state_old.bin"}) {
    const std::string good = data(name);
    Counts counts;
    for (size_t size = 0; size < good.size(); ++size) {
      open_and_read<TorchFile>(file.write(good.substr(0, size)), counts);
    }
    EXPECT_EQ(counts.read, 0) << name;
  }
}

// The pickle alone: in a zip file its checksum would hide most of the damage.
TEST(Fuzz, Pickle) {
  const std::string zip = data("state_zip.bin");
  const size_t begin = zip.find("\x80\x02}");
  const size_t start = begin == std::string::npos ? zip.find("\x80\x02") : begin;
  const std::string good = zip.substr(start, 2500);
  EXPECT_EQ(PickleReader(good, "pickle").read_state_dict().size(), 17u);
  Random random(8);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good;
    const size_t count = 1 + below(random, 4);
    for (size_t i = 0; i < count; ++i) damage(bytes, 0, bytes.size(), random);
    try {
      PickleReader(bytes, "pickle").read_state_dict();
    } catch (const DataError& error) {
      ASSERT_EQ(find_invalid_utf8(error.what()), std::string::npos);
    }
  }
}

TEST(Fuzz, Json) {
  const std::string good =
      R"({"a": [1, -2.5e3, null, true, "x\u00e9\n"], "b": {"c": {}}, "d": "é"})";
  Random random(9);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good;
    const size_t count = 1 + below(random, 3);
    for (size_t i = 0; i < count; ++i) damage(bytes, 0, bytes.size(), random);
    try {
      parse_json(bytes, "text");
    } catch (const DataError& error) {
      ASSERT_EQ(find_invalid_utf8(error.what()), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace quell
